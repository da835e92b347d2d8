"""### Replicate and verify

Gives every project the replicas and proofs that its policy asks for: copies that are missing are
made, replicas whose proof is old are recomputed from storage, bad ones are repaired from proven
good ones. Runs each night, and after each ingest.

A zone that is away only postpones its own work. An instance without a good replica anywhere fails
the project's task, which names the study.
"""

from __future__ import annotations

from datetime import timedelta

from pacsgrid.airflow.dags import OPERATOR, VERIFIED, at, site_dag
from pacsgrid.airflow.operators.project import TendProjectOperator
from pacsgrid.config import site_names


@site_dag(
    __doc__,
    "upkeep",
    OPERATOR,
    timedelta(hours=10),
    schedule=at("15 1 * * *", [VERIFIED]),
    max_active_runs=1,
)
def replicate_and_verify():
    for name in site_names().projects:
        TendProjectOperator(task_id=f"tend_{name}", project=name)


replicate_and_verify()
