"""The seam between Airflow and pacsgrid."""
