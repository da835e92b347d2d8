"""### Ingest studies

Takes studies from a source, anonymises and checks them, deposits them into the project's home
zone, replicates them, and lets every zone recompute the checksums from storage.

Run it again at any time: what is proven is not repeated, what failed goes on where it stopped.
Studies and files that cannot go on are **held** with their reason; the `report` task lists them.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import Param, dag, get_current_context, task, task_group

from pacsgrid.airflow import tasks

NAME = "^[A-Za-z0-9][A-Za-z0-9_-]*$"


@dag(
    schedule=None,
    catchup=False,
    doc_md=__doc__,
    tags=["pacsgrid", "ingest"],
    # Two runs at once would only wait for each other's studies.
    max_active_runs=1,
    default_args={
        "owner": "data steward",
        "retries": 5,
        "retry_delay": timedelta(seconds=5),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=10),
    },
    params={
        "source": Param(
            "pacs", type="string", pattern=NAME, title="Source", description="As in the site file"
        ),
        "project": Param(
            "demo", type="string", pattern=NAME, title="Project", description="As in the site file"
        ),
        "date_from": Param(
            None, type=["null", "string"], format="date", title="Study date from (inclusive)"
        ),
        "date_to": Param(
            None, type=["null", "string"], format="date", title="Study date to (inclusive)"
        ),
        "modalities": Param(
            [],
            type="array",
            items={"type": "string", "pattern": "^[A-Z0-9]{2,16}$"},
            title="Modalities",
            description="Such as CT or MR, one a line; none for all",
        ),
    },
)
def ingest_studies():
    @task
    def find() -> list[list[str]]:
        return tasks.find_batches(get_current_context()["params"])

    def step(name: str, refs):
        @task(task_id=name)
        def run(refs: list[str]) -> list[str]:
            return tasks.do_step(name, get_current_context()["params"]["project"], list(refs))

        return run(refs)

    @task
    def settle(refs: list[str]) -> int:
        return tasks.do_settle(get_current_context()["params"]["project"], list(refs))

    @task_group
    def batch(refs):
        for name in ("retrieve", "anonymise", "deposit", "replicate", "verify"):
            refs = step(name, refs)
        settle(refs)

    @task(trigger_rule="all_done")
    def report() -> dict[str, int]:
        return tasks.report(get_current_context()["params"]["project"])

    @task
    def all_through() -> None:
        """Stand last, so that a batch that did not get through fails the run."""

    batches = batch.expand(refs=find())
    batches >> report()
    batches >> all_through()


ingest_studies()
