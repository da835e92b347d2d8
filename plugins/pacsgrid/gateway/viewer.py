"""Serve the OHIF viewer over the gateway's DICOMweb, below any path.

The files are those of the npm package ``@ohif/app``. They are built for the root of a host: what
names that root is changed on the way out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route

from pacsgrid.gateway.web.authentication import Who

# The version that the tests open studies with.
PACKAGE = "@ohif/app@3.13.2"
PACKAGE_SHA256 = "b189d3963bfc58e9394a9db8c7be75d07beb029ec211dbb126d47b62969dd3f1"
_PAGE, _SETTINGS = "index.html", "app-config.js"
# Addresses from the root of the host in the page: of its scripts, styles and icons.
_FROM_ROOT = re.compile(r'(?P<name>(?:src|href|content)=|PUBLIC_URL=)"/(?P<path>[^"/][^"]*)?"')
# The same in scripts, which load others, and in styles.
_FROM_ROOT_IN = {".js": b'__webpack_require__.p = "/";', ".css": b"url(/"}
_HEADERS = {
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
}
# Names of files have a digest of what they hold, except these.
_CHANGING = {_PAGE, "sw.js", "init-service-worker.js", "manifest.json"}


def viewer(folder: Path, who: Who | None = None, sign_in: str = "") -> Starlette:
    """Return the viewer, to be mounted beside ``dicom-web``.

    Parameters
    ----------
    folder
        The viewer's files.
    who
        Returns the caller of a request, or raises HTTPException 401; None to let everybody load
        the page, which shows nothing without the rights of DICOMweb.
    sign_in
        Where strangers are sent, relative to the mount's parent, with the page as ``next``.

    Returns
    -------
    Starlette
        The ASGI application.
    """

    async def answer(request: Request) -> Response:
        name = request.path_params["path"]
        root = request.scope.get("root_path", "").rstrip("/")
        if name == _SETTINGS:
            settings = json.dumps(viewer_settings(root))
            return _changing(f"window.config = {settings};", "text/javascript")
        file = await run_in_threadpool(_inside, folder, name)
        if file is not None and file.name != _PAGE:
            cache = "no-cache" if file.name in _CHANGING else "public, max-age=604800"
            headers = {**_HEADERS, "Cache-Control": cache}
            if file.suffix in _FROM_ROOT_IN:
                moved = await run_in_threadpool(_moved, file, root)
                if moved is not None:
                    media = "text/css" if file.suffix == ".css" else "text/javascript"
                    return Response(moved, media_type=media, headers=headers)
            return FileResponse(file, headers=headers)
        if name and "." in name.rpartition("/")[2]:
            raise HTTPException(404, "the viewer has no such file")
        # Any other address is one of the page's own; one with a token in it signs in by that.
        if (
            who is not None
            and "token" not in request.query_params
            and not await _known(who, request)
        ):
            here = f"{root}/{name}" + (f"?{request.url.query}" if request.url.query else "")
            target = f"{root.rpartition('/')[0]}/{sign_in}?next={quote(here, safe='')}"
            return RedirectResponse(target, 303, _HEADERS)
        return _changing(await run_in_threadpool(_page, folder, root), "text/html")

    return Starlette(routes=[Route("/{path:path}", answer)])


async def _known(who: Callable[[Request], Awaitable[object]], request: Request) -> bool:
    try:
        await who(request)
    except HTTPException:
        return False
    return True


def _changing(text: str, media: str) -> Response:
    headers = {**_HEADERS, "Cache-Control": "no-store"}
    return Response(text, media_type=media, headers=headers)


def _inside(folder: Path, name: str) -> Path | None:
    """Return a file of the folder; None for what it does not have."""
    root = folder.resolve()
    file = (root / name).resolve()
    return file if name and file.is_relative_to(root) and file.is_file() else None


@lru_cache(maxsize=512)
def _moved(file: Path, root: str) -> bytes | None:
    """Return a script or style that finds the others below `root`; None if it names none."""
    content, mark = file.read_bytes(), _FROM_ROOT_IN[file.suffix]
    if mark not in content:
        return None
    return content.replace(mark, mark.replace(b"/", f"{quote(root)}/".encode()))


@lru_cache(maxsize=8)
def _page(folder: Path, root: str) -> str:
    text = (folder / _PAGE).read_text(encoding="utf-8")
    return _FROM_ROOT.sub(lambda m: f'{m["name"]}"{root}/{m["path"] or ""}"', text)


def viewer_settings(root: str) -> dict[str, object]:
    """Return the viewer's settings, as its ``window.config``.

    Parameters
    ----------
    root
        The path below which the viewer is served; ``dicom-web`` is beside it.
    """
    service = f"{root.rpartition('/')[0]}/dicom-web"
    source = {
        "friendlyName": "pacsgrid",
        "name": "pacsgrid",
        "qidoRoot": service,
        "wadoRoot": service,
        "wadoUriRoot": service,
        "qidoSupportsIncludeField": True,
        "imageRendering": "wadors",
        "thumbnailRendering": "wadors",
        "enableStudyLazyLoad": True,
        "supportsFuzzyMatching": False,
        "supportsWildcard": True,
    }
    return {
        "routerBasename": root or "/",
        "extensions": [],
        "modes": [],
        "showStudyList": True,
        "defaultDataSourceName": "dicomweb",
        "investigationalUseDialog": {"option": "never"},
        "dataSources": [
            {
                "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
                "sourceName": "dicomweb",
                "configuration": source,
            }
        ],
    }
