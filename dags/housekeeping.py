"""### Housekeeping

Removes what nobody needs any more: staging and outbox of studies that are settled, what the
quarantine keeps of studies that a steward rejected, and sealed selections. What belongs to a study
on its way, or waits for a steward, is never touched.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import Param, dag, get_current_context, task

from pacsgrid.airflow import upkeep
from pacsgrid.airflow.notify import failed
from pacsgrid.airflow.schedules import at


@dag(
    schedule=at("30 4 * * *"),
    catchup=False,
    doc_md=__doc__,
    tags=["pacsgrid", "upkeep"],
    max_active_runs=1,
    default_args={
        "owner": "site operator",
        "retries": 3,
        "retry_delay": timedelta(minutes=5),
        "execution_timeout": timedelta(hours=2),
        "on_failure_callback": failed,
    },
    params={
        "keep_rejected_days": Param(
            30,
            type="integer",
            minimum=0,
            maximum=3650,
            title="Keep rejected files",
            description="Days that the quarantine keeps what a steward rejected.",
        ),
        "keep_selections_days": Param(
            90,
            type="integer",
            minimum=1,
            maximum=3650,
            title="Keep selections",
            description="Days that a sealed selection of patients, accessions and studies stays.",
        ),
    },
)
def housekeeping():
    @task
    def projects() -> list[str]:
        return upkeep.projects()

    @task
    def sweep(project: str) -> dict[str, int]:
        return upkeep.sweep(project, get_current_context()["params"])

    sweep.expand(project=projects())


housekeeping()
