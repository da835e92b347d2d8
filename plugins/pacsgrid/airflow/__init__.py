"""What pacsgrid adds to Airflow: hooks, operators, sensors, triggers, and what the DAGs call."""
