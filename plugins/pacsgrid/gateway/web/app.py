"""The DICOMweb service as an ASGI application: the resources of PS3.18 10.4 to 10.6.

Errors are answered as JSON objects with a ``detail``.
"""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pacsgrid.errors import PacsgridError
from pacsgrid.gateway.core import Gateway
from pacsgrid.gateway.object_reader import StoredInstance
from pacsgrid.gateway.queries import QueryLevel
from pacsgrid.gateway.transcode import UndecodableError
from pacsgrid.gateway.web import query, retrieve, store
from pacsgrid.gateway.web.authentication import Caller, Who
from pacsgrid.gateway.web.content_negotiation import require_json
from pacsgrid.gateway.web.resource_urls import address, service
from pacsgrid.uids import is_numeric_uid

log = logging.getLogger(__name__)

# Bytes of a query string: enough for a thousand UIDs.
MOST_QUERY = 64 << 10
_STUDY = "/studies/{study}"
_SERIES = f"{_STUDY}/series/{{series}}"
_INSTANCE = f"{_SERIES}/instances/{{sop}}"
_FRAME = re.compile("0{0,8}[1-9][0-9]{0,8}")
_RETRY_SECONDS = "10"

Responder = Callable[[Gateway, Request, list[StoredInstance]], Response]


def dicomweb(gateway: Gateway, who: Who, public_url: str = "") -> Starlette:
    """Return the DICOMweb service, to be mounted at its root.

    Parameters
    ----------
    gateway
        The gateway whose studies it serves.
    who
        Returns the caller of a request, or raises HTTPException 401 or 403.
    public_url
        The URL under which clients reach the service; empty if it is not known.

    Returns
    -------
    Starlette
        The ASGI application.
    """
    stores = store.StoreService(gateway)

    def search_of(level: QueryLevel) -> Callable[[Request], Awaitable[Response]]:
        async def search(request: Request) -> Response:
            caller = await _authenticated(who, request)
            return await run_in_threadpool(_hiding_values, _search, gateway, caller, level, request)

        return search

    def retrieval_by(respond: Responder) -> Callable[[Request], Awaitable[Response]]:
        async def retrieval(request: Request) -> Response:
            caller = await _authenticated(who, request)
            return await run_in_threadpool(
                _hiding_values, _retrieve, gateway, caller, request, respond
            )

        return retrieval

    async def store_instances(request: Request) -> Response:
        return await stores.store(await _authenticated(who, request), request)

    def get(path: str, endpoint: Callable[[Request], Awaitable[Response]]) -> Route:
        return Route(path, endpoint, methods=["GET"])

    routes = [
        get("/studies", search_of(QueryLevel.STUDY)),
        get("/series", search_of(QueryLevel.SERIES)),
        get("/instances", search_of(QueryLevel.IMAGE)),
        get(f"{_STUDY}/series", search_of(QueryLevel.SERIES)),
        get(f"{_STUDY}/instances", search_of(QueryLevel.IMAGE)),
        get(f"{_SERIES}/instances", search_of(QueryLevel.IMAGE)),
        get(f"{_INSTANCE}/frames/{{frames}}", retrieval_by(_frames)),
        get(f"{_INSTANCE}/frames/{{frames}}/rendered", retrieval_by(_rendered_frame)),
        get(f"{_INSTANCE}/frames/{{frames}}/thumbnail", retrieval_by(_thumbnail_frame)),
        get(f"{_INSTANCE}/bulkdata/{{path}}", retrieval_by(_bulk)),
        Route("/studies", store_instances, methods=["POST"]),
        Route(_STUDY, store_instances, methods=["POST"]),
    ]
    for path in (_STUDY, _SERIES, _INSTANCE):
        routes += [
            get(path, retrieval_by(retrieve.retrieve)),
            get(f"{path}/metadata", retrieval_by(retrieve.retrieve_metadata)),
            get(f"{path}/rendered", retrieval_by(retrieve.retrieve_rendered)),
            get(f"{path}/thumbnail", retrieval_by(_thumbnail)),
        ]
    middleware = []
    if gateway.settings.cors_origins:
        middleware.append(
            Middleware(
                CORSMiddleware,
                allow_origins=list(gateway.settings.cors_origins),
                allow_methods=["GET", "POST"],
                allow_headers=["Accept", "Authorization", "Content-Type", "Range"],
                expose_headers=["Accept-Ranges", "Content-Range", "Content-Type", "Warning"],
            )
        )
    service = Starlette(
        routes=routes,
        middleware=middleware,
        exception_handlers={HTTPException: _http_error, PacsgridError: _gateway_error},
    )
    service.state.public_url = public_url
    return service


