"""### Release a cohort

Counts a cohort, asks a steward to approve the counts under **Required actions**, and freezes it as
the next version of a release that researchers fetch, check and cite. Only verified studies are in
it. When studies came or went between count and approval the run fails: start another.

A cohort is chosen by **criteria** on the AVUs in the home zone (`Modality=CT`, `%` for anything),
or by its **members**: subjects or study UIDs, all of them pseudonyms.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Param, dag, get_current_context, task

from pacsgrid.airflow import cohorts, forms
from pacsgrid.airflow.notify import failed


@dag(
    schedule=None,
    catchup=False,
    doc_md=__doc__,
    tags=["pacsgrid", "cohort"],
    default_args={
        "owner": "data steward",
        "retries": 3,
        "retry_delay": timedelta(minutes=1),
        "execution_timeout": timedelta(hours=2),
        "on_failure_callback": failed,
    },
    params={
        "project": forms.project(),
        "name": Param(
            "first",
            type="string",
            pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
            title="Name of the release",
        ),
        "title": Param("", type="string", maxLength=200, title="Title, as it is cited"),
        "criteria": Param(
            [],
            type="array",
            items={"type": "string", "pattern": "^[A-Za-z0-9_.]+=."},
            title="Criteria",
            description="Such as Modality=CT, one a line.",
        ),
        "members": Param(
            [],
            type="array",
            items={"type": "string", "pattern": "^[A-Za-z0-9.]{1,64}$"},
            title="Members",
            description="Subjects or study UIDs (pseudonyms), one a line.",
        ),
    },
)
def release_cohort():
    @task
    def count() -> dict[str, str]:
        return cohorts.count(get_current_context()["params"])

    @task
    def freeze(counted: dict[str, str]) -> str:
        return cohorts.freeze(get_current_context()["params"], counted["digest"])

    counted = count()
    approve = ApprovalOperator(
        task_id="approve",
        subject="{{ ti.xcom_pull('count')['subject'] }}",
        body="{{ ti.xcom_pull('count')['body'] }}",
        response_timeout=timedelta(days=14),
        defaults=ApprovalOperator.REJECT,
        execution_timeout=None,
    )
    counted >> approve >> freeze(counted)


release_cohort()
