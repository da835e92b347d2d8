"""Tells people that a task has failed for good, by webhook and by mail, where a site set them up.

The connection `pacsgrid_webhook` (its host is the whole URL, its password a bearer token) takes
JSON with one ``text``, as chat servers and mail gateways do. Mail goes to `alerts.mail_to` of the
site file through an Airflow connection of type ``smtp``. Only names are told: no error text, which
a foreign library may have filled with anything, and no run's name that somebody made up.
"""

from __future__ import annotations

import html
import logging
import re
from collections.abc import Mapping
from typing import Any

from pacsgrid.airflow import metrics

WEBHOOK = "pacsgrid_webhook"
_SECONDS = 10
# The names that Airflow gives to runs by itself.
_AIRFLOW_S = re.compile(r"(manual|scheduled|asset_triggered|backfill)__[0-9T:.+_A-Za-z-]{1,60}")

log = logging.getLogger(__name__)


def failed(context: Mapping[str, Any]) -> None:
    """Tell of a failed task; used as `on_failure_callback`, so it raises nothing."""
    task = context["ti"]
    metrics.failed(task.dag_id)
    text = f"pacsgrid: {task.dag_id}, task {task.task_id}"
    link = ""
    if _AIRFLOW_S.fullmatch(task.run_id):
        text += f" of run {task.run_id}"
        link = getattr(task, "log_url", "")
    text += " has failed"
    for tell in (_webhook, _mail):
        try:
            tell(text, link)
        except Exception as error:
            way = tell.__name__.strip("_")
            log.warning("could not tell of the failure by %s: %s", way, type(error).__name__)


def _webhook(text: str, link: str) -> None:
    import requests
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        where = Connection.get(WEBHOOK)
    except AirflowNotFoundException:
        return
    headers = {"Authorization": f"Bearer {where.password}"} if where.password else {}
    told = {"text": f"{text}: {link}" if link else text}
    answer = requests.post(where.host, json=told, headers=headers, timeout=_SECONDS)
    answer.raise_for_status()


def _mail(text: str, link: str) -> None:
    from pacsgrid.config import site_names

    names = site_names()
    if not names.mail_to:
        return
    from airflow.providers.smtp.hooks.smtp import SmtpHook

    body = f"<p>{html.escape(text)}.</p>"
    if link:
        body += f'<p><a href="{html.escape(link)}">Its log</a></p>'
    with SmtpHook(names.mail_connection) as mail:
        mail.send_email_smtp(to=list(names.mail_to), subject=text, html_content=body)
