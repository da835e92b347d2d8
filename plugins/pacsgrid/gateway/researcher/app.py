"""The researcher's page as an ASGI application, behind the gateway's tokens.

Signing in puts the token into a cookie that scripts cannot read. Whatever changes something takes
JSON only, which a page of another site cannot send without being asked first (CORS).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from pacsgrid.errors import ConfigError, PacsgridError
from pacsgrid.gateway.core import Gateway
from pacsgrid.gateway.logins import GatewayLogins
from pacsgrid.gateway.researcher.releases import releases_for, served_projects, studies_of
from pacsgrid.gateway.web.authentication import COOKIE, LOGIN_COOKIE, Who
from pacsgrid.gateway.web.sign_in import SignIn
from pacsgrid.ledger import Grant, Ledger
from pacsgrid.pipeline import ProjectContext
from pacsgrid.pipeline.grants import end_grant, request_grant

log = logging.getLogger(__name__)

_STATIC = Path(__file__).parent / "static"
_MOST_BODY = 16 << 10
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'self'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
}

Answer = Callable[[Gateway, str, Request, dict[str, Any]], Any]


def researcher_page(gateway: Gateway, who: Who, logins: GatewayLogins | None = None) -> Starlette:
    """Return the page and its API.

    Parameters
    ----------
    gateway
        The gateway.
    who
        Returns the caller of a request, or raises HTTPException 401.
    logins
        The site's logins; None for a site without a provider.

    Returns
    -------
    Starlette
        The ASGI application, to be mounted beside ``viewer`` and ``dicom-web``.
    """

    def api(path: str, answer: Answer, method: str = "GET") -> Route:
        async def handle(request: Request) -> Response:
            caller = await who(request)
            body = await _body(request) if method == "POST" else {}
            found = await run_in_threadpool(answer, gateway, caller.user, request, body)
            return JSONResponse(json.loads(json.dumps(found, default=_text)))

        return Route(path, handle, methods=[method])

    async def page(request: Request) -> Response:
        if not request.url.path.endswith("/"):
            raise HTTPException(404, "there is no such page")
        return FileResponse(_STATIC / "index.html")

    async def sign_in(request: Request) -> Response:
        token = str((await _body(request)).get("token", "")).strip()
        known = gateway.settings.bearer(token)
        if known is None:
            raise HTTPException(401, "this is none of the gateway's tokens; ask a data steward")
        answer = JSONResponse({"user": known.user})
        secure = gateway.settings.is_https
        answer.set_cookie(
            COOKIE, token, max_age=12 * 3600, httponly=True, samesite="strict", secure=secure
        )
        return answer

    async def sign_out(request: Request) -> Response:
        await _body(request)
        secret = request.cookies.get(LOGIN_COOKIE, "")
        if logins is not None and secret:
            await run_in_threadpool(logins.end, secret)
        answer = JSONResponse({})
        for cookie in (COOKIE, LOGIN_COOKIE):
            answer.delete_cookie(cookie, httponly=True, samesite="strict")
        return answer

    async def ways(request: Request) -> Response:
        return JSONResponse({"provider": logins is not None, "token": bool(settings.tokens)})

    settings = gateway.settings
    sign_in_routes = (
        SignIn(logins, settings.public_url, settings.is_https).routes if logins is not None else []
    )
    return Starlette(
        routes=[
            Route("/", page),
            *sign_in_routes,
            Route("/api/ways", ways),
            Route("/api/session", sign_in, methods=["POST"]),
            Route("/api/session/end", sign_out, methods=["POST"]),
            api("/api/me", _me),
            api("/api/releases", _releases),
            api("/api/releases/{project}/{name}/{version:int}/studies", _studies),
            api("/api/grants", _grants),
            api("/api/grants", _ask, "POST"),
            api("/api/grants/{grant}/end", _end, "POST"),
            Mount("/static", StaticFiles(directory=_STATIC)),
        ],
        middleware=[Middleware(BaseHTTPMiddleware, dispatch=_with_headers)],
        exception_handlers={HTTPException: _http_error, PacsgridError: _error},
    )


async def _with_headers(request: Request, handle: RequestResponseEndpoint) -> Response:
    response = await handle(request)
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response


async def _body(request: Request) -> dict[str, Any]:
    """Return a request's JSON object; refuse everything else, and what is too long."""
    if request.headers.get("Content-Type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "send application/json")
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > _MOST_BODY:
            raise HTTPException(413, f"the request is longer than {_MOST_BODY >> 10} KiB")
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise HTTPException(400, "the body must be a JSON object")
    return body


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"detail": error.detail}, error.status_code, error.headers)


def _error(request: Request, error: Exception) -> Response:
    assert isinstance(error, PacsgridError)
    if isinstance(error, ConfigError):
        return JSONResponse({"detail": str(error)}, 422)
    log.error("%s", error)
    return JSONResponse({"detail": str(error)}, 503 if error.retryable else 500)


def _me(gateway: Gateway, user: str, request: Request, body: dict[str, Any]) -> dict[str, Any]:
    return {
        "user": user,
        "viewer": gateway.settings.viewer is not None,
        "time_zone": gateway.site.time_zone,
    }


def _releases(
    gateway: Gateway, user: str, request: Request, body: dict[str, Any]
) -> dict[str, Any]:
    return asdict(releases_for(gateway, user))


def _studies(gateway: Gateway, user: str, request: Request, body: dict[str, Any]) -> list[str]:
    given = request.path_params
    found = studies_of(gateway, user, (given["project"], given["name"], given["version"]))
    if found is None:
        raise HTTPException(404, "no release with this name that you may read")
    return found


def _grants(
    gateway: Gateway, user: str, request: Request, body: dict[str, Any]
) -> list[dict[str, Any]]:
    ledger, now = Ledger(gateway.site.ledger_dsn), gateway.now()
    return [
        {
            **_grant(one),
            "state": one.state_at(now),
            "events": [
                # Who a steward is, is the site's own matter.
                {"what": event.what, "reason": event.reason, "at": event.at}
                for event in ledger.grants.events(one.id)
                if not event.what.startswith("rights")
            ],
        }
        for one in ledger.grants.of_researcher(user)
    ]


def _grant(one: Grant) -> dict[str, Any]:
    return asdict(one)


def _ask(gateway: Gateway, user: str, request: Request, body: dict[str, Any]) -> dict[str, Any]:
    name, version = str(body.get("project", "")), body.get("version")
    project = served_projects(gateway).get(name)
    if project is None or project.requests is None:
        raise HTTPException(404, "no project with this name whose releases you may ask for")
    if not isinstance(version, int):
        raise ConfigError("version must be a number")
    try:
        until = datetime.fromisoformat(str(body.get("until", "")))
    except ValueError:
        raise ConfigError("until: write a time such as 2026-06-01T12:00:00Z") from None
    with ProjectContext(gateway.site, name, "researcher") as context:
        made = request_grant(
            context,
            str(body.get("release", "")),
            version,
            user,
            str(body.get("purpose", "")),
            until,
            gateway.now(),
        )
    return {"id": made}


def _end(gateway: Gateway, user: str, request: Request, body: dict[str, Any]) -> dict[str, Any]:
    grant = Ledger(gateway.site.ledger_dsn).grants.get(request.path_params["grant"])
    if grant is None or grant.researcher != user:
        raise HTTPException(404, "you have no request or grant with this id")
    with ProjectContext(gateway.site, grant.project, "researcher") as context:
        end_grant(context, grant, user, "by the researcher", gateway.now())
    return {"id": grant.id}
