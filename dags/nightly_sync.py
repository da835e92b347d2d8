"""### Nightly synchronisation

Asks every source of every project (`nightly` in the site file) for what is new: the days that are
due since the last night that succeeded, and once more the days before, for studies that arrived
late or got new series. What it finds it enters into the ledger; `ingest_studies` then takes it.

After an outage nothing need be done: the next night asks for all the days that were missed.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import Param, get_current_context, task

from pacsgrid.airflow import nightly
from pacsgrid.airflow.dags import STEWARD, at, site_dag
from pacsgrid.airflow.pools import source_pool
from pacsgrid.config import site_names


@site_dag(
    __doc__,
    "ingest",
    STEWARD,
    timedelta(hours=6),
    retries=5,
    retry_delay=timedelta(minutes=1),
    schedule=at("0 20 * * *"),
    max_active_runs=1,
    params={
        "late_days": Param(
            14,
            type="integer",
            minimum=0,
            maximum=3650,
            title="Late days",
            description="Days before the last night's that are asked for again.",
        ),
    },
)
def nightly_sync():
    def synchronise(source: str, project: str) -> None:
        late_days = get_current_context()["params"]["late_days"]
        nightly.synchronise(source, project, late_days)

    for source, project in site_names().nightly:
        name = f"{source}_{project}"
        asked = task(task_id=f"synchronise_{name}", pool=source_pool(source))(synchronise)
        ingest = TriggerDagRunOperator(
            task_id=f"ingest_{name}",
            trigger_dag_id="ingest_studies",
            conf={"source": source, "project": project, "pending": True},
        )
        asked(source, project) >> ingest


nightly_sync()
