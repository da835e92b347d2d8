"""### Withdraw a patient

Takes a patient whose consent is withdrawn out of every zone, replica, trash and release, and
proves that it is gone. A steward approves the counts first, under **Required actions**. A zone
that is away is tried again for days; `replicate_and_verify` never brings anything back.

The patient is named by the **pseudonym** alone: the subject as it stands in the grid.
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
    tags=["pacsgrid", "withdrawal"],
    default_args={
        "owner": "data steward",
        "retries": 3,
        "retry_delay": timedelta(minutes=1),
        "execution_timeout": timedelta(hours=2),
        "on_failure_callback": failed,
    },
    params={
        "project": forms.project(),
        "subject": Param(
            "",
            type="string",
            pattern="^S[A-Z2-7]{12}$",
            title="Subject",
            description="The patient's pseudonym in this project; never the patient ID.",
        ),
    },
)
def withdraw_patient():
    @task
    def count() -> dict[str, str]:
        return cohorts.count_patient(get_current_context()["params"])

    @task(retries=60, max_retry_delay=timedelta(hours=2), retry_exponential_backoff=True)
    def withdraw() -> None:
        cohorts.withdraw(get_current_context()["params"])

    approve = ApprovalOperator(
        task_id="approve",
        subject="{{ ti.xcom_pull('count')['subject'] }}",
        body="{{ ti.xcom_pull('count')['body'] }}",
        response_timeout=timedelta(days=14),
        defaults=ApprovalOperator.REJECT,
        execution_timeout=None,
    )
    count() >> approve >> withdraw()


withdraw_patient()
