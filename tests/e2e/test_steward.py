"""A steward's day: review, release, withdrawal, then the doctor. `make test-ui` runs it."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect
from pydicom import dcmread

from pacsgrid.embedded.stack import GUEST, OPERATOR, STEWARD, Stack
from pacsgrid.ledger import InstanceRecord, Overview, ReleaseOverview
from pacsgrid.model import StudyState
from pacsgrid.pipeline import ProjectContext
from pacsgrid.pipeline.doctor import find_faults
from support.browser import CHROMIUM, chromium, shot
from support.human_input import answer, question
from support.ingested_studies import held_of, two_studies
from support.replica_proofs import proven_once

pytestmark = [
    pytest.mark.ui,
    pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed"),
]


def _good(stack: Stack) -> InstanceRecord:
    with ProjectContext(stack.site, "demo") as context:
        ref = context.pseudonyms.reference("drop", "1.2.826.77.1")
        return context.ledger.instances.of_study(ref)[0]


def test_a_steward_rejects_what_is_held_and_a_guest_cannot(filled: Stack, held: str) -> None:
    run = filled.trigger({"project": "demo", "only": held}, "review_held")
    asked = question(filled, "review_held", run)
    assert asked["subject"] == f"{held}: patient-mismatch"
    reject = {"chosen_options": ["Reject"], "params_input": {"profile": None, "reason": "mixed"}}
    assert answer(filled, asked, GUEST, **reject).status_code == 403
    with chromium(filled, STEWARD) as page:
        page.goto(f"/dags/review_held/runs/{run}/tasks/ask/mapped/0/required_actions")
        expect(page.get_by_text("different PatientIDs")).to_be_visible()
        for shown in ("as held", "after anonymising"):
            drawn = f"document.querySelector('img[alt=\"{shown}\"]')?.naturalWidth > 0"
            page.wait_for_function(drawn)
        shot(page, "review")
        page.get_by_role("button", name="Reject").click()
        expect(page.get_by_role("button", name="Reject")).to_be_disabled()
    assert filled.watch(run, dag="review_held") == "success"
    story = Overview(filled.site.ledger_dsn, ["demo"]).story(held)
    assert story is not None and story.held[0].code == "rejected"
    assert [(d.verdict, d.who) for d in story.decisions] == [("Reject", STEWARD)]


def test_a_steward_tries_again_with_another_profile(filled: Stack) -> None:
    root = "1.2.826.79"
    two_studies(filled, root)
    ref = held_of(filled, root)
    mended = filled.drop / f"{root}.3.dcm"
    ds = dcmread(mended)
    patient = dcmread(filled.drop / f"{root}.2.dcm")
    ds.PatientID, ds.PatientName = patient.PatientID, patient.PatientName
    ds.save_as(mended)
    run = filled.trigger({"project": "demo", "only": ref, "wait_hours": 1}, "review_held")
    asked = question(filled, "review_held", run)
    again = {"profile": "strict", "reason": "mended, and a face"}
    given = {"chosen_options": ["Try again"], "params_input": again}
    assert answer(filled, asked, **given).status_code == 200
    assert filled.watch(run, dag="review_held") == "success"
    with ProjectContext(filled.site, "demo", profile="strict") as context:
        assert context.ledger.studies.state(ref) is StudyState.VERIFIED and proven_once(
            context, ref
        )
        strict = context.profile.hash
    story = Overview(filled.site.ledger_dsn, ["demo"]).story(ref)
    assert story is not None and story.held == [] and story.study.profile_hash == strict
    assert [(d.verdict, d.profile, d.reason) for d in story.decisions] == [
        ("Try again", "strict", "mended, and a face")
    ]


def test_nothing_is_released_when_a_steward_rejects_it(filled: Stack) -> None:
    wanted = {"project": "demo", "name": "refused", "members": [_good(filled).study_uid]}
    run = filled.trigger(wanted, "release_cohort")
    asked = question(filled, "release_cohort", run)
    assert answer(filled, asked, chosen_options=["Reject"]).status_code == 200
    assert filled.watch(run, dag="release_cohort") == "success"
    path = f"/dags/release_cohort/dagRuns/{run}/taskInstances/freeze"
    assert filled.api("GET", path).json()["state"] == "skipped"
    names = {row.name for row in ReleaseOverview(filled.site.ledger_dsn, ["demo"]).releases()}
    assert "refused" not in names


def test_a_release_is_frozen_when_a_steward_approves_it(filled: Stack) -> None:
    wanted = {"project": "demo", "name": "day", "members": [_good(filled).study_uid]}
    run = filled.trigger(wanted, "release_cohort")
    asked = question(filled, "release_cohort", run)
    assert "1 subjects, 1 studies, 1 instances" in asked["body"]
    with chromium(filled, STEWARD) as page:
        page.goto(f"/dags/release_cohort/runs/{run}/tasks/approve/required_actions")
        expect(page.get_by_text("1 subjects, 1 studies")).to_be_visible()
        shot(page, "release")
        page.get_by_role("button", name="Approve").click()
        expect(page.get_by_role("button", name="Approve")).to_be_disabled()
    assert filled.watch(run, dag="release_cohort") == "success"
    with ProjectContext(filled.site, "demo") as context:
        assert context.home.session.data_objects.exists(
            "/brno/home/demo/releases/day/v1/manifest.json"
        )


def test_a_withdrawn_patient_is_gone_and_the_doctor_finds_nothing(filled: Stack) -> None:
    row = _good(filled)
    with pytest.raises(ValueError, match="subject"):
        filled.trigger({"project": "demo", "subject": "756203/1234"}, "withdraw_patient")
    run = filled.trigger({"project": "demo", "subject": row.subject}, "withdraw_patient")
    asked = question(filled, "withdraw_patient", run)
    assert answer(filled, asked, STEWARD, chosen_options=["Approve"]).status_code == 200
    assert filled.watch(run, dag="withdraw_patient") == "success"
    with ProjectContext(filled.site, "demo") as context:
        ref = context.pseudonyms.reference("drop", "1.2.826.77.1")
        assert context.ledger.studies.state(ref) is StudyState.WITHDRAWN
        assert all(row.proven_at for row in context.ledger.withdrawals.of_project("demo"))
        assert list(find_faults(context)) == []
    with chromium(filled, STEWARD) as page:
        page.goto("/plugin/pacsgrid#releases")
        gone = page.get_by_role("row").filter(has_text=row.subject)
        expect(gone).to_contain_text("from every zone")
        expect(page.locator("[data-release='day/v1']")).to_contain_text("replaced")
        shot(page, "withdrawals")


def test_maintenance_runs_by_itself(filled: Stack) -> None:
    for dag in ("replicate_and_verify", "audit_replicas", "housekeeping"):
        assert filled.watch(filled.trigger({}, dag), dag=dag) == "success"


def test_an_operator_fills_a_connection_s_own_fields_and_tests_it(filled: Stack) -> None:
    pacs = filled.pacs.settings()
    with chromium(filled, OPERATOR) as page:
        page.goto("/connections")
        page.get_by_role("button", name="Add Connection").first.click()
        form = page.get_by_role("dialog")
        form.locator("input[name=connection_id]").fill("formed")
        form.get_by_role("combobox").first.click()
        page.keyboard.type("dicom")
        page.get_by_role("option", name="DICOM", exact=True).click()
        form.locator("input[name=host]").fill(pacs.host)
        form.locator("input[name=port]").fill(str(pacs.port))
        form.get_by_role("button", name="Extra Fields", exact=True).click()
        expect(form.get_by_text("Retrieve with")).to_be_visible()
        form.locator("input[name=element_ae_title]").fill(pacs.ae_title)
        shot(page, "connection")
        form.get_by_role("button", name="Save").click()
        row = page.get_by_role("row").filter(has_text="formed")
        with page.expect_response("**/connections/test") as pressed:
            row.get_by_role("button", name="Test Connection").click()
        told = pressed.value.json()
    assert told["status"] is True and "answers C-ECHO" in told["message"]
    assert filled.api("DELETE", "/connections/formed", user=OPERATOR).status_code == 204


@pytest.mark.parametrize("path", ["/connections", "/variables", "/pools", "/config"])
def test_a_steward_cannot_see_secrets(filled: Stack, path: str) -> None:
    changes = {"conn_id": "x", "conn_type": "http", "key": "x", "value": "x", "name": "x"}
    assert filled.api("POST", path, changes, STEWARD).status_code in (403, 405)
    if path in ("/connections", "/variables"):
        assert filled.api("GET", path, user=STEWARD).status_code == 403
        assert filled.api("GET", path, user=OPERATOR).status_code == 200
