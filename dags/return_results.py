"""### Return results

Sends a result that researchers made back to the hospital, under the patient's own identifiers. A
steward approves it first, under **Required actions**; who asked, who approved and why is recorded
before the vault is opened.

Name the result by its reference, as `pacsgrid results` lists it. The destination is an entry of
`returns` in the site file.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import Param, get_current_context, task

from pacsgrid.airflow import forms, returns
from pacsgrid.airflow.dags import STEWARD, approval, site_dag


@site_dag(
    __doc__,
    "results",
    STEWARD,
    timedelta(hours=2),
    params={
        "project": forms.project(),
        "result": Param(
            "",
            type="string",
            pattern="^st-[0-9a-f]{20}$",
            title="Result",
            description="The result's reference.",
        ),
        "destination": Param(
            "",
            type="string",
            pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
            title="Destination",
            description="An entry of `returns` in the site file.",
        ),
    },
)
def return_results():
    @task
    def describe() -> dict[str, str]:
        return returns.describe(get_current_context()["params"])

    @task
    def send() -> int:
        context = get_current_context()
        return returns.send(context["params"], context["run_id"])

    describe() >> approval("describe") >> send()


return_results()
