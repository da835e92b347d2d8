"""Works around a race in Airflow 3.3 that fails a task which resumes soon after it was deferred.

A task that asks a steward, or waits in the triggerer, ends its process and is deferred. The
executor reports the end of that process later, by up to `workers.min_heartbeat_interval` and one
loop of the scheduler. If the task is queued or running again by then, because the answer came
fast, `SchedulerJobRunner.process_executor_events` takes the report for that of a process that was
killed, fails the try, and the next try asks the steward again.

So the executor's reports of success for tasks that have resumed are dropped before the scheduler
reads them. Nothing is lost: such a task's own process reports its state to Airflow, and the
scheduler notices a process that died by its missing heartbeat.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any


def resumed_tasks(events: Mapping[Any, Any], session: Any) -> set[Any]:
    """Return the keys of reports of success for tasks that are queued or running again.

    Parameters
    ----------
    events
        State and note by the workload's key, as `BaseExecutor.get_event_buffer` returns them.
    session
        A session of Airflow's database.
    """
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.taskinstancekey import TaskInstanceKey
    from airflow.utils.state import TaskInstanceState
    from sqlalchemy import select

    ended = [
        key
        for key, (state, _) in events.items()
        if isinstance(key, TaskInstanceKey) and state == TaskInstanceState.SUCCESS
    ]
    if not ended:
        return set()
    query = select(
        TaskInstance.dag_id,
        TaskInstance.task_id,
        TaskInstance.run_id,
        TaskInstance.try_number,
        TaskInstance.map_index,
    ).where(
        TaskInstance.filter_for_tis(ended),
        TaskInstance.state.in_((TaskInstanceState.QUEUED, TaskInstanceState.RUNNING)),
        TaskInstance.next_method.is_not(None),
    )
    return set(ended) & {TaskInstanceKey(*row) for row in session.execute(query)}


def install() -> None:
    """Have every executor of this process drop those reports; may be called more than once."""
    from airflow.executors.base_executor import BaseExecutor

    original = BaseExecutor.get_event_buffer
    if hasattr(original, "__wrapped__"):
        return

    @functools.wraps(original)
    def get_event_buffer(self: Any, dag_ids: Any = None) -> dict[Any, Any]:
        from airflow.utils.session import create_session

        events: dict[Any, Any] = original(self, dag_ids)
        if not events:
            return events
        try:
            # A session of its own: the scheduler's is within a transaction.
            with create_session(scoped=False) as session:
                resumed = resumed_tasks(events, session)
        except Exception:
            # Put the reports back, so that the executor returns them the next time.
            self.event_buffer = {**events, **self.event_buffer}
            raise
        return {key: report for key, report in events.items() if key not in resumed}

    BaseExecutor.get_event_buffer = get_event_buffer
