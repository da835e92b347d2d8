"""The OHIF viewer, in a headless Chromium, shows a study that the gateway serves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright
from pydicom import dcmread
from pydicom.data import get_testdata_file

from pacsgrid.embedded.viewer import install_viewer
from pacsgrid.gateway import Gateway
from pacsgrid.gateway.service import application
from pacsgrid.grid.sharing import share
from support.browser import CHROMIUM, shot
from support.served_zones import PROJECT, Listening, ServedZones, copy_of

pytestmark = pytest.mark.ui

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
    return install_viewer(VAR / "viewer")


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
        with (
            Gateway(zones.site(viewer=str(viewer))) as gateway,
            Listening(application(gateway)) as server,
        ):
            gateway.refresh()
            browser = driver.chromium.launch(
                executable_path=CHROMIUM,
                # Cornerstone draws by WebGL, which has no hardware here.
                args=["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
            )
            page = browser.new_page(viewport={"width": 1360, "height": 850}, base_url=server.url)
            page.set_default_timeout(PATIENCE)
            failed: list[str] = []
            page.on(
                "response",
                lambda r: failed.append(f"{r.status} {r.url}") if r.status >= 400 else None,
            )
            page.on("pageerror", lambda error: print("page:", error))
            yield page, failed
            browser.close()


def test_each_series_is_drawn_for_who_is_signed_in(
    shown_page: tuple[Page, list[str]],
) -> None:
    page, failed = shown_page
    address = f"/viewer/viewer?StudyInstanceUIDs={STUDY}"
    page.goto(address)
    page.locator("input[name=token]").fill("evaeva")
    failed.clear()  # that nobody was signed in yet
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/viewer/viewer?*")
    for number in range(1, len(FILES) + 1):
        page.goto(f"{address}&SeriesInstanceUIDs={STUDY}.{number}")
        page.wait_for_selector("canvas.cornerstone-canvas")
        page.wait_for_function(f"() => ({DRAWN})() > 0.05")
        shot(page, f"viewer{number}")
    page.get_by_text("One of each").first.wait_for()
    assert not failed, failed
