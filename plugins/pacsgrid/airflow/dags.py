"""What the DAGs share: defaults, schedules in the site's time zone, a steward's approval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Asset, AssetOrTimeSchedule, CronTriggerTimetable, dag

from pacsgrid.airflow.notify import notify_failure
from pacsgrid.config import site_names

RECEIVED = Asset(name="pacsgrid_received", uri="pacsgrid://received")
VERIFIED = Asset(name="pacsgrid_verified", uri="pacsgrid://verified")
STEWARD, OPERATOR = "data steward", "site operator"
# A steward may be on leave. A run that nobody answers ends after this.
ANSWER_WITHIN = timedelta(days=14)


def at(cron: str, assets: Sequence[Asset] = ()) -> Any:
    """Return a schedule in the site's time zone.

    Parameters
    ----------
    cron
        When to run, as a cron expression.
    assets
        Assets whose update starts a run too.
    """
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
    """Return Airflow's `dag` decorator with the settings that every DAG of pacsgrid has.

    Parameters
    ----------
    doc
        The DAG's documentation in the UI: the file's docstring.
    tag
        A tag beside ``pacsgrid``.
    owner
        Who looks after a task that fails.
    limit
        How long a task may take, unless it sets a limit itself.
    retries
        How often a task is tried again.
    retry_delay, longest_delay
        The wait before the first retry, which doubles each time, and its limit.
    more
        Other arguments of `airflow.sdk.dag`.
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
            "on_failure_callback": notify_failure,
        },
        **{"schedule": None, **more},
    )
    return decorator


def approval(counted: str) -> ApprovalOperator:
    """Return a task that asks a steward to approve; without an answer in time it is rejected.

    Parameters
    ----------
    counted
        Id of the task that returned the ``subject`` and the ``body`` of the question.
    """
    return ApprovalOperator(
        task_id="approve",
        subject=f"{{{{ ti.xcom_pull('{counted}')['subject'] }}}}",
        body=f"{{{{ ti.xcom_pull('{counted}')['body'] }}}}",
        response_timeout=ANSWER_WITHIN,
        defaults=ApprovalOperator.REJECT,
        execution_timeout=None,
    )
