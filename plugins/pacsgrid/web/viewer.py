"""The OHIF viewer beside the page, over the DICOMweb that Airflow's server gives its users."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from pacsgrid.config import load_site
from pacsgrid.errors import ConfigError
from pacsgrid.gateway.viewer import viewer


def _folder() -> Path:
    gateway = load_site().gateway
    if gateway is None or gateway.viewer is None:
        raise ConfigError("the site file names no viewer; install one with `make viewer`")
    return gateway.viewer


@cache
def _application(folder: Path) -> ASGIApp:
    return viewer(folder)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve the viewer's files; answer 404 where the site has no viewer.

    Parameters
    ----------
    scope, receive, send
        As ASGI defines them.
    """
    try:
        application = _application(await run_in_threadpool(_folder))
    except ConfigError as error:
        application = JSONResponse({"detail": str(error)}, 404)
    await application(scope, receive, send)


async def dicomweb(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve DICOMweb, which is beside the viewer.

    Parameters
    ----------
    scope, receive, send
        As ASGI defines them.
    """
    from pacsgrid.web.dicomweb import app as service

    await service(scope, receive, send)
