"""The OHIF viewer: its files, and a server of its page for one DICOMweb service."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

VIEWER = "@ohif/app@3.13.2"
VAR = Path(__file__).resolve().parents[2] / "var"
# The share of pixels of the largest canvas that differ from the commonest value.
DRAWN = """() => {
  let most = 0;
  for (const canvas of document.querySelectorAll('canvas.cornerstone-canvas')) {
    if (!canvas.width || !canvas.height) continue;
    const copy = document.createElement('canvas');
    copy.width = canvas.width; copy.height = canvas.height;
    const context = copy.getContext('2d');
    context.drawImage(canvas, 0, 0);
    const data = context.getImageData(0, 0, copy.width, copy.height).data;
    const counts = new Array(256).fill(0);
    for (let i = 0; i < data.length; i += 4) counts[data[i]]++;
    most = Math.max(most, 1 - Math.max(...counts) / (data.length / 4));
  }
  return most;
}"""


def fetched_viewer() -> Path:
    """The directory of the viewer's files, fetched once into var/."""
    folder = VAR / "ohif" / VIEWER.rpartition("@")[2]
    if not (folder / "package").exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = ["npm", "pack", "--silent", VIEWER]
        name = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
        with tarfile.open(folder / name.stdout.split()[-1]) as tar:
            tar.extractall(folder / "unpacked", filter="data")
        os.rename(folder / "unpacked" / "package", folder / "package")
    return folder / "package" / "dist"


def page_app(dist: Path, root: Callable[[], str]) -> Starlette:
    """The viewer's page, set up for one DICOMweb service."""

    async def answer(request: Request) -> Response:
        path = request.path_params["path"]
        if path == "app-config.js":
            settings = json.dumps(config_for(root()))
            return Response(f"window.config = {settings};", media_type="text/javascript")
        file = dist / path
        inside = file.resolve().is_relative_to(dist.resolve())
        return FileResponse(file if path and inside and file.is_file() else dist / "index.html")

    return Starlette(routes=[Route("/{path:path}", answer)])


def config_for(root: str) -> dict[str, object]:
    source = {
        "friendlyName": "pacsgrid",
        "name": "pacsgrid",
        "qidoRoot": root,
        "wadoRoot": root,
        "wadoUriRoot": root,
        "qidoSupportsIncludeField": True,
        "imageRendering": "wadors",
        "thumbnailRendering": "wadors",
        "enableStudyLazyLoad": True,
        "supportsFuzzyMatching": False,
        "supportsWildcard": True,
    }
    return {
        "routerBasename": "/",
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
