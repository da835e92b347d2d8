"""Who may start a project's runs, answer their questions, or clear them: who may read the project.

Airflow gives rights by DAG, and one DAG serves every project. This stands before Airflow's REST
API, which its UI uses too, and asks its auth manager about the project that a request is for; all
other rights are Airflow's own, and are asked after it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.core_api.security import COOKIE_NAME_JWT_TOKEN, resolve_user_from_token
from fastapi import HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pacsgrid.config import site_names
from pacsgrid.web.access import sees

# The DAGs whose runs are for one project, which their parameter `project` names.
DAGS = ("ingest_studies", "review_held", "release_cohort", "withdraw_patient")
_ANY = "~"
_READS = ("GET", "HEAD", "OPTIONS")
_PATH = re.compile(r"/api/v2/dags/([^/]+)/(.+?)/?$")
_RUN = re.compile(r"dagRuns/([^/]+)(/|$)")


class ProjectGate:
    """ASGI middleware that refuses what is for a project that its user may not read."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on, or answer 403 with the project's name."""
        if scope["type"] != "http" or scope["method"] in _READS:
            return await self.app(scope, receive, send)
        found = _PATH.search(scope["path"])
        if not found or found[2].endswith("/list") or found[1] not in (*DAGS, _ANY):
            return await self.app(scope, receive, send)
        request = Request(scope, receive)
        body = await request.body()
        if user := await _user(request):
            projects = await run_in_threadpool(
                projects_of, scope["method"], found[1], found[2], body
            )
            for project in projects:
                if not await run_in_threadpool(sees, user, project):
                    told = f"this is for project {project}, which is not one of yours"
                    return await JSONResponse({"detail": told}, 403)(scope, receive, send)

        sent = False

        async def again() -> Message:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, again, send)


async def _user(request: Request) -> BaseUser | None:
    """Return who asks, None for whom Airflow itself will refuse."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        token = request.cookies.get(COOKIE_NAME_JWT_TOKEN, "")
    try:
        return await resolve_user_from_token(token.strip())
    except HTTPException:
        return None


def projects_of(method: str, dag: str, rest: str, body: bytes) -> Sequence[str]:
    """Return the projects that a request which changes something is for.

    Parameters
    ----------
    method, dag, rest
        The HTTP method, the DAG, and what follows it in the path, as ``dagRuns``.
    body
        The request's; what is no JSON object is Airflow's to refuse.
    """
    every = site_names().projects
    try:
        given = json.loads(body or b"{}")
    except ValueError:
        given = {}
    if not isinstance(given, dict):
        return every
    if rest in ("favorite", "unfavorite"):
        return ()
    if dag == _ANY:
        return every
    if (method, rest) == ("POST", "dagRuns"):
        return _named(given.get("conf"))
    run = found[1] if (found := _RUN.match(rest)) else given.get("dag_run_id")
    if not isinstance(run, str) or run == _ANY:
        return every
    return _named(_conf(dag, run))


def _named(conf: Any) -> Sequence[str]:
    """Return the project in a run's parameters; the form's first where they name none."""
    every = site_names().projects
    project = conf.get("project", every[0] if every else "") if isinstance(conf, dict) else None
    if conf is None and every:
        project = every[0]
    # One that is not there is the form's to refuse.
    return (project,) if project in every else ()


def _conf(dag: str, run: str) -> Any:
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        return session.scalar(select(DagRun.conf).where(DagRun.dag_id == dag, DagRun.run_id == run))
