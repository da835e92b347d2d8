"""Airflow's questions to a human, found and answered over its REST API."""

from __future__ import annotations

import time
from typing import Any

import requests

from pacsgrid.embedded.stack import Stack


def question(stack: Stack, dag: str, run: str, seconds: float = 300) -> dict[str, Any]:
    """Wait for a run's one question to a human."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        details = stack.api("GET", f"/dags/{dag}/dagRuns/{run}/hitlDetails").json()["hitl_details"]
        if details:
            return dict(details[0])
        time.sleep(2)
    raise TimeoutError(f"{dag} asks nothing within {seconds:.0f} s")


def answer(stack: Stack, asked: dict[str, Any], user: str, **body: object) -> requests.Response:
    """Answer a question as one of the stack's users."""
    task = asked["task_instance"]
    where = f"/dags/{task['dag_id']}/dagRuns/{task['dag_run_id']}/taskInstances/{task['task_id']}"
    return stack.api("PATCH", f"{where}/{task['map_index']}/hitlDetails", body, user)
