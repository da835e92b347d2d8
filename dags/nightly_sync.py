"""### Nightly synchronisation

Asks every source of every project (`nightly` in the site file) for what is new: the days that are
due since the last night that succeeded, and once more the days before, for studies that arrived
late or got new series. What it finds it enters into the ledger; `ingest_studies` then takes it.

After an outage nothing need be done: the next night asks for all the days that were missed.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import Param, dag, get_current_context, task

from pacsgrid.airflow import nightly
from pacsgrid.airflow.notify import failed
from pacsgrid.airflow.schedules import at

SOURCES = "pacsgrid_sources"


@dag(
    schedule=at("0 20 * * *"),
    catchup=False,
    doc_md=__doc__,
    tags=["pacsgrid", "ingest"],
    max_active_runs=1,
    default_args={
        "owner": "data steward",
        "retries": 5,
        "retry_delay": timedelta(minutes=1),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=30),
        "execution_timeout": timedelta(hours=6),
        "on_failure_callback": failed,
    },
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
    @task
    def pairs() -> list[dict[str, str]]:
        return nightly.pairs()

    @task(pool=SOURCES)
    def synchronise(pair: dict[str, str]) -> dict[str, object]:
        late_days = get_current_context()["params"]["late_days"]
        nightly.synchronise(pair, late_days)
        return {**pair, "pending": True}

    TriggerDagRunOperator.partial(task_id="ingest", trigger_dag_id="ingest_studies").expand(
        conf=synchronise.expand(pair=pairs())
    )


nightly_sync()
