"""### Site metrics

Sends each project's gauges to Airflow's metrics: studies in each state and how long they have been
waiting, held studies by reason, replicas by zone. Scheduled only where Airflow sends metrics
(`[metrics] statsd_on` or `otel_on`).
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import task

from pacsgrid.airflow import maintenance, metrics
from pacsgrid.airflow.dags import OPERATOR, at, site_dag


# No retries: the next run is near.
@site_dag(
    __doc__,
    "maintenance",
    OPERATOR,
    timedelta(minutes=4),
    retries=0,
    schedule=at("*/5 * * * *") if metrics.are_enabled() else None,
    max_active_runs=1,
)
def site_metrics():
    task(task_id="tell")(maintenance.send_metrics)()


site_metrics()
