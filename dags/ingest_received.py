"""### Ingest what was received

Runs when the receiver (`pacsgrid receive`) announces a complete study, and starts `ingest_studies`
for each source and project that was announced. Announcements that come together start one run.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import task

from pacsgrid.airflow import tasks
from pacsgrid.airflow.dags import RECEIVED, STEWARD, site_dag


@site_dag(
    __doc__,
    "ingest",
    STEWARD,
    timedelta(minutes=10),
    schedule=[RECEIVED],
    max_active_runs=1,
)
def ingest_received():
    @task
    def announced(triggering_asset_events=None) -> list[dict[str, str]]:
        events = (triggering_asset_events or {}).get(RECEIVED, [])
        return tasks.announced_pairs(event.extra for event in events)

    TriggerDagRunOperator.partial(task_id="ingest", trigger_dag_id="ingest_studies").expand(
        conf=announced()
    )


ingest_received()
