"""Benchmarks at the size of a hospital: `flow` through Airflow, and the read side."""
