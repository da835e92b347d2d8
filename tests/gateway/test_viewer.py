"""The OHIF viewer, in a headless Chromium, shows a study that the gateway serves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright
from pydicom import dcmread
from pydicom.data import get_testdata_file

from pacsgrid.gateway import Gateway
from pacsgrid.gateway.service import PREFIX, application
from pacsgrid.grid.sharing import share
from support.browser import CHROMIUM, shot
from support.ohif import DRAWN, fetched_viewer, page_app
from support.served_zones import PROJECT, Listening, ServedZones, copy_of

pytestmark = pytest.mark.ui

PATIENCE = 240_000  # milliseconds: software rendering on a busy machine takes its time
# Of one study for the test: uncompressed, JPEG 2000, RLE, lossless JPEG.
FILES = ("CT_small.dcm", "693_J2KI.dcm", "MR_small_RLE.dcm", "JPEG-LL.dcm")
STUDY = "1.2.840.78"


@pytest.fixture(scope="module")
def viewer() -> Path:
    return fetched_viewer()


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
