"""### Replicate and verify

Gives every project the replicas and proofs that its policy asks for: copies that are missing are
made, replicas whose proof is old are recomputed from storage, bad ones are repaired from proven
good ones. Runs each night, and after each ingest.

A zone that is away only postpones its own work. An instance without a good replica anywhere fails
the project's task, which names the study.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import Asset, AssetOrTimeSchedule, dag, task

from pacsgrid.airflow import upkeep
from pacsgrid.airflow.notify import failed
from pacsgrid.airflow.schedules import at

VERIFIED = Asset(name="pacsgrid_verified", uri="pacsgrid://verified")


@dag(
    schedule=AssetOrTimeSchedule(timetable=at("15 1 * * *"), assets=[VERIFIED]),
    catchup=False,
    doc_md=__doc__,
    tags=["pacsgrid", "upkeep"],
    max_active_runs=1,
    default_args={
        "owner": "site operator",
        "retries": 3,
        "retry_delay": timedelta(minutes=5),
        "execution_timeout": timedelta(hours=10),
        "on_failure_callback": failed,
    },
)
def replicate_and_verify():
    @task
    def projects() -> list[str]:
        return upkeep.projects()

    @task(pool="pacsgrid_zones")
    def tend(project: str) -> dict[str, int]:
        return upkeep.tend(project)

    tend.expand(project=projects())


replicate_and_verify()
