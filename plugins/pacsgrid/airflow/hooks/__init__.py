"""Connections of the types that pacsgrid adds to Airflow, and clients over them."""
