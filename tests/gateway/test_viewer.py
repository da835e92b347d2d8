"""The OHIF viewer, in a headless Chromium, shows a study that the gateway serves."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Page, expect, sync_playwright
from pydicom import dcmread
from pydicom.data import get_testdata_file

from pacsgrid.embedded.ports import reserve_port
from pacsgrid.gateway import Gateway
from pacsgrid.gateway.service import application
from pacsgrid.grid.sharing import share
from pacsgrid.model import StudyQuery
from pacsgrid.pipeline import STEPS, ProjectContext, find_studies, run_step
from pacsgrid.pipeline.cohorts import Cohort, select_cohort
from pacsgrid.pipeline.grants import approve_grant
from pacsgrid.pipeline.release import release_cohort
from support.axe import faults
from support.browser import shot
from support.ohif import DRAWN, PATIENCE, drawing_browser, installed_viewer
from support.oidc_provider import CLIENT, SECRET, OidcProvider
from support.served_zones import PROJECT, Listening, ServedZones, copy_of
from support.zones_under_test import bare_stack

pytestmark = pytest.mark.ui

# Of one study for the test: uncompressed, JPEG 2000, RLE, lossless JPEG.
FILES = ("CT_small.dcm", "693_J2KI.dcm", "MR_small_RLE.dcm", "JPEG-LL.dcm")
STUDY = "1.2.840.78"


@pytest.fixture(scope="module")
def viewer() -> Path:
    """The directory of the viewer's files, fetched once into var/."""
    return installed_viewer()


@dataclass
class Clock:
    """The time that the gateway is told."""

    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.at


@dataclass
class Asked:
    """A browser on a gateway whose clock can be moved, and the site's project."""

    page: Page
    context: ProjectContext
    clock: Clock
    oidc: OidcProvider


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
    with ServedZones(folder) as zones, sync_playwright() as driver, ExitStack() as stack:
        zones.add(paths)
        share(zones.home, PROJECT, ["eva#brno"])
        with (
            Gateway(zones.site(viewer=str(viewer))) as gateway,
            Listening(application(gateway)) as server,
        ):
            gateway.refresh()
            opened = stack.enter_context(drawing_browser(driver))
            page = opened.new_page(viewport={"width": 1360, "height": 850}, base_url=server.url)
            page.set_default_timeout(PATIENCE)
            failed: list[str] = []
            page.on(
                "response",
                lambda r: failed.append(f"{r.status} {r.url}") if r.status >= 400 else None,
            )
            page.on("pageerror", lambda error: print("page:", error))
            yield page, failed


@pytest.fixture
def asked(viewer: Path, tmp_path: Path) -> Iterator[Asked]:
    """A site with a release of a CT study, its provider, its gateway, and a browser."""
    with (
        bare_stack(tmp_path / "stack") as stack,
        OidcProvider() as oidc,
        sync_playwright() as driver,
    ):
        (tmp_path / "secret").write_text(SECRET)
        port = reserve_port()
        copy_of(str(get_testdata_file("CT_small.dcm")), stack.drop / "1.dcm")
        with ProjectContext(stack.site, "demo") as context:
            refs = find_studies(context, "drop", StudyQuery())
            for name in STEPS:
                refs = run_step(context, name, refs).refs
            context.home.session.users.create("eva", "rodsuser")
            release_cohort(context, "heads", select_cohort(context, Cohort(("Modality = CT",))))
            file = stack.dir / "site.yaml"
            site = yaml.safe_load(file.read_text())
            token = hashlib.sha256(b"token of eva").hexdigest()
            site["gateway"] |= {
                "serve": [{"zone": "brno"}],
                "viewer": str(viewer),
                "tokens": [{"name": "eva", "user": "eva#brno", "sha256": token}],
                "public_url": f"http://127.0.0.1:{port}/dicom-web",
            }
            site["login"] = {
                "issuer": oidc.issuer,
                "client_id": CLIENT,
                "client_secret_file": str(tmp_path / "secret"),
                "user_claim": "preferred_username",
                "user_zone": "brno",
                "groups": [{"group": "readers", "role": "researcher", "project": "demo"}],
            }
            file.write_text(yaml.safe_dump(site))
            clock = Clock()
            with (
                Gateway(stack.site, clock) as gateway,
                Listening(application(gateway), port=port) as server,
                drawing_browser(driver) as opened,
            ):
                gateway.refresh()
                page = opened.new_page(base_url=server.url)
                page.set_default_timeout(PATIENCE)
                yield Asked(page, context, clock, oidc)


