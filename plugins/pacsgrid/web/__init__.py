"""The pacsgrid page inside Airflow's UI: a small FastAPI app and a front end without a build."""
