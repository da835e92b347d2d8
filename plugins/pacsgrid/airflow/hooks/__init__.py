"""Hooks: clients for the connection types that pacsgrid adds to Airflow."""