def test_a_researcher_asks_and_looks_until_the_clock_says_it_is_over(asked: Asked) -> None:
    page, clock = asked.page, asked.clock
    page.goto("/researcher/#token=token%20of%20eva")
    offered = page.locator("#offered [data-release='demo/heads/v1']")
    expect(offered).to_contain_text("fewer than 5")
    assert page.url.endswith("/researcher/")  # the token is in no history
    offered.get_by_text("Ask for it").click()
    offered.locator("textarea").fill("a study of nodules, vote 7/2026")
    shot(page, "researcher-asks")
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        assert faults(page) == []
    offered.get_by_role("button", name="Ask").click()
    expect(page.locator("#grants")).to_contain_text("requested")
    (grant,) = asked.context.ledger.grants.of_projects(["demo"])
    until = clock() + timedelta(days=7)
    assert approve_grant(asked.context, grant, until, "anna", "", clock())
    page.reload()
    readable = page.locator("#readable [data-release='demo/heads/v1']")
    readable.get_by_text("Fetch it").click()
    expect(readable).to_contain_text("pacsgrid fetch /brno/home/demo/releases/heads/v1 heads-v1")
    readable.get_by_text("Open in the viewer").click()
    shot(page, "researcher-reads")
    address = readable.locator(".studies a").first.get_attribute("href") or ""
    page.goto(address)
    page.wait_for_selector("canvas.cornerstone-canvas")
    page.wait_for_function(f"() => ({DRAWN})() > 0.05")

    clock.at = until + timedelta(seconds=1)
    page.goto("/researcher/")
    expect(page.locator("#grants")).to_contain_text("ended")
    expect(page.locator("#readable")).to_contain_text("None yet")
    page.goto(address)
    expect(page.get_by_text("not available at this time")).to_be_visible(timeout=PATIENCE)
    assert page.locator("canvas.cornerstone-canvas").count() == 0
    study = address.rpartition("=")[2]
    found = page.evaluate(
        "u => fetch(u).then(a => a.status)", f"/dicom-web/studies/{study}/metadata"
    )
    assert found == 404
    assert page.evaluate("() => fetch('/dicom-web/studies').then(a => a.json())") == []


def test_a_person_of_the_provider_logs_in_and_sees_the_study(asked: Asked) -> None:
    page, study = asked.page, _study(asked.context)
    asked.oidc.add("eva", "readers")
    asked.oidc.add("jan", "elsewhere")
    address = f"/viewer/viewer?StudyInstanceUIDs={study}"
    page.goto(address)
    shot(page, "login-offered")
    page.locator("#login").click()
    page.locator("#as-jan").click()
    expect(page.get_by_text("none of the groups")).to_be_visible()
    page.goto(address)
    page.locator("#login").click()
    page.locator("#as-eva").click()
    page.wait_for_url("**/viewer/viewer?*")
    page.wait_for_selector("canvas.cornerstone-canvas")
    page.wait_for_function(f"() => ({DRAWN})() > 0.05")
    shot(page, "login-viewer")
    cookies = {one["name"]: one for one in page.context.cookies()}
    assert cookies["pacsgrid_login"]["httpOnly"] and "pacsgrid_token" not in cookies
    page.goto("/researcher/")
    expect(page.locator("#who")).to_contain_text("eva#brno")
    expect(page.locator("#readable")).to_contain_text("demo/heads/v1")
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator("#login")).to_be_visible()
    assert page.evaluate("() => fetch('/dicom-web/studies').then(a => a.status)") == 401


def _study(context: ProjectContext) -> str:
    refs = context.ledger.releases.study_refs("demo", "heads", 1)
    ((_, _, study),) = context.ledger.studies.pseudonyms(refs)
    return str(study)


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
