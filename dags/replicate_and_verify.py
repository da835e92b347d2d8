"""### Replicate and verify

Makes, verifies and repairs the replicas that each project's replication policy asks for: missing
copies are made, replicas whose proof is too old are recomputed from storage, bad replicas are
repaired from proven good ones. Runs each night, and after each ingest.

A zone that does not answer delays only its own work. An instance without a good replica in any
zone fails the project's task, whose message names the study.
"""

from __future__ import annotations

from datetime import timedelta

from pacsgrid.airflow.dags import OPERATOR, VERIFIED, at, site_dag
from pacsgrid.airflow.operators.project import MaintainProjectOperator
from pacsgrid.config import site_names


@site_dag(
    __doc__,
    "maintenance",
    OPERATOR,
    timedelta(hours=10),
    schedule=at("15 1 * * *", [VERIFIED]),
    max_active_runs=1,
)
def replicate_and_verify():
    for name in site_names().projects:
        MaintainProjectOperator(task_id=f"tend_{name}", project=name)


replicate_and_verify()
