"""A check before Airflow's REST API: only a project's readers see, start and answer its runs.

Airflow grants rights by DAG, and one DAG serves every project. This middleware stands before the
REST API, which Airflow's UI uses as well. `endpoint_rules` says what each endpoint needs, and
`row_filter` hides other projects' rows from what Airflow then reads. Airflow checks all other
rights afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode

from airflow.api_fastapi.core_api.security import bearer_scheme, get_user
from fastapi import HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from starlette.routing import Match, Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pacsgrid.errors import ConfigError
from pacsgrid.web.access import is_operator, own_projects
from pacsgrid.web.endpoint_rules import (
    ANNOUNCE,
    ANY,
    MOUNTS,
    TRIGGER,
    Rule,
    check_body,
    parsed,
    projects_of,
    rule_of,
    runs_asked_for,
    runs_named,
    with_project,
)
from pacsgrid.web.row_filter import limited_to, load_models

NO_PROJECTS: frozenset[str] = frozenset()
_LARGEST_BODY = 4 * 2**20


class ProjectGate:
    """ASGI middleware that refuses requests for projects that the user may not read."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        load_models()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 400, 401, 403, 404, 413 or 503 with what is wrong.

        Parameters
        ----------
        scope, receive, send
            As ASGI defines them.
        """
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":  # Airflow has no WebSocket
            return await send({"type": "websocket.close", "code": 1008})
        # Airflow's access log reads the outer scope afterwards; a query may name a patient.
        scope, outer = dict(scope), scope
        outer["query_string"] = b""
        try:
            await self._pass(scope, receive, send)
        except HTTPException as refused:
            answer = JSONResponse({"detail": refused.detail}, refused.status_code)
            await answer(scope, receive, send)
        except ConfigError as error:  # without the site file there are no projects to check
            await JSONResponse({"detail": str(error)}, 503)(scope, receive, send)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        route, path = _route(scope)
        if route in MOUNTS:
            return await self.app(scope, receive, send)
        rule = Rule.OPEN if route is None else rule_of(scope["method"], route)
        if route is None or rule is Rule.OPEN:
            with limited_to(NO_PROJECTS):
                return await self.app(scope, receive, send)
        request = Request(scope, receive)
        # Airflow's own functions resolve the user, so that both always see the same one.
        user = await get_user(request, None, await bearer_scheme(request))
        operates = await run_in_threadpool(is_operator, user)
        if rule is Rule.OPERATE and not operates:
            raise HTTPException(403, "only operators of the site may do this")
        own = None if operates else await run_in_threadpool(own_projects, user)
        if own is not None and rule is Rule.READ:
            named = runs_asked_for(path, scope["query_string"])
            with limited_to(own):
                there = await run_in_threadpool(_confs, path.get("dag_id", ANY), named)
            if set(named) - set(there):
                raise HTTPException(404, "no such run")
        if scope["method"] not in ("GET", "HEAD"):
            receive = await self._checked(scope, receive, route, path, own)
        # The receiver may announce studies without the right to read runs.
        with limited_to(None if (scope["method"], route) == ANNOUNCE else own):
            await self.app(scope, receive, send)

    async def _checked(
        self,
        scope: Scope,
        receive: Receive,
        route: str,
        path: Mapping[str, str],
        own: frozenset[str] | None,
    ) -> Receive:
        """Read and check the body; return an ASGI `receive` that passes it to Airflow."""
        method = scope["method"]
        body = await _read(receive)
        document = parsed(body)
        if own is not None and rule_of(method, route) is Rule.CHANGE:
            confs = await run_in_threadpool(_confs, path.get("dag_id"), runs_named(path, document))
            for project in projects_of(method, route, path, document, confs):
                if project not in own:
                    raise HTTPException(
                        403, f"this request is for project {project}, which you may not read"
                    )
        try:
            asset = ""
            if (method, route) == ANNOUNCE and isinstance(document, dict):
                asset = await run_in_threadpool(_asset, document.get("asset_id"))
            check_body(method, route, path, document, asset)
        except ConfigError as error:
            raise HTTPException(400, str(error)) from None
        if rule_of(method, route) is Rule.CHANGE:
            # Airflow's audit log keeps every query parameter, unknown ones included.
            pairs = parse_qsl(scope["query_string"].decode("latin-1"))
            kept = [pair for pair in pairs if pair[0] in ("update_mask", "map_index")]
            scope["query_string"] = urlencode(kept).encode()
        if (method, route) == TRIGGER and isinstance(document, dict):
            body = json.dumps(with_project(path["dag_id"], document)).encode()
            scope["headers"] = [
                *(pair for pair in scope["headers"] if pair[0] != b"content-length"),
                (b"content-length", str(len(body)).encode()),
            ]
        return _again(body, receive)


def _route(scope: Scope) -> tuple[str | None, Mapping[str, str]]:
    """Return the route that Airflow's router will take, None for none, and its placeholders."""
    for route in scope["app"].router.routes:
        match, child = route.matches(scope)
        if match is Match.FULL:
            found: str = route.path
            # A mount is known by its path only.
            return found, {} if isinstance(route, Mount) else child.get("path_params", {})
    return None, {}


async def _read(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise HTTPException(400, "the request's body was cut short")
        body += bytes(message.get("body", b""))
        if len(body) > _LARGEST_BODY:
            raise HTTPException(413, f"the request's body is larger than {_LARGEST_BODY} bytes")
        if not message.get("more_body"):
            return body


def _again(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _confs(dag: str | None, runs: Sequence[str]) -> dict[str, Any]:
    """Return the conf of each of the runs that exists; of any DAG for ``~``."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    if not runs:
        return {}
    with create_session() as session:
        query = select(DagRun.run_id, DagRun.conf).where(DagRun.run_id.in_(list(runs)))
        if dag != ANY:
            query = query.where(DagRun.dag_id == dag)
        return {run: conf for run, conf in session.execute(query)}


def _asset(number: object) -> str:
    """Return an asset's URI; empty for an unknown one."""
    from airflow.models.asset import AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    if not isinstance(number, int):
        raise HTTPException(400, "asset_id must be a number")
    with create_session() as session:
        return session.scalar(select(AssetModel.uri).where(AssetModel.id == number)) or ""
