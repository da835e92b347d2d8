"""### Audit the replicas

Tells, from the ledger alone, whether every project has what its policy asks for: enough proven
replicas in each zone, in time, and no proof older than allowed. A project that has not fails its
task, which tells what is lacking where; `replicate_and_verify` mends what can be mended.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag, task

from pacsgrid.airflow import upkeep
from pacsgrid.airflow.notify import failed
from pacsgrid.airflow.schedules import at


@dag(
    schedule=at("0 7 * * *"),
    catchup=False,
    doc_md=__doc__,
    tags=["pacsgrid", "upkeep"],
    default_args={
        "owner": "site operator",
        "retries": 3,
        "retry_delay": timedelta(minutes=5),
        "execution_timeout": timedelta(hours=1),
        "on_failure_callback": failed,
    },
)
def audit_replicas():
    @task
    def projects() -> list[str]:
        return upkeep.projects()

    @task
    def audit(project: str) -> dict[str, str]:
        return upkeep.audit(project)

    audit.expand(project=projects())


audit_replicas()