async def _authenticated(who: Who, request: Request) -> Caller:
    """Return the caller; refuse a malformed request before it costs a query."""
    if len(request.scope["query_string"]) > MOST_QUERY:
        raise HTTPException(
            414, f"the query string is longer than {MOST_QUERY >> 10} KiB; split the request"
        )
    caller = await who(request)
    for name in ("study", "series", "sop"):
        if not is_numeric_uid(request.path_params.get(name, "0")):
            raise HTTPException(400, f"the {name} in the URL is not a valid UID (PS3.5 9.1)")
    return caller


def _hiding_values(work: Callable[..., Response], *args: object) -> Response:
    """Call a function; log an unexpected error without its message, which could quote values."""
    try:
        return work(*args)
    except (HTTPException, PacsgridError):
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        log.error(
            "unexpected %s at %s:%s", type(error).__name__, frames[-1].filename, frames[-1].lineno
        )
        raise HTTPException(
            500, "internal error; the gateway's log shows where it happened"
        ) from None


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"detail": error.detail}, error.status_code, error.headers)


def _gateway_error(request: Request, error: Exception) -> Response:
    if isinstance(error, UndecodableError):
        return JSONResponse({"detail": str(error)}, 406)
    log.error("%s", error)
    if isinstance(error, PacsgridError) and error.retryable:
        return JSONResponse({"detail": str(error)}, 503, {"Retry-After": _RETRY_SECONDS})
    return JSONResponse({"detail": str(error)}, 500)


def _search(gateway: Gateway, caller: Caller, level: QueryLevel, request: Request) -> Response:
    media = require_json(request)
    path: dict[str, str] = dict(request.path_params)
    search = query.parse(level, request.query_params, path, gateway.settings.most_answers)
    root = address(request)
    found = query.run(gateway, caller.user, search, root, path)
    headers = query.headers(search, service(request)) | {"Cache-Control": "private, no-store"}
    return JSONResponse(found, headers=headers, media_type=media)


def _retrieve(gateway: Gateway, caller: Caller, request: Request, respond: Responder) -> Response:
    uids = [request.path_params.get(name, "") for name in ("study", "series", "sop")]
    found = gateway.instances(caller.user, *uids)
    if not found:
        # The answer does not show whether something exists that the caller may not read.
        raise HTTPException(404, "no such study, series or instance that you may read")
    address = request.client.host if request.client else ""
    gateway.disclosures.note(caller.who, caller.way, address, found)
    return respond(gateway, request, found)


def _numbers(request: Request) -> list[int]:
    """Return the frame numbers that the URL lists, without repetitions."""
    parts = str(request.path_params["frames"]).split(",")
    if not all(_FRAME.fullmatch(part) for part in parts):
        raise HTTPException(
            400, "the frames in the URL must be numbers from 1, separated by commas"
        )
    return list(dict.fromkeys(int(part) for part in parts))


def _frames(gateway: Gateway, request: Request, found: list[StoredInstance]) -> Response:
    return retrieve.retrieve_frames(gateway, request, found[0], _numbers(request))


def _rendered_frame(gateway: Gateway, request: Request, found: list[StoredInstance]) -> Response:
    return retrieve.retrieve_rendered(gateway, request, found, _numbers(request))


def _thumbnail_frame(gateway: Gateway, request: Request, found: list[StoredInstance]) -> Response:
    numbers = _numbers(request)
    return retrieve.retrieve_rendered(gateway, request, found, numbers, retrieve.THUMBNAIL)


def _thumbnail(gateway: Gateway, request: Request, found: list[StoredInstance]) -> Response:
    return retrieve.retrieve_rendered(gateway, request, found, edge=retrieve.THUMBNAIL)


def _bulk(gateway: Gateway, request: Request, found: list[StoredInstance]) -> Response:
    return retrieve.retrieve_bulk(gateway, request, found[0], request.path_params["path"])
