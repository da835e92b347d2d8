"""A real headless Chromium, logged in to Airflow as one of the stack's users."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Page, sync_playwright

from pacsgrid.embedded.stack import Stack

CHROMIUM = shutil.which("chromium")


@contextmanager
def chromium(stack: Stack, user: str) -> Iterator[Page]:
    """Yield a page that is logged in; every request that goes elsewhere is an error."""
    with sync_playwright() as driver:
        # Chromium's own sandbox needs rights that a container often lacks; it sees our pages only.
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            page = browser.new_page(viewport={"width": 1360, "height": 850}, base_url=stack.url)
            page.set_default_timeout(60_000)
            page.goto("/")
            page.locator("input[name=username]").fill(user)
            page.locator("input[name=password]").fill(stack.password(user))
            page.keyboard.press("Enter")
            page.wait_for_url(lambda url: "login" not in url)
            yield page
        finally:
            browser.close()
