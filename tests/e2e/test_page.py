"""The pacsgrid page in Airflow's UI, in a real browser and over its API."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
import requests
from playwright.sync_api import expect

from pacsgrid.embedded.stack import Stack
from pacsgrid.ledger import Ledger, Overview
from pacsgrid.pipeline import ProjectContext
from pacsgrid.pipeline.grants import request_grant
from pacsgrid.pipeline.release import release_cohort
from support.browser import CHROMIUM, chromium, shot

pytestmark = pytest.mark.e2e


def _get(stack: Stack, user: str, path: str) -> requests.Response:
    bearer = {"Authorization": f"Bearer {stack.token(user)}"} if user else {}
    return requests.get(f"{stack.url}/pacsgrid/api/{path}", headers=bearer, timeout=120)


def test_nothing_is_told_to_who_is_not_logged_in(filled: Stack, held: str) -> None:
    for path in (
        "me",
        "flow",
        "held",
        "replicas",
        "studies",
        "results",
        f"studies/{held}/pictures/0",
    ):
        assert _get(filled, "", path).status_code == 401
        wrong = requests.get(
            f"{filled.url}/pacsgrid/api/{path}",
            headers={"Authorization": "Bearer wrong"},
            timeout=120,
        )
        assert wrong.status_code in (401, 403)


def test_held_images_are_for_those_who_review_and_each_look_is_entered(
    filled: Stack, held: str
) -> None:
    before = _get(filled, "steward", f"studies/{held}").json()
    assert before["pictures"] == 2 and before["story"]["accesses"] == []
    shown = _get(filled, "steward", f"studies/{held}/pictures/0")
    assert shown.content.startswith(b"\x89PNG") and shown.headers["Cache-Control"] == "no-store"
    assert _get(filled, "steward", f"studies/{held}/pictures/2").status_code == 404
    after = _get(filled, "steward", f"studies/{held}/pictures/1/after?profile=strict")
    assert after.content.startswith(b"\x89PNG") and after.headers["Cache-Control"] == "no-store"
    assert _get(filled, "steward", f"studies/{held}/pictures/1/after?profile=x").status_code == 422
    assert not list(filled.site.staging.glob(".preview-*"))
    story = _get(filled, "steward", f"studies/{held}").json()["story"]
    assert [(row["who"], row["what"]) for row in story["accesses"]] == [
        ("steward", "held picture 0"),
        ("steward", "picture after anonymising 1"),
        ("steward", "picture after anonymising 1"),
    ]
    assert _get(filled, "guest", f"studies/{held}").json()["pictures"] == 0
    for path in ("pictures/0", "pictures/0/after"):
        assert _get(filled, "guest", f"studies/{held}/{path}").status_code == 403


def test_no_answer_names_a_patient(filled: Stack, held: str) -> None:
    answers = [
        _get(filled, "steward", path).text
        for path in (
            "flow",
            "held",
            "replicas",
            "studies",
            "releases",
            "withdrawals",
            "results",
            f"studies/{held}",
        )
    ]
    for word in ("Zrzav", "Kvido", "756203", "somebody", "1.2.826.77", "ACC-77123"):
        assert not any(word in answer for answer in answers)
    assert _get(filled, "steward", "flow?project=none").status_code == 404
    assert _get(filled, "steward", "studies/../../x").status_code in (404, 422)
    assert _get(filled, "steward", "flow?hours=-1").status_code == 422


@pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed")
def test_a_steward_sees_the_flow_the_held_and_the_proofs(filled: Stack, held: str) -> None:
    with ProjectContext(filled.site, "demo") as context:
        counts = context.ledger.studies.count_by_state("demo")
    overview = Overview(filled.site.ledger_dsn, ["demo"])
    verified = sum(row.studies for row in overview.throughput(48))
    files = overview.held_counts().files
    with chromium(filled, "steward") as page:
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.get_by_test_id("nav-sidebar").get_by_role("link", name="pacsgrid", exact=True).click()
        expect(page.locator("[data-state=verified]")).to_have_text(str(counts["verified"]))
        expect(page.locator("[data-state=held]")).to_have_text(str(counts["held"]))
        reason = page.locator("[data-reason=patient-mismatch] .pg-number")
        expect(reason.first).to_have_text("1")  # whole studies
        expect(page.locator("[data-state=held-files]")).to_have_text(str(files))
        expect(page.locator("figcaption")).to_contain_text("verified, per hour")
        # The plot's bars add up to what the ledger has.
        bars = page.locator(".pg-plot rect title")
        told = [
            re.match(r"(\d+) instances?, (\d+) stud", text) for text in bars.all_text_contents()
        ]
        assert sum(int(one[2]) for one in told if one) == verified > 0
        shot(page, "flow")
        page.get_by_role("link", name="Replicas").click()
        for zone in ("brno", "praha"):
            card = page.locator(f"[data-zone={zone}]")
            expect(card).to_contain_text("all proven")
            expect(card.locator("tbody td").last).to_have_text(re.compile(r"^\d+ (s|min|h)$"))
        shot(page, "replicas")
        page.get_by_role("link", name="Studies", exact=True).click()
        page.get_by_role("button", name="Size").click()
        expect(page.locator("th[aria-sort=descending]")).to_contain_text("Size")
        page.get_by_label("State").select_option("held")
        expect(page.get_by_role("row").filter(has_text=held[:14])).to_be_visible()
        page.get_by_label("Reference begins with").fill(held[:10])
        page.get_by_role("button", name="Find").click()
        expect(page.get_by_role("row").filter(has_text=held[:14])).to_be_visible()
        page.get_by_role("button", name="Show all studies").click()
        page.get_by_label("State").select_option("")
        expect(page.get_by_role("heading", name="Studies", exact=True)).to_be_visible()
        shot(page, "studies")
        page.get_by_role("link", name="Held", exact=True).click()
        expect(page.get_by_role("row").filter(has_text=held[:14])).to_contain_text(
            "patient-mismatch"
        )
        assert page.locator(".pacsgrid img").count() == 0
        page.get_by_role("button", name="Show thumbnails").click()
        expect(page.locator("img[alt='After anonymising 1']").first).to_be_visible()
        shot(page, "held")
        page.get_by_role("link", name=held[:14]).click()
        expect(page.get_by_text("found → retrieved")).to_be_visible()
        assert page.locator("img[alt='Held image 1']").count() == 0
        page.get_by_role("button", name="Show 2 held images").click()
        for image in ("Held image 1", "After anonymising 1"):
            expect(page.locator(f"img[alt='{image}']")).to_be_visible()
        page.wait_for_function(
            "[...document.querySelectorAll('.pg-pictures img')].every(i => i.naturalWidth === 128)"
        )
        expect(page.locator(".pg-story .pg-event-seen").first).to_contain_text("by steward")
        shot(page, "study")
        assert errors == []


@pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed")
def test_a_steward_sees_what_was_released(filled: Stack) -> None:
    with ProjectContext(filled.site, "demo") as context:
        ref = context.pseudonyms.reference("drop", "1.2.826.77.1")
        members = {ref: context.ledger.instances.of_study(ref)}
        release_cohort(context, "seen", members)
    with chromium(filled, "steward") as page:
        page.goto("/plugin/pacsgrid#releases")
        row = page.locator("[data-release='seen/v1']")
        expect(row).to_contain_text("can be fetched")
        expect(row.locator(".pg-number").nth(2)).to_have_text("1")
        expect(page.get_by_role("heading", name="Withdrawals")).to_be_visible()
        shot(page, "releases")


@pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed")
def test_a_steward_grants_a_researcher_access_and_ends_it(filled: Stack) -> None:
    with ProjectContext(filled.site, "demo") as context:
        ref = context.pseudonyms.reference("drop", "1.2.826.77.1")
        release_cohort(context, "asked", {ref: context.ledger.instances.of_study(ref)})
        context.home.session.users.create("eva", "rodsuser")
        until = datetime.now(UTC) + timedelta(days=7)
        name = request_grant(context, "asked", 1, "eva#brno", "a study of nodules", until)
    with chromium(filled, "guest") as page:
        page.goto("/plugin/pacsgrid#grants")
        expect(page.locator(f"[data-grant='{name}']")).to_contain_text("a study of nodules")
        assert page.get_by_role("button", name="Grant").count() == 0
    with chromium(filled, "steward") as page:
        page.goto("/plugin/pacsgrid#grants")
        row = page.locator(f"[data-grant='{name}']")
        row.locator("input[name=reason]").fill("fits the vote")
        shot(page, "grants")
        row.get_by_role("button", name="Grant").click()
        expect(page.locator(f"[data-grant='{name}'][data-state=granted]")).to_be_visible()
        row.get_by_role("button", name="End now").click()
        expect(page.locator(f"[data-grant='{name}'][data-state=ended]")).to_be_visible()
    grant = Ledger(filled.site.ledger_dsn).grants.get(name)
    assert grant is not None and grant.rights == "none"


@pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed")
def test_a_steward_names_the_patient_to_withdraw_and_no_run_knows_it(filled: Stack) -> None:
    with chromium(filled, "steward") as page:
        page.goto("/plugin/pacsgrid#releases")
        page.get_by_text("Withdraw a patient").click()
        page.locator("input[name=identifier]").fill("no such patient")
        page.get_by_role("button", name="Count and ask for approval").click()
        run = page.get_by_role("status").get_by_role("link").inner_text()
    # No study is under that ID, so the run ends before it asks for approval.
    assert filled.watch(run, dag="withdraw_patient") == "failed"
    told = filled.api("GET", f"/dags/withdraw_patient/dagRuns/{run}").text
    assert "sel-" in told and "no such patient" not in told


@pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed")
def test_a_guest_sees_the_page_without_held_images(filled: Stack, held: str) -> None:
    with chromium(filled, "guest") as page:
        page.goto(f"/plugin/pacsgrid#study/{held}")
        expect(page.get_by_text("found → retrieved")).to_be_visible()
        assert page.get_by_role("button", name="Show").count() == 0


@pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed")
def test_a_steward_names_an_accession_and_no_run_knows_it(filled: Stack) -> None:
    with chromium(filled, "steward") as page:
        page.goto("/plugin/pacsgrid#ingest")
        page.get_by_label("Source").select_option("drop")
        page.get_by_label("Study date from").fill("2024-02-01")
        page.get_by_label("Study date to").fill("2024-01-01")
        page.get_by_role("button", name="Start").click()
        expect(page.get_by_role("alert")).to_contain_text("swap them")
        page.get_by_label("Study date to").fill("")
        page.get_by_label("Study date from").fill("")
        page.get_by_label("Patient IDs").fill("7562*")
        page.get_by_role("button", name="Start").click()
        expect(page.get_by_role("alert")).to_contain_text("patient_ids, entry 1")
        page.get_by_label("Patient IDs").fill("")
        page.get_by_label("Accession numbers").fill("ACC-77123")
        page.get_by_label("Modalities").fill("ct scans")
        page.get_by_label("Dry run").check()
        page.get_by_role("button", name="Start").click()
        expect(page.get_by_role("alert")).to_contain_text("no modality code")
        page.get_by_label("Modalities").fill("ct")
        shot(page, "ingest")
        page.get_by_role("button", name="Start").click()
        run = page.get_by_role("status").get_by_role("link").inner_text()
    assert filled.watch(run) == "success"
    conf = filled.api("GET", f"/dags/ingest_studies/dagRuns/{run}").json()["conf"]
    assert conf["selection"].startswith("sel-") and "ACC-77123" not in str(conf)
    log = filled.api(
        "GET", f"/dags/ingest_studies/dagRuns/{run}/taskInstances/find/logs/1?full_content=true"
    ).text
    outlook = re.search(r"dry run, nothing is taken: {'studies': (\d+), 'new': 0", log)
    assert outlook and int(outlook[1]) >= 2  # others may have dropped more by now


def test_a_guest_may_not_name_patients(filled: Stack) -> None:
    body = {"project": "demo", "patient_ids": ["1"]}
    for user, status in (("guest", 403), ("steward", 200)):
        answer = requests.post(
            f"{filled.url}/pacsgrid/api/selections",
            json=body,
            headers={"Authorization": f"Bearer {filled.token(user)}"},
            timeout=120,
        )
        assert answer.status_code == status
