"""Tells people that a task has failed for good, where a site set up a webhook.

The connection `pacsgrid_webhook` (its host is the whole URL, its password a bearer token) takes
JSON with one ``text``, as chat servers and mail gateways do. Only names are told: no error text,
which a foreign library may have filled with anything.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from pacsgrid.airflow import metrics

WEBHOOK = "pacsgrid_webhook"
_SECONDS = 10

log = logging.getLogger(__name__)


def failed(context: Mapping[str, Any]) -> None:
    """Tell of a failed task; used as `on_failure_callback`, so it raises nothing."""
    task = context["ti"]
    text = f"pacsgrid: {task.dag_id}, task {task.task_id} of run {task.run_id} has failed"
    if url := getattr(task, "log_url", ""):
        text += f": {url}"
    metrics.failed(task.dag_id)
    try:
        _webhook(text)
    except Exception as error:
        log.warning("could not tell of the failure: %s", type(error).__name__)


def _webhook(text: str) -> None:
    import requests
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        where = Connection.get(WEBHOOK)
    except AirflowNotFoundException:
        return
    headers = {"Authorization": f"Bearer {where.password}"} if where.password else {}
    answer = requests.post(where.host, json={"text": text}, headers=headers, timeout=_SECONDS)
    answer.raise_for_status()
