"""A real headless Chromium, logged in to Airflow as one of the stack's users."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from pacsgrid.embedded.stack import Stack

CHROMIUM = shutil.which("chromium")
# Where the screenshots of the documentation go when they are made anew.
SHOTS = os.environ.get("PACSGRID_SCREENSHOTS", "")


_PATIENCE = 60_000  # milliseconds: a page of a busy machine takes its time
expect.set_options(timeout=_PATIENCE)


@contextmanager
def chromium(stack: Stack, user: str) -> Iterator[Page]:
    """Yield a page that is logged in; every request that goes elsewhere is an error."""
    with sync_playwright() as driver:
        # Chromium's own sandbox needs rights that a container often lacks; it sees our pages only.
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            page = browser.new_page(viewport={"width": 1360, "height": 850}, base_url=stack.url)
            page.set_default_timeout(_PATIENCE)
            page.goto("/")
            page.locator("input[name=username]").fill(user)
            page.locator("input[name=password]").fill(stack.password(user))
            page.keyboard.press("Enter")
            page.wait_for_url(lambda url: "login" not in url)
            yield page
        finally:
            browser.close()


def shot(page: Page, name: str) -> None:
    """Take a screenshot for the documentation, when it is being made: a small PNG."""
    if not SHOTS:
        return
    page.wait_for_load_state("networkidle")
    expect(page.get_by_text("Loading…")).to_have_count(0)
    taken = Image.open(BytesIO(page.screenshot()))
    small = taken.convert("RGB").quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    path = Path(SHOTS) / f"{name}.png"
    small.save(path, optimize=True)
    assert path.stat().st_size < 200_000, f"{path} has {path.stat().st_size} bytes"
