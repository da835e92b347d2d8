"""### Housekeeping

Removes files that are no longer needed: staging and outbox of studies that are finished, received
files whose study is verified, quarantined files of studies that a steward rejected, sealed
selections, and old logs of Airflow's tasks. Files of studies in the pipeline, and of held studies,
are never removed. The grants of researchers whose time is over end.
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
    "maintenance",
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
            description="Days that the quarantine keeps the files of rejected studies.",
        ),
        "keep_selections_days": Param(
            90,
            type="integer",
            minimum=1,
            maximum=3650,
            title="Keep selections",
            description="Days that sealed selections of patients, accessions and studies are kept.",
        ),
        "keep_logs_days": Param(
            90,
            type="integer",
            minimum=1,
            maximum=3650,
            title="Keep logs",
            description="Days that a task's log is kept after its last line.",
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
