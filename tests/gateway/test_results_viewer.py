"""OHIF, in a headless Chromium, shows a segmentation that came back over its images."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from dicomweb_client.api import DICOMwebClient
from playwright.sync_api import sync_playwright

from pacsgrid.config import Token
from pacsgrid.gateway import Gateway
from pacsgrid.gateway.service import PREFIX, application
from pacsgrid.model import StudyQuery
from pacsgrid.pipeline import STEPS, ProjectContext, clear_work_folders, find_studies, run_step
from support import results
from support.browser import shot
from support.ohif import DRAWN, PATIENCE, drawing_browser, installed_viewer
from support.served_zones import Listening
from support.zones_under_test import bare_stack

pytestmark = pytest.mark.ui

# The share of pixels of any canvas that are not grey: images are, a segment over them is not.
COLOURED = """() => {
  let most = 0;
  for (const canvas of document.querySelectorAll('canvas.cornerstone-canvas')) {
    if (!canvas.width || !canvas.height) continue;
    const copy = document.createElement('canvas');
    copy.width = canvas.width; copy.height = canvas.height;
    const context = copy.getContext('2d');
    context.drawImage(canvas, 0, 0);
    const data = context.getImageData(0, 0, copy.width, copy.height).data;
    let coloured = 0;
    for (let i = 0; i < data.length; i += 4) {
      if (Math.abs(data[i] - data[i + 1]) + Math.abs(data[i + 1] - data[i + 2]) > 40) coloured++;
    }
    most = Math.max(most, coloured / (data.length / 4));
  }
  return most;
}"""


def test_a_segmentation_is_shown_over_its_images(tmp_path: Path) -> None:
    with bare_stack(tmp_path / "stack") as stack, sync_playwright() as driver:
        results.volume(stack.drop, "1.2.826.0.80", 5)
        with ProjectContext(stack.site, "demo") as context:
            refs = find_studies(context, "drop", StudyQuery())
            for name in STEPS:
                refs = run_step(context, name, refs).refs
            clear_work_folders(context, refs)
        assert stack.site.gateway is not None
        token = Token(
            name="lab", user="rods#brno", sha256=sha256(b"lab").hexdigest(), results="nodules"
        )
        settings = stack.site.gateway.model_copy(
            update={"tokens": (token,), "access_seconds": 0.001, "viewer": installed_viewer()}
        )
        with (
            Gateway(replace(stack.site, gateway=settings)) as gateway,
            Listening(application(gateway)) as server,
            drawing_browser(driver) as browser,
        ):
            gateway.refresh()
            client = DICOMwebClient(server.url + PREFIX, headers={"Authorization": "Bearer lab"})
            (found,) = client.search_for_studies()
            study = found["0020000D"]["Value"][0]
            images = client.retrieve_study(study)
            images.sort(key=lambda ds: int(ds.InstanceNumber))
            client.store_instances([results.segmentation(images)])
            gateway.results.wait()
            gateway.refresh()
            page = browser.new_page(viewport={"width": 1360, "height": 850}, base_url=server.url)
            page.set_default_timeout(PATIENCE)
            page.goto(f"/viewer/viewer?StudyInstanceUIDs={study}&token=lab")
            page.wait_for_selector("canvas.cornerstone-canvas")
            page.wait_for_function(f"() => ({DRAWN})() > 0.05")
            assert page.evaluate(COLOURED) < 0.01
            # The viewer's tour for newcomers lies over everything.
            page.get_by_text("SEG", exact=True).first.dispatch_event("dblclick")
            page.wait_for_function(f"() => ({COLOURED})() > 0.01")
            shot(page, "viewer-segmentation")
