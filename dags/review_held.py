"""### Review what is held

Asks a steward about each held study, those that wait longest first: open the run's **Required
actions**. Each question names the reasons. The held images are on the page **pacsgrid**, where each
view is recorded in the audit trail.

- **Try again** takes the study through the pipeline again from its source, with another **profile**
  if you choose one. Use it when the cause is corrected, or when another profile suits the study.
- **Reject** takes the study out for good; housekeeping later removes its files from the quarantine.
- **Leave it held** changes nothing, and neither does an answer that does not come within a week.

What stewards decided on the page **pacsgrid, Review** is carried out first; with **Decided on the
page** the run does nothing else.

With **Wait** the run waits for that many hours until a study is held, and ends as skipped if none
is.

The study's history shows who decided what, and the reason given. The reason must not identify
anyone.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Param, get_current_context, task

from pacsgrid.airflow import forms, review
from pacsgrid.airflow.dags import STEWARD, site_dag
from pacsgrid.airflow.sensors.held import HeldQueueSensor


@site_dag(
    __doc__,
    "review",
    STEWARD,
    timedelta(hours=1),
    retry_delay=timedelta(seconds=30),
    params={
        "project": forms.project(),
        "limit": Param(20, type="integer", minimum=1, maximum=200, title="Studies at once"),
        "only": Param(
            None,
            type=["null", "string"],
            pattern="^(st-[0-9a-f]{20}|[a-z][a-z-]{0,39})$",
            title="Only",
            description="A reason such as identity-left, or a study's reference; empty for all.",
        ),
        "wait_hours": Param(
            0,
            type="integer",
            minimum=0,
            maximum=168,
            title="Wait",
            description="Hours to wait until a study is held, when none is.",
        ),
        "decided": Param(
            False,
            type="boolean",
            title="Decided on the page",
            description="Only carry out what was decided on the page, and ask nothing.",
        ),
    },
)
def review_held():
    @task
    def questions() -> list[dict[str, str]]:
        return review.questions(get_current_context()["params"])

    @task
    def carry_out(question: tuple[dict[str, str], dict]) -> dict[str, str] | None:
        asked, answer = question
        return review.carry_out(get_current_context()["params"], asked["subject"], answer)

    @task(execution_timeout=timedelta(hours=8))
    def go_on(released: list[dict[str, str] | None]) -> int:
        return review.resume(get_current_context()["params"], list(released))

    @task
    def carry_out_page() -> list[dict[str, str]]:
        return review.carry_out_page(get_current_context()["params"])

    @task(execution_timeout=timedelta(hours=8))
    def take_on(going: list[dict[str, str]]) -> int:
        return review.take_on(get_current_context()["params"], list(going))

    @task.short_circuit
    def asks() -> bool:
        return not get_current_context()["params"]["decided"]

    take_on(carry_out_page())
    queue = HeldQueueSensor(
        task_id="queue",
        project="{{ params.project }}",
        only="{{ params.only or '' }}",
        wait_hours="{{ params.wait_hours }}",
        soft_fail=True,
    )
    asked = questions()
    asks() >> queue >> asked
    answers = HITLOperator.partial(
        task_id="ask",
        options=[review.AGAIN, review.REJECT, review.LEAVE],
        defaults=review.LEAVE,
        response_timeout=timedelta(days=7),
        execution_timeout=None,
        params={
            "profile": forms.profile(),
            # Airflow's form requires a field that may not be null.
            "reason": Param(
                None, type=["null", "string"], maxLength=500, title="Why; naming no one"
            ),
        },
    ).expand_kwargs(asked)
    go_on(carry_out.expand(question=asked.zip(answers.output)))


review_held()
