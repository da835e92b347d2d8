"""### Continue ingests

Starts the next wave of each ingest that should go on and has no run: one that was resumed, or
whose run was deleted, marked as failed, or lost. Usually there is none, because each run of
`ingest_studies` starts the next wave itself. Studies of runs that are over can be taken again.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import task

from pacsgrid.airflow import tasks
from pacsgrid.airflow.dags import OPERATOR, at, site_dag
from pacsgrid.airflow.operators.waves import is_over


@site_dag(
    __doc__,
    "ingest",
    OPERATOR,
    timedelta(minutes=10),
    schedule=at("*/10 * * * *"),
    max_active_runs=1,
)
def continue_ingests():
    @task
    def stalled() -> list[dict[str, str]]:
        return tasks.stalled_ingests(is_over)

    TriggerDagRunOperator.partial(
        task_id="next_wave", trigger_dag_id="ingest_studies", logical_date=None
    ).expand(conf=stalled())


continue_ingests()
