"""An answer that comes at once counts: Airflow's scheduler does not take its task for killed.

A task that asks a steward ends its process and is parked. The executor reports the end of that
process later, up to `workers.min_heartbeat_interval` and a loop of the scheduler. Airflow 3.3
expects that the task may have been scheduled again by then, but not that it may be queued or
running already (`SchedulerJobRunner.process_executor_events`): then it takes the report for that of
a process killed without a word, fails the try, and the next try asks again. So reports of success
on tasks that go on after they waited are taken out before the scheduler reads them: what becomes
of such a task its own process tells Airflow, and a process that dies is missed by its heartbeat.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any


def goes_on(events: Mapping[Any, Any], session: Any) -> set[Any]:
    """Return the keys of reports of success on tasks that are queued or run after they waited.

    Parameters
    ----------
    events
        State and note by workload's key, as `BaseExecutor.get_event_buffer` returns them.
    session
        Of Airflow's database.
    """
    from airflow.models.taskinstance import TaskInstance as TI
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
    asked = select(TI.dag_id, TI.task_id, TI.run_id, TI.try_number, TI.map_index).where(
        TI.filter_for_tis(ended),
        TI.state.in_((TaskInstanceState.QUEUED, TaskInstanceState.RUNNING)),
        TI.next_method.is_not(None),
    )
    return set(ended) & {TaskInstanceKey(*row) for row in session.execute(asked)}


def install() -> None:
    """Have every executor of this process leave those reports out; once is enough."""
    from airflow.executors.base_executor import BaseExecutor

    take = BaseExecutor.get_event_buffer
    if hasattr(take, "__wrapped__"):
        return

    @functools.wraps(take)
    def get_event_buffer(self: Any, dag_ids: Any = None) -> dict[Any, Any]:
        from airflow.utils.session import create_session

        events: dict[Any, Any] = take(self, dag_ids)
        if not events:
            return events
        try:
            # A session of its own: the scheduler's is in the midst of a transaction.
            with create_session(scoped=False) as session:
                late = goes_on(events, session)
        except Exception:
            # Not lost: the executor tells them once more.
            self.event_buffer = {**events, **self.event_buffer}
            raise
        return {key: told for key, told in events.items() if key not in late}

    BaseExecutor.get_event_buffer = get_event_buffer
