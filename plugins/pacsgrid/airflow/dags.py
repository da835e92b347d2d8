"""What the DAGs have in common: defaults, schedules by the site's clock, a steward's approval.

The DAG files keep what is their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Asset, AssetOrTimeSchedule, CronTriggerTimetable, dag

from pacsgrid.airflow.notify import failed
from pacsgrid.config import site_names

RECEIVED = Asset(name="pacsgrid_received", uri="pacsgrid://received")
VERIFIED = Asset(name="pacsgrid_verified", uri="pacsgrid://verified")
STEWARD, OPERATOR = "data steward", "site operator"
# A steward may be on leave; a run that nobody answers ends by itself.
ANSWER_WITHIN = timedelta(days=14)


def at(cron: str, assets: Sequence[Asset] = ()) -> Any:
    """Return a schedule by the clock on the site's wall, or earlier when an asset is updated."""
    timetable = CronTriggerTimetable(cron, timezone=site_names().time_zone)
    if not assets:
        return timetable
    return AssetOrTimeSchedule(timetable=timetable, assets=list(assets))


def site_dag(
    doc: str | None,
    tag: str,
    owner: str,
    limit: timedelta,
    retries: int = 3,
    retry_delay: timedelta = timedelta(minutes=5),
    longest_delay: timedelta = timedelta(minutes=30),
    **more: Any,
) -> Callable[[Callable[[], None]], Callable[[], Any]]:
    """Return Airflow's `dag` decorator with what every DAG of pacsgrid has.

    Parameters
    ----------
    doc
        The DAG's page in the UI: the file's docstring.
    tag
        What the DAG is about, beside ``pacsgrid``.
    owner
        Whose task it is when a task fails.
    limit
        How long a task may take where it does not say so itself.
    retries, retry_delay, longest_delay
        How often a task is tried again; the wait doubles each time.
    more
        Anything else that `airflow.sdk.dag` takes.
    """
    decorator: Callable[[Callable[[], None]], Callable[[], Any]] = dag(
        catchup=False,
        doc_md=doc,
        tags=["pacsgrid", tag],
        default_args={
            "owner": owner,
            "retries": retries,
            "retry_delay": retry_delay,
            "retry_exponential_backoff": True,
            "max_retry_delay": longest_delay,
            "execution_timeout": limit,
            "on_failure_callback": failed,
        },
        **{"schedule": None, **more},
    )
    return decorator


def approval(counted: str) -> ApprovalOperator:
    """Return the task that shows a steward what `counted` returned and waits for a yes.

    The task of that id returns a ``subject`` and a ``body``. Without an answer in time it is no.
    """
    return ApprovalOperator(
        task_id="approve",
        subject=f"{{{{ ti.xcom_pull('{counted}')['subject'] }}}}",
        body=f"{{{{ ti.xcom_pull('{counted}')['body'] }}}}",
        response_timeout=ANSWER_WITHIN,
        defaults=ApprovalOperator.REJECT,
        execution_timeout=None,
    )
