"""The ASGI application: resources of PS3.18 chapter 10, and errors as JSON."""

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

# Bytes of a query: a thousand UIDs.
MOST_QUERY = 64 << 10
_STUDY = "/studies/{study}"
_SERIES = f"{_STUDY}/series/{{series}}"
_INSTANCE = f"{_SERIES}/instances/{{sop}}"
_FRAME = re.compile("0{0,8}[1-9][0-9]{0,8}")
_AGAIN_SECONDS = "10"

Found = Callable[[Gateway, Request, list[StoredInstance]], Response]


def dicomweb(gateway: Gateway, who: Who, public_url: str = "") -> Starlette:
    """Return the application, to be mounted where the service's root is to be.

    Parameters
    ----------
    who
        Tells who asks; raises HTTPException 401 or 403.
    public_url
        The URL under which clients reach the service; empty where that is not known.
    """
    stores = store.StoreService(gateway)

    def searched(level: QueryLevel) -> Callable[[Request], Awaitable[Response]]:
        async def search(request: Request) -> Response:
            caller = await _admitted(who, request)
            return await run_in_threadpool(_told, _search, gateway, caller, level, request)

        return search

    def retrieved(answer: Found) -> Callable[[Request], Awaitable[Response]]:
        async def find(request: Request) -> Response:
            caller = await _admitted(who, request)
            return await run_in_threadpool(_told, _retrieve, gateway, caller, request, answer)

        return find

    async def stored(request: Request) -> Response:
        return await stores.store(await _admitted(who, request), request)

    def get(path: str, work: Callable[[Request], Awaitable[Response]]) -> Route:
        return Route(path, work, methods=["GET"])

    routes = [
        get("/studies", searched(QueryLevel.STUDY)),
        get("/series", searched(QueryLevel.SERIES)),
        get("/instances", searched(QueryLevel.IMAGE)),
        get(f"{_STUDY}/series", searched(QueryLevel.SERIES)),
        get(f"{_STUDY}/instances", searched(QueryLevel.IMAGE)),
        get(f"{_SERIES}/instances", searched(QueryLevel.IMAGE)),
        get(f"{_INSTANCE}/frames/{{frames}}", retrieved(_frames)),
        get(f"{_INSTANCE}/frames/{{frames}}/rendered", retrieved(_rendered_frame)),
        get(f"{_INSTANCE}/frames/{{frames}}/thumbnail", retrieved(_thumbnail_frame)),
        get(f"{_INSTANCE}/bulkdata/{{path}}", retrieved(_bulk)),
        Route("/studies", stored, methods=["POST"]),
        Route(_STUDY, stored, methods=["POST"]),
    ]
    for path in (_STUDY, _SERIES, _INSTANCE):
        routes += [
            get(path, retrieved(retrieve.retrieve)),
            get(f"{path}/metadata", retrieved(retrieve.retrieve_metadata)),
            get(f"{path}/rendered", retrieved(retrieve.retrieve_rendered)),
            get(f"{path}/thumbnail", retrieved(_thumbnail)),
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
        exception_handlers={HTTPException: _refused, PacsgridError: _failed},
    )
    service.state.public_url = public_url
    return service


async def _admitted(who: Who, request: Request) -> Caller:
    """Return who asks; refuse what is no request before anything is looked up."""
    if len(request.scope["query_string"]) > MOST_QUERY:
        raise HTTPException(414, f"a query may have up to {MOST_QUERY >> 10} KiB")
    caller = await who(request)
    for name in ("study", "series", "sop"):
        if not is_numeric_uid(request.path_params.get(name, "0")):
            raise HTTPException(400, f"the {name} in the address is no UID (PS3.5 9.1)")
    return caller


def _told(work: Callable[..., Response], *args: object) -> Response:
    """Answer; of what was not foreseen only its kind goes into the log, where values would not."""
    try:
        return work(*args)
    except (HTTPException, PacsgridError):
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        log.error("%s at %s:%s", type(error).__name__, frames[-1].filename, frames[-1].lineno)
        raise HTTPException(500, "the gateway failed; its log says where") from None


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"detail": error.detail}, error.status_code, error.headers)


def _failed(request: Request, error: Exception) -> Response:
    if isinstance(error, UndecodableError):
        return JSONResponse({"detail": str(error)}, 406)
    log.error("%s", error)
    if isinstance(error, PacsgridError) and error.retryable:
        return JSONResponse({"detail": str(error)}, 503, {"Retry-After": _AGAIN_SECONDS})
    return JSONResponse({"detail": str(error)}, 500)


def _search(gateway: Gateway, caller: Caller, level: QueryLevel, request: Request) -> Response:
    media = require_json(request)
    path: dict[str, str] = dict(request.path_params)
    asked = query.parse(level, request.query_params, path, gateway.settings.most_answers)
    root = address(request)
    found = query.run(gateway, caller.user, asked, root, path)
    headers = query.headers(asked, service(request)) | {"Cache-Control": "private, no-store"}
    return JSONResponse(found, headers=headers, media_type=media)


def _retrieve(gateway: Gateway, caller: Caller, request: Request, answer: Found) -> Response:
    uids = [request.path_params.get(name, "") for name in ("study", "series", "sop")]
    found = gateway.instances(caller.user, *uids)
    if not found:
        # What may not be read does not differ from what is not there.
        raise HTTPException(404, "no such study, series or instance")
    return answer(gateway, request, found)


def _numbers(request: Request) -> list[int]:
    """Return the frames that the path lists, each of them once."""
    parts = str(request.path_params["frames"]).split(",")
    if not all(_FRAME.fullmatch(part) for part in parts):
        raise HTTPException(400, "frames are numbers from 1 on, with commas")
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
