"""The cohort builder in Airflow's UI, in a real browser and over its API."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from playwright.sync_api import expect

from pacsgrid.cohort_query import parse
from pacsgrid.embedded.stack import Stack
from pacsgrid.ledger.cohort_index import Selection
from pacsgrid.pipeline import ProjectContext
from support.browser import CHROMIUM, chromium, shot
from support.human_input import answer, question

pytestmark = pytest.mark.e2e

CT = "Modality = CT"


def _post(stack: Stack, user: str, path: str, body: dict[str, Any]) -> requests.Response:
    return requests.post(
        f"{stack.url}/pacsgrid/api/cohorts/{path}",
        json=body,
        headers={"Authorization": f"Bearer {stack.token(user)}"},
        timeout=120,
    )


def test_a_guest_counts_and_sees_neither_series_nor_images(filled: Stack) -> None:
    assert _post(filled, "guest", "demo/count", {"criteria": [CT]}).json()["studies"] > 0
    assert _post(filled, "guest", "demo/series", {"criteria": [CT]}).status_code == 403
    assert _post(filled, "guest", "demo/saved", {"name": "x", "criteria": [CT]}).status_code == 403
    assert _post(filled, "steward", "other/count", {"criteria": [CT]}).status_code == 404
    wrong = _post(filled, "steward", "demo/count", {"criteria": ["Modality = (CT"]})
    assert wrong.status_code == 422 and "character 12" in wrong.json()["detail"]


@pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed")
def test_a_steward_builds_saves_and_releases_a_cohort(filled: Stack) -> None:
    with ProjectContext(filled.site, "demo") as context:
        counts = context.ledger.cohorts.count(Selection("demo", parse(CT)))
        siemens = f"{CT} and Manufacturer = SIEMENS"
        some = context.ledger.cohorts.count(Selection("demo", parse(siemens)))
    assert counts.studies > 0
    with chromium(filled, "steward") as page:
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto("/plugin/pacsgrid#cohorts")
        page.get_by_label("Attribute").select_option("Modality")
        page.get_by_role("textbox", name="Value").fill("CT")
        page.get_by_role("button", name="Add condition").click()
        expect(page.get_by_role("textbox", name="Query")).to_have_value(CT)
        studies = page.locator("[data-count=studies] strong")
        expect(studies).to_have_text(str(counts.studies))
        # A bar is a condition, too.
        bar = page.locator("[data-plot=manufacturer] [role=button]").first
        expect(bar).to_have_attribute("aria-label", f"SIEMENS {some.series} series")
        bar.click()
        expect(page.get_by_role("textbox", name="Query")).to_have_value(siemens)
        expect(studies).to_have_text(str(some.studies))
        rows = page.locator("[data-series]")
        expect(rows).to_have_count(some.series)
        page.wait_for_function(
            "[...document.querySelectorAll('img.pg-thumb')].some(i => i.naturalWidth > 0)"
        )
        shot(page, "cohorts")
        page.get_by_role("textbox", name="Query").fill("Modalit = CT")
        expect(page.get_by_role("alert")).to_contain_text("did you mean Modality?")
        page.get_by_role("textbox", name="Query").fill(CT)
        expect(rows).to_have_count(counts.series)
        left_out = rows.first.get_attribute("data-series")
        rows.first.get_by_role("checkbox").click()
        expect(page.locator("[data-count=series] strong")).to_have_text(str(counts.series - 1))
        page.get_by_role("textbox", name="Name").fill("heads")
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.get_by_text("Saved as heads.")).to_be_visible()
        rows.first.get_by_role("checkbox").click()
        expect(page.locator("[data-count=series] strong")).to_have_text(str(counts.series))
        page.get_by_role("button", name="Release", exact=True).click()
        run = page.locator(".pg-done").get_by_role("link").inner_text()
        assert errors == []
    with ProjectContext(filled.site, "demo") as context:
        (saved,) = context.ledger.saved_cohorts.of_project("demo")
        assert (saved.name, saved.criteria, saved.excluded) == ("heads", (CT,), (left_out,))
        assert saved.who == "steward"
    asked = question(filled, "release_cohort", run)
    assert f"{counts.studies} studies" in asked["body"]
    assert answer(filled, asked, chosen_options=["Approve"]).status_code == 200
    assert filled.watch(run, dag="release_cohort") == "success"
