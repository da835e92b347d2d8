"""Who may see a project's runs, start them, answer their questions: who may read the project.

Airflow gives rights by DAG, and one DAG serves every project. This stands before Airflow's REST
API, which its UI uses too, and asks its auth manager about the project that a request is for; all
other rights are Airflow's own, and are asked after it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.core_api.security import COOKIE_NAME_JWT_TOKEN, resolve_user_from_token
from fastapi import HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pacsgrid.config import site_names
from pacsgrid.web.access import sees
from pacsgrid.web.others import (
    ANY,
    DAGS,
    asked_for,
    confs,
    foreign,
    hidden_from,
    projects_in,
    without,
)

_READS = ("GET", "HEAD", "OPTIONS")
_PATH = re.compile(r"/api/v2/dags/([^/]+)/(.+?)/?$")
_SHOWN = re.compile(r"/(api/v2|ui)/")
_RUN = re.compile(r"dagRuns/([^/]+)(/|$)")


class ProjectGate:
    """ASGI middleware that refuses what is for a project that its user may not read."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on, or answer 403 with the project's name; 404 for what is hidden."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        if scope["method"] in _READS or scope["path"].endswith("/list"):
            return await self._show(scope, receive, send)
        found = _PATH.search(scope["path"])
        if not found or found[1] not in (*DAGS, ANY):
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

    async def _show(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on what only reads; its answer tells nothing of other projects' runs."""
        user = await _user(Request(scope)) if _SHOWN.search(scope["path"]) else None
        hidden = await run_in_threadpool(hidden_from, user) if user else frozenset()
        if not hidden:
            return await self.app(scope, receive, send)
        asked = asked_for(scope["path"], scope["query_string"])
        if await run_in_threadpool(foreign, asked, hidden):
            return await _not_there(scope, receive, send)
        # What is looked through must not be compressed.
        headers = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
        begun: Message | None = None
        body = b""

        async def seen(message: Message) -> None:
            nonlocal begun, body
            if message["type"] == "http.response.start" and _is_json(message):
                begun = message
                return
            if begun is None or message["type"] != "http.response.body":
                return await send(message)
            body += message.get("body", b"")
            if message.get("more_body"):
                return
            left = await run_in_threadpool(without, body, hidden)
            if left is None:
                return await _not_there(scope, receive, send)
            kept = [pair for pair in begun["headers"] if pair[0].lower() != b"content-length"]
            length = (b"content-length", str(len(left)).encode())
            await send({**begun, "headers": [*kept, length]})
            await send({"type": "http.response.body", "body": left})

        await self.app({**scope, "headers": headers}, receive, seen)


def _is_json(start: Message) -> bool:
    kinds = [value for name, value in start["headers"] if name.lower() == b"content-type"]
    return start["status"] < 300 and any(kind.startswith(b"application/json") for kind in kinds)


async def _not_there(scope: Scope, receive: Receive, send: Send) -> None:
    await JSONResponse({"detail": "there is no such run"}, 404)(scope, receive, send)


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
    if dag == ANY:
        return every
    if (method, rest) == ("POST", "dagRuns"):
        return projects_in(given.get("conf"))
    run = found[1] if (found := _RUN.match(rest)) else given.get("dag_run_id")
    if not isinstance(run, str) or run == ANY:
        return every
    return projects_in(confs([(dag, run)]).get((dag, run)))
