"""### Nightly synchronisation

Asks every source of every project (`nightly` in the site file) for new studies: those of all days
since the last successful night, and again those of some days before, for studies that arrived late
or got new series. Of days that were never asked for it asks for `nightly_days` a night. New studies
are entered into the ledger. When the project's home zone answers, `ingest_studies` takes them wave
by wave. The run ends when every study of the source is verified, held or withdrawn, or when the
source's budget for the night is spent (`night` in the site file). Waiting takes no worker's time.

What earlier ingests from other sources left is taken up too (`continue_pending`).

After an outage you need not do anything: the next night asks for all the days that were missed.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import Param, task

from pacsgrid.airflow import tasks
from pacsgrid.airflow.dags import STEWARD, at, site_dag
from pacsgrid.airflow.operators.source import SynchroniseSourceOperator
from pacsgrid.airflow.sensors.night import NightOverSensor
from pacsgrid.airflow.sensors.zone import ZoneBackSensor
from pacsgrid.config import site_names

# A run that takes longer must not delay the next night's.
LONGEST = timedelta(hours=10)


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
            description="Days before the last successful night's that are asked for again.",
        ),
    },
)
def nightly_sync():
    names = site_names()
    for source, project in names.nightly:
        name = f"{source}_{project}"
        asked = SynchroniseSourceOperator(
            task_id=f"synchronise_{name}",
            source=source,
            project=project,
            late_days="{{ params.late_days }}",
        )
        home = ZoneBackSensor(
            task_id=f"home_zone_{name}", zones=[names.homes[project]], timeout=LONGEST
        )
        ingest = TriggerDagRunOperator(
            task_id=f"ingest_{name}",
            trigger_dag_id="ingest_studies",
            conf={"source": source, "project": project, "pending": True},
            logical_date=None,
        )
        through = NightOverSensor(
            task_id=f"through_{name}", source=source, project=project, timeout=LONGEST
        )
        asked >> home >> ingest >> through

    @task
    def pending() -> list[dict[str, object]]:
        return tasks.pending_elsewhere()

    TriggerDagRunOperator.partial(
        task_id="continue_pending", trigger_dag_id="ingest_studies", logical_date=None
    ).expand(conf=pending())


nightly_sync()
