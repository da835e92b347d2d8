"""Every tab of the page, light and dark, has no serious fault that axe finds. `make test-ui`."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect
from pydicom.uid import CTImageStorage

from pacsgrid.embedded.stack import STEWARD, Stack
from pacsgrid.ledger import Ledger
from pacsgrid.pipeline import ProjectContext
from pacsgrid.pipeline.release import release_cohort
from pacsgrid.pipeline.results import CheckedObject, deposit_result, keep_object
from support.axe import faults
from support.browser import CHROMIUM, chromium, shot
from support.dicom import ct

pytestmark = [
    pytest.mark.ui,
    pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed"),
]

TABS = {
    "flow": "Throughput",
    "review": "Reason",
    "held": "Held:",
    "replicas": "Project demo",
    "studies": "Reference begins with",
    "cohorts": "Manufacturer (series)",
    "releases": "Withdrawals",
    "results": "Results that researchers sent back",
    "grants": "Researchers' access to releases",
    "ingest": "Source",
}


@pytest.fixture(scope="module")
def result(filled: Stack, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A release, and a derived image that came back, deposited and proven."""
    with ProjectContext(filled.site, "demo") as context:
        ref = context.pseudonyms.reference("drop", "1.2.826.77.1")
        release_cohort(context, "looked-at", {ref: context.ledger.instances.of_study(ref)})
        row = context.ledger.instances.of_study(ref)[0]
        file = tmp_path_factory.mktemp("result") / "result.dcm"
        sent = CheckedObject(
            ct(file, row.study_uid, "2.25.77", patient="", patient_id="S"),
            row.study_uid, "2.25.78", "2.25.77", str(CTImageStorage), row.subject, "CT",
            "Grid Lab nodule-net 2.1",
        )  # fmt: skip
        made = keep_object(context, "nodules", "eva#brno", sent)
        assert deposit_result(context, made)
    return made


def _use(page: Page, theme: str) -> None:
    """Choose Airflow's light or dark theme, as its own switch keeps it."""
    page.evaluate(f"localStorage.setItem('theme', '{theme}')")
    page.emulate_media(color_scheme=theme)
    page.goto("/plugin/pacsgrid")
    page.reload()
    expect(page.locator("html")).to_have_class(theme)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_tab_has_a_serious_fault(filled: Stack, held: str, result: str, theme: str) -> None:
    found: dict[str, list[str]] = {}
    with chromium(filled, STEWARD) as page:
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        _use(page, theme)
        views = TABS | {f"study/{held}": "Story", "studies/withdrawn": "No study is here"}
        for hash, text in views.items():
            page.evaluate(f"location.hash = '{hash}'")
            expect(
                page.locator(".pacsgrid").get_by_text(text).locator("visible=true").first
            ).to_be_visible()
            page.wait_for_load_state("networkidle")
            found[hash] = faults(page, ".pacsgrid")
            if theme == "dark" and hash in ("flow", "studies"):
                shot(page, f"{hash}-dark")
        assert errors == []
    assert not any(found.values()), "\n".join(
        f"{tab}: {one}" for tab, ones in found.items() for one in ones
    )


def test_a_steward_decides_about_a_result(filled: Stack, result: str) -> None:
    with chromium(filled, STEWARD) as page:
        page.goto("/plugin/pacsgrid#results/waiting")
        row = page.locator(f"[data-result='{result}']")
        expect(row).to_contain_text("CT Image")
        expect(row).to_contain_text("eva#brno")
        shot(page, "results")
        row.get_by_label("Reason").fill("read by a radiologist")
        row.get_by_role("button", name="Release").click()
        expect(page.get_by_text("No result is here with this filter")).to_be_visible()
        page.get_by_label("Show").select_option("released")
        expect(row).to_contain_text("read by a radiologist, by steward")
        row.get_by_label("Reason").fill("the wrong side")
        row.get_by_role("button", name="Refuse").click()
        expect(page.get_by_text("No result is here with this filter")).to_be_visible()
    record = Ledger(filled.site.ledger_dsn).results.get(result)
    assert record is not None and not record.released
