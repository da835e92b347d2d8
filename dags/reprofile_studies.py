"""### Reprofile studies

Anonymises verified studies again that have another profile than their project. Each is retrieved
from its source and becomes a new version of itself, with the same subject and UIDs. The version
before is removed from every zone once the new one is proven there; while a release lists it, it is
kept.

With **Dry run** some studies are compared with what they would become: the task's log has the
attributes, and nothing is changed. Set the new profile in the site file first.

The studies are taken in waves by `ingest_studies`, like a backfill: the page shows how far it is.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import Param, get_current_context, task

from pacsgrid.airflow import forms, reprofile
from pacsgrid.airflow.dags import STEWARD, site_dag


@site_dag(
    __doc__,
    "ingest",
    STEWARD,
    timedelta(hours=2),
    max_active_runs=1,
    params={
        "project": forms.project(),
        "studies": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="Studies",
            description="How many studies at most; empty for all.",
        ),
        "dry_run": Param(
            False,
            type="boolean",
            title="Dry run",
            description="Compare three studies with what they would become; nothing is changed.",
        ),
    },
)
def reprofile_studies():
    @task
    def enter() -> list[dict[str, str]]:
        context = get_current_context()
        return reprofile.enter(context["params"], context["run_id"])

    TriggerDagRunOperator.partial(
        task_id="first_wave", trigger_dag_id="ingest_studies", logical_date=None
    ).expand(conf=enter())


reprofile_studies()
