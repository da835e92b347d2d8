"""### Housekeeping

Removes what nobody needs any more: staging and outbox of studies that are settled, received files
that were taken through, what the quarantine keeps of studies that a steward rejected, sealed
selections, and old logs of Airflow's tasks. What belongs to a study on its way, or waits for a
steward, is never touched.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import Param

from pacsgrid.airflow.dags import OPERATOR, at, site_dag
from pacsgrid.airflow.operators.logs import SweepLogsOperator
from pacsgrid.airflow.operators.project import SweepProjectOperator
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
        "keep_logs_days": Param(
            90,
            type="integer",
            minimum=1,
            maximum=3650,
            title="Keep logs",
            description="Days that a task's log stays after its last line.",
        ),
    },
)
def housekeeping():
    for name in site_names().projects:
        SweepProjectOperator(
            task_id=f"sweep_{name}",
            project=name,
            keep_rejected_days="{{ params.keep_rejected_days }}",
            keep_selections_days="{{ params.keep_selections_days }}",
        )
    SweepLogsOperator(task_id="old_logs", keep_days="{{ params.keep_logs_days }}")


housekeeping()
