"""Notify people by webhook and mail of a task that failed and is not tried again.

The connection `pacsgrid_webhook` (its host is the whole URL, its password a bearer token) receives
JSON with one ``text``, which chat servers understand. Mail goes to `alerts.mail_to` of the site
file through an Airflow connection of type ``smtp``. A notification holds names only: no error
text, which another library may have filled with anything, and no run id that a person made up.
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
# The run ids that Airflow generates itself.
_GENERATED_RUN_ID = re.compile(
    r"(manual|scheduled|asset_triggered|backfill)__[0-9T:.+_A-Za-z-]{1,60}"
)

log = logging.getLogger(__name__)


def notify_failure(context: Mapping[str, Any]) -> None:
    """Notify of a failed task; used as `on_failure_callback`, so it raises nothing."""
    task = context["ti"]
    metrics.count_failure(task.dag_id)
    text = f"pacsgrid: {task.dag_id}, task {task.task_id}"
    link = ""
    if _GENERATED_RUN_ID.fullmatch(task.run_id):
        text += f" of run {task.run_id}"
        link = getattr(task, "log_url", "")
    text += " has failed"
    for way, send in (("webhook", _send_webhook), ("mail", _send_mail)):
        try:
            send(text, link)
        except Exception as error:
            log.warning(
                "the %s about this failure was not sent (%s): check its connection in Airflow",
                way,
                type(error).__name__,
            )


def _send_webhook(text: str, link: str) -> None:
    import requests
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        where = Connection.get(WEBHOOK)
    except AirflowNotFoundException:
        return
    headers = {"Authorization": f"Bearer {where.password}"} if where.password else {}
    payload = {"text": f"{text}: {link}" if link else text}
    answer = requests.post(where.host, json=payload, headers=headers, timeout=_SECONDS)
    answer.raise_for_status()


def _send_mail(text: str, link: str) -> None:
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
