"""What pacsgrid adds to the Airflow UI."""

from airflow.plugins_manager import AirflowPlugin


class PacsgridPlugin(AirflowPlugin):
    name = "pacsgrid"
