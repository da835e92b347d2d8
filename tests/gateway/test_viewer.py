"""The OHIF viewer, in a headless Chromium, shows a study that the gateway serves."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright
from pydicom import dcmread
from pydicom.data import get_testdata_file
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from pacsgrid.gateway import Gateway
from pacsgrid.gateway.service import PREFIX, application
from pacsgrid.grid.sharing import share
from support.browser import CHROMIUM, shot
from support.served_zones import PROJECT, Listening, ServedZones, copy_of

pytestmark = pytest.mark.ui

VIEWER = "@ohif/app@3.13.2"
VAR = Path(__file__).resolve().parents[2] / "var"
PATIENCE = 240_000  # milliseconds: software rendering on a busy machine takes its time
# Of one study for the test: uncompressed, JPEG 2000, RLE, lossless JPEG.
FILES = ("CT_small.dcm", "693_J2KI.dcm", "MR_small_RLE.dcm", "JPEG-LL.dcm")
STUDY = "1.2.840.78"
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


@pytest.fixture(scope="module")
def viewer() -> Path:
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


@pytest.fixture(scope="module")
def shown_page(
    viewer: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Page, list[str]]]:
    folder = tmp_path_factory.mktemp("viewer")
    paths = []
    for number, name in enumerate(FILES, 1):
        path = copy_of(str(get_testdata_file(name)), folder / "in" / name)
        ds = dcmread(path)
        ds.StudyInstanceUID, ds.SeriesInstanceUID = STUDY, f"{STUDY}.{number}"
        ds.SeriesNumber, ds.PatientID, ds.PatientName = number, "S1", "Subject^One"
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{STUDY}.{number}.1"
        ds.StudyDate, ds.StudyDescription = "20240102", "One of each"
        ds.save_as(path)
        paths.append(path)
    with ServedZones(folder) as zones, sync_playwright() as driver:
        zones.add(paths)
        share(zones.home, PROJECT, ["eva#brno"])
        root = ""
        # The gateway needs the page's origin, and the page the gateway's URL.
        with (
            Listening(page_app(viewer, lambda: root)) as page_server,
            Gateway(zones.site(cors_origins=[page_server.url])) as gateway,
            Listening(application(gateway)) as server,
        ):
            gateway.refresh()
            root = server.url + PREFIX
            browser = driver.chromium.launch(
                executable_path=CHROMIUM,
                # Cornerstone draws by WebGL, which has no hardware here.
                args=["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
            )
            page = browser.new_page(
                viewport={"width": 1360, "height": 850}, base_url=page_server.url
            )
            page.set_default_timeout(PATIENCE)
            failed: list[str] = []
            page.on(
                "response",
                lambda r: failed.append(f"{r.status} {r.url}") if r.status >= 400 else None,
            )
            page.on("pageerror", lambda error: print("page:", error))
            yield page, failed
            browser.close()


def test_each_series_is_drawn(shown_page: tuple[Page, list[str]]) -> None:
    page, failed = shown_page
    for number in range(1, len(FILES) + 1):
        series = f"{STUDY}.{number}"
        page.goto(f"/viewer?StudyInstanceUIDs={STUDY}&SeriesInstanceUIDs={series}&token=evaeva")
        page.wait_for_selector("canvas.cornerstone-canvas")
        page.wait_for_function(f"() => ({DRAWN})() > 0.05")
        shot(page, f"viewer{number}")
    page.get_by_text("One of each").first.wait_for()
    assert not failed, failed
