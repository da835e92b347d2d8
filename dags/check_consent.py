"""### Check consent

Asks each project's source of consent (`consent` in the site file) for its patients: those whose
answer may have changed, or whose consent has ended by its date. A study that was not taken goes on
when the patient consents now.

For each patient whose consent has ended, a run of `withdraw_patient` starts, and waits for a
steward's approval. **Nothing is erased without it.** If nobody approves, a steward is asked again
after fifteen days. A source that does not answer is asked again; nobody is withdrawn for that.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import task

from pacsgrid.airflow.dags import STEWARD, at, site_dag
from pacsgrid.airflow.operators.project import AskConsentOperator
from pacsgrid.config import site_names


@site_dag(
    __doc__,
    "withdrawal",
    STEWARD,
    timedelta(hours=6),
    retries=8,
    schedule=at("0 19 * * *"),
    max_active_runs=1,
)
def check_consent():
    @task
    def projects() -> list[str]:
        return list(site_names().consent)

    # One project's source may be away: what the others have found is not lost.
    @task(trigger_rule="all_done")
    def ended(asked) -> list[dict[str, object]]:
        return [run for runs in asked or () for run in runs or ()]

    asked = AskConsentOperator.partial(task_id="ask").expand(project=projects())
    TriggerDagRunOperator.partial(
        task_id="withdraw",
        trigger_dag_id="withdraw_patient",
        logical_date=None,
        skip_when_already_exists=True,
    ).expand_kwargs(ended(asked.output))


check_consent()
