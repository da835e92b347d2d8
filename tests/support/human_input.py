"""A run's question to a human, and the answer, over Airflow's REST API."""

from __future__ import annotations

from typing import Any

import requests

from pacsgrid.embedded.stack import STEWARD, Stack
from support.waiting import wait_until


def question(stack: Stack, dag: str, run: str, seconds: float = 300) -> dict[str, Any]:
    """Wait for a run's one question; an answer may be given the moment it can be read."""
    path = f"/dags/{dag}/dagRuns/{run}/hitlDetails"
    details = wait_until(
        lambda: stack.api("GET", path).json()["hitl_details"],
        seconds,
        every=0.1,
        what=f"a question of {dag}",
    )
    return dict(details[0])


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
