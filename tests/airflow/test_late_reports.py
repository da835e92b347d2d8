"""A steward who answers at once is heard: by Airflow's own scheduler code, on its own tables."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock
from uuid import uuid4

import pytest
from airflow.executors.base_executor import BaseExecutor
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.models import import_all_models
from airflow.models.base import Base
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.taskinstancekey import TaskInstanceKey
from airflow.utils.state import TaskInstanceState as State
from sqlalchemy import create_engine, update
from sqlalchemy.orm import Session

from pacsgrid.airflow import listener
from pacsgrid.airflow.late_reports import install

JOB = 7


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """Airflow's tables with one task of a run, and every session of Airflow's on them."""
    import_all_models()
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(
            DagRun(dag_id="review_held", run_id="r", conf={}, run_type="manual", state="running")
        )
        session.flush()
        session.execute(
            TaskInstance.__table__.insert().values(
                **{"id": uuid4(), "dag_id": "review_held", "task_id": "ask", "run_id": "r"},
                **{"map_index": -1, "pool": "default_pool", "pool_slots": 1, "try_number": 1},
                **{"max_tries": 3, "queue": "default", "priority_weight": 1, "span_status": "x"},
                **{"executor_config": {}, "queued_by_job_id": JOB},
            )
        )
        session.commit()
        monkeypatch.setattr("airflow.settings.Session", mock.Mock(return_value=session))
        monkeypatch.setattr("airflow.settings.NonScopedSession", lambda: Session(engine))
        yield session


@pytest.fixture
def patched(monkeypatch: pytest.MonkeyPatch) -> None:
    """The executors of this process as a scheduler's are, and afterwards as they were."""
    monkeypatch.setattr(BaseExecutor, "get_event_buffer", BaseExecutor.get_event_buffer)
    job: Any = type("Job", (), {})()
    listener.on_starting(job)
    taken = BaseExecutor.get_event_buffer
    install()
    assert BaseExecutor.get_event_buffer is taken


def _told(session: Session, state: State | None, waited: bool, report: State) -> list[str]:
    """Let the scheduler read a report on the task; returns the states it is then set to."""
    goes_on = "execute_complete" if waited else None
    session.execute(update(TaskInstance).values(state=state, next_method=goes_on))
    session.commit()
    executor = BaseExecutor(parallelism=1)
    key = TaskInstanceKey("review_held", "ask", "r", 1, -1)
    executor.event_buffer[key] = (report, None)
    bag = mock.Mock(get_dag_for_run=mock.Mock(return_value=None))
    with mock.patch.object(TaskInstance, "set_state") as set_state:
        SchedulerJobRunner.process_executor_events(executor, JOB, bag, session)
    return [call.args[0] for call in set_state.call_args_list]


@pytest.mark.parametrize("state", [State.QUEUED, State.RUNNING])
def test_airflow_takes_a_task_that_goes_on_for_killed(session: Session, state: State) -> None:
    # The day that this fails, Airflow has mended it: remove `pacsgrid.airflow.late_reports`.
    assert _told(session, state, True, State.SUCCESS) == [State.SUCCESS]


@pytest.mark.parametrize(
    "state", [State.AWAITING_INPUT, State.SCHEDULED, State.QUEUED, State.RUNNING]
)
@pytest.mark.usefixtures("patched")
def test_a_late_report_on_a_task_that_was_parked_changes_nothing(
    session: Session, state: State
) -> None:
    assert _told(session, state, True, State.SUCCESS) == []


@pytest.mark.usefixtures("patched")
def test_a_task_that_was_killed_is_still_found(session: Session) -> None:
    assert _told(session, State.QUEUED, False, State.SUCCESS) == [State.SUCCESS]
    assert _told(session, State.QUEUED, True, State.FAILED) == [State.FAILED]
    assert _told(session, State.RUNNING, True, State.FAILED) == [State.FAILED]


@pytest.mark.usefixtures("patched")
def test_no_report_is_lost_when_the_database_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away() -> None:
        raise OSError("away")

    monkeypatch.setattr("airflow.settings.NonScopedSession", away)
    executor = BaseExecutor(parallelism=1)
    key = TaskInstanceKey("review_held", "ask", "r", 1, -1)
    executor.event_buffer[key] = (State.SUCCESS, None)
    with pytest.raises(OSError, match="away"):
        executor.get_event_buffer()
    assert executor.event_buffer == {key: (State.SUCCESS, None)}


def test_only_a_job_of_airflow_s_prepares_executors(monkeypatch: pytest.MonkeyPatch) -> None:
    before = BaseExecutor.get_event_buffer
    listener.on_starting(SimpleNamespace())
    assert BaseExecutor.get_event_buffer is before
