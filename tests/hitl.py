"""A run's question to a human, and the answer, over Airflow's REST API."""

from __future__ import annotations

import time
from typing import Any

import requests

from pacsgrid.embedded.stack import STEWARD, Stack


def question(stack: Stack, dag: str, run: str, seconds: float = 300) -> dict[str, Any]:
    """Wait for a run's one question, until it waits for its answer.

    It can be read a moment before its task is parked. An answer given in that moment is kept by
    Airflow 3.3 but does not wake the task, so it is not given before the task waits, as in
    Airflow's own list of required actions.
    """
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        details = stack.api("GET", f"/dags/{dag}/dagRuns/{run}/hitlDetails").json()["hitl_details"]
        if details and details[0]["task_instance"]["state"] == "awaiting_input":
            _scheduler_has_looked(stack, until)
            return dict(details[0])
        time.sleep(1)
    raise TimeoutError(f"{dag} asks nothing within {seconds:.0f} s")


def _scheduler_has_looked(stack: Stack, until: float) -> None:
    """Wait for some loops of the scheduler.

    Airflow 3.3 takes a task whose answer comes before the scheduler has heard that the task was
    parked for one that was killed, and asks anew after its retry's delay. It hears of it up to
    `workers.min_heartbeat_interval` later.
    """
    seen: set[str] = set()
    while len(seen) < 5 and time.monotonic() < until:
        health = stack.api("GET", "/monitor/health").json()
        seen.add(health["scheduler"]["latest_scheduler_heartbeat"])
        time.sleep(0.5)


def path_of(asked: dict[str, Any]) -> str:
    """Return the path that an answer is sent to."""
    task = asked["task_instance"]
    where = f"/dags/{task['dag_id']}/dagRuns/{task['dag_run_id']}/taskInstances/{task['task_id']}"
    return f"{where}/{task['map_index']}/hitlDetails"


def answer(
    stack: Stack, asked: dict[str, Any], user: str = STEWARD, **body: object
) -> requests.Response:
    """Answer a question as one of the stack's users."""
    return stack.api("PATCH", path_of(asked), body, user)
