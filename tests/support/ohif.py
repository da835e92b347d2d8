"""The OHIF viewer for tests: its files, and a headless Chromium that draws its images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Playwright

from pacsgrid.embedded.viewer import install_viewer
from support.browser import CHROMIUM

VAR = Path(__file__).resolve().parents[2] / "var"
PATIENCE = 240_000  # milliseconds: software rendering on a busy machine takes its time
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


def installed_viewer() -> Path:
    """The directory of the viewer's files, fetched once into var/."""
    return install_viewer(VAR / "viewer")


@contextmanager
def drawing_browser(driver: Playwright) -> Iterator[Browser]:
    """A headless Chromium that draws by WebGL, for which there is no hardware here."""
    opened = driver.chromium.launch(
        executable_path=CHROMIUM,
        args=["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
    )
    try:
        yield opened
    finally:
        opened.close()
