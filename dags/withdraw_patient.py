"""### Withdraw a patient

Removes a patient who withdrew consent from every zone, replica, trash and release, and proves that
nothing is left. A steward approves the counts first, under **Required actions**. A zone that does
not answer is tried again for days; `replicate_and_verify` never brings anything back.

Name the patient by the **pseudonym** only, the subject in the grid; or by PatientID on the page
pacsgrid, Releases, which seals it and starts the run.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import Param, get_current_context, task

from pacsgrid.airflow import cohorts, forms
from pacsgrid.airflow.dags import STEWARD, approval, site_dag


@site_dag(
    __doc__,
    "withdrawal",
    STEWARD,
    timedelta(hours=2),
    params={
        "project": forms.project(),
        "subject": Param(
            None,
            type=["null", "string"],
            pattern=f"^{forms.subject_pattern()}$",
            title="Subject",
            description="The patient's pseudonym in this project; never the patient ID. Empty "
            "with a selection.",
        ),
        "selection": forms.selection(),
    },
)
def withdraw_patient():
    @task
    def count() -> dict[str, str]:
        return cohorts.count_patient(get_current_context()["params"])

    @task(retries=60, max_retry_delay=timedelta(hours=2), retry_exponential_backoff=True)
    def withdraw(counted: dict[str, str]) -> None:
        cohorts.withdraw(get_current_context()["params"], counted["subjects"])

    counted = count()
    counted >> approval("count") >> withdraw(counted)


withdraw_patient()
