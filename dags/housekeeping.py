"""### Housekeeping

Removes what nobody needs any more: staging and outbox of studies that are settled, what the
quarantine keeps of studies that a steward rejected, and sealed selections. What belongs to a study
on its way, or waits for a steward, is never touched.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import Param, get_current_context, task

from pacsgrid.airflow import upkeep
from pacsgrid.airflow.dags import OPERATOR, at, site_dag
from pacsgrid.config import site_names


@site_dag(
    __doc__,
    "upkeep",
    OPERATOR,
    timedelta(hours=2),
    schedule=at("30 4 * * *"),
    max_active_runs=1,
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
    def sweep(project: str) -> dict[str, int]:
        return upkeep.sweep(project, get_current_context()["params"])

    for name in site_names().projects:
        task(task_id=f"sweep_{name}")(sweep)(name)


housekeeping()
