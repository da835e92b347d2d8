"""### Site metrics

Sends each project's gauges to Airflow's metrics: studies in each state and how long they wait,
what is held and why, replicas by zone. Scheduled only where Airflow sends its metrics anywhere
(`[metrics] statsd_on` or `otel_on`).
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import task

from pacsgrid.airflow import metrics, upkeep
from pacsgrid.airflow.dags import OPERATOR, at, site_dag


# The next run is near: nothing is gained by trying again.
@site_dag(
    __doc__,
    "upkeep",
    OPERATOR,
    timedelta(minutes=4),
    retries=0,
    schedule=at("*/5 * * * *") if metrics.are_on() else None,
    max_active_runs=1,
)
def site_metrics():
    task(task_id="tell")(upkeep.tell)()


site_metrics()
