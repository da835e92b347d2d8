"""Consent on the whole line: before ingest, before release, each night, and its end."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydicom import dcmread

from pacsgrid.cli import main
from pacsgrid.config import Site, load_site
from pacsgrid.embedded.stack import Stack
from pacsgrid.errors import RegisterUnavailableError, RetryableError
from pacsgrid.model import StudyQuery, StudyState
from pacsgrid.pipeline import STEPS, ProjectContext, find_studies, run_step
from pacsgrid.pipeline.cohorts import Cohort, select_cohort
from pacsgrid.pipeline.consent import withdrawal_runs
from pacsgrid.pipeline.review import open_reviews
from pacsgrid.pipeline.withdraw import withdraw
from support.dicom import ct
from support.fhir_register import FhirRegister, fhir_register
from support.zones_under_test import bare_stack

ZOFIE, EVA = "756203/1234", "801101/0022"
SYSTEM = "https://fnbrno.example/patients"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with bare_stack(tmp_path_factory.mktemp("consent") / "stack") as stack:
        yield stack


def site_with(stack: Stack, project: str, consent: dict[str, Any], **more: Any) -> Site:
    """The stack's site with a project of its own that asks for consent so."""
    file = stack.dir / "site.yaml"
    given = yaml.safe_load(file.read_text())
    demo = given["projects"]["demo"]
    given["projects"][project] = {**demo, "consent": consent, "nightly": [], **more}
    given["sources"][project] = {"kind": "folder", "folder": str(stack.dir / f"drop-{project}")}
    (stack.dir / f"drop-{project}").mkdir(exist_ok=True)
    file.write_text(yaml.safe_dump(given, sort_keys=False))
    return load_site(file)


def drop(stack: Stack, project: str, number: int, person: str, issuer: str = "") -> None:
    study = f"1.2.4.{number}"
    path = stack.dir / f"drop-{project}" / f"{number}.dcm"
    ct(path, study, f"{study}.1.1", fill=number, patient_id=person, patient=f"Person{person[:2]}^A")
    if issuer:
        ds = dcmread(path)
        ds.IssuerOfPatientID = issuer
        ds.save_as(path)


def go(context: ProjectContext) -> None:
    refs = find_studies(context, context.project.name, StudyQuery())
    for name in STEPS:
        refs = run_step(context, name, refs).refs


def resume(context: ProjectContext) -> None:
    rows = context.ledger.studies.find(context.project.name, [StudyState.FOUND])
    refs = [row.ref for row in rows]
    for name in STEPS:
        refs = run_step(context, name, refs).refs


def codes(context: ProjectContext) -> list[str]:
    return sorted(row.code for row in context.ledger.held.queue(context.project.name))


def verified(context: ProjectContext) -> list[str]:
    rows = context.ledger.studies.find(context.project.name, [StudyState.VERIFIED])
    return sorted(context.ledger.instances.of_study(row.ref)[0].subject for row in rows)


def test_a_consent_from_refusal_to_its_end(
    stack: Stack,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    table = tmp_path / "consent.csv"
    table.write_text(f"patient_id,consent\n{ZOFIE},no\n")
    site = site_with(stack, "lung", {"from": "file", "file": str(table)})
    drop(stack, "lung", 1, ZOFIE)
    drop(stack, "lung", 2, EVA)
    with ProjectContext(site, "lung") as context:
        go(context)
        assert codes(context) == ["consent-held", "consent-refused"]
        # A steward sees whom nobody knows; who refused waits for nobody. Nothing was retrieved.
        ((_, detail),) = open_reviews(context, 10)[0].reasons
        assert len(open_reviews(context, 10)) == 1 and "does not know whether" in detail
        assert not list(site.quarantine.rglob("*.dcm")) and not list(site.staging.rglob("*.dcm"))

        tomorrow = date.today() + timedelta(days=1)
        table.write_text(f"patient_id,consent,until\n{ZOFIE},yes,\n{EVA},yes,{tomorrow}\n")
        report = context.consent.ask_again()
        assert (report.asked, report.resumed, report.ended) == (0, 2, [])
        resume(context)
        subjects = {p: context.pseudonyms.subject(p) for p in (ZOFIE, EVA)}
        assert verified(context) == sorted(subjects.values()) and codes(context) == []

        # The next night asks for nobody: the file has not changed.
        report = context.consent.ask_again()
        assert (report.asked, report.resumed, report.ended) == (0, 0, [])
        members = select_cohort(context, Cohort(members=tuple(list(subjects.values()))))
        assert len(members) == 2 and context.consent.left_out == 0

        # One consent ends. It is seen before a release, and in the night; nothing is erased.
        table.write_text(f"patient_id,consent,until\n{ZOFIE},no,\n{EVA},yes,{tomorrow}\n")
        members = select_cohort(context, Cohort(members=tuple(list(subjects.values()))))
        assert [rows[0].subject for rows in members.values()] == [subjects[EVA]]
        assert context.consent.left_out == 1
        report = context.consent.ask_again()
        assert [subject for subject, _ in report.ended] == [subjects[ZOFIE]]
        assert verified(context) == sorted(subjects.values())
        now = datetime.now(UTC)
        (run,) = withdrawal_runs("lung", report, now)
        assert run["conf"] == {"project": "lung", "subject": subjects[ZOFIE]}
        assert withdrawal_runs("lung", context.consent.ask_again(), now) == [run]
        (later,) = withdrawal_runs("lung", report, now + timedelta(days=16))
        assert later["trigger_run_id"] != run["trigger_run_id"]
        was = [(a, b) for a, b, _ in context.ledger.consents.changes("lung", subjects[ZOFIE])]
        assert was == [("", "yes"), ("yes", "no")]

        assert main(["consent", "lung", "--site", str(stack.dir / "site.yaml")]) == 0
        assert capsys.readouterr().out.splitlines() == [
            "0 subjects asked for, 0 answers changed, 0 held studies go on",
            f"ENDED {subjects[ZOFIE]} since {now:%Y-%m-%d}",
        ]

        # The steward approves: nobody is asked for this patient any more.
        assert withdraw(context, subjects[ZOFIE]) == []
        assert context.ledger.consents.of_subjects("lung", [subjects[ZOFIE]]) == {}
        assert context.consent.ask_again().ended == []
        drop(stack, "lung", 3, ZOFIE)
        table.write_text(f"patient_id,consent\n{ZOFIE},yes\n{EVA},yes\n")
        go(context)
        assert codes(context) == ["withdrawn"]
        assert context.ledger.consents.of_subjects("lung", [subjects[ZOFIE]]) == {}
    assert "756203" not in caplog.text and "801101" not in caplog.text


def test_a_consent_that_ends_by_its_date_ends_without_a_change(
    stack: Stack, tmp_path: Path
) -> None:
    table = tmp_path / "consent.csv"
    table.write_text(f"patient_id,consent,until\n{ZOFIE},yes,{date.today()}\n")
    site = site_with(stack, "dated", {"from": "file", "file": str(table)})
    drop(stack, "dated", 11, ZOFIE)
    with ProjectContext(site, "dated") as context:
        go(context)
        (subject,) = verified(context)
        context.consent.ask_again()
        # As if the answer were from some days ago; the file itself is the same.
        context.ledger.database.run(
            "UPDATE pacsgrid.consent SET until = until - 3 WHERE subject = %s", (subject,)
        )
        assert context.consent.ask_again().asked == 1


def test_the_header_decides_where_issuers_differ(stack: Stack, tmp_path: Path) -> None:
    table = tmp_path / "consent.csv"
    table.write_text("patient_id,issuer,consent\n77-A,FNB,yes\n77-A,UVN,no\n")
    site = site_with(stack, "issuers", {"from": "file", "file": str(table)})
    drop(stack, "issuers", 21, "77-A", "FNB")
    drop(stack, "issuers", 22, "77-A", "UVN")
    with ProjectContext(site, "issuers") as context:
        go(context)
        assert len(verified(context)) == 1 and codes(context) == ["consent-refused"]
        assert not list(site.quarantine.rglob("*.dcm"))


def test_unknown_patients_are_taken_where_the_project_says_so(stack: Stack, tmp_path: Path) -> None:
    table = tmp_path / "consent.csv"
    table.write_text(f"patient_id,consent\n{EVA},no\n")
    given = {"from": "file", "file": str(table), "when_unknown": "take", "when_no": "hold"}
    site = site_with(stack, "opt-out", given)
    drop(stack, "opt-out", 31, ZOFIE)
    drop(stack, "opt-out", 32, EVA)
    with ProjectContext(site, "opt-out") as context:
        go(context)
        assert verified(context) == [context.pseudonyms.subject(ZOFIE)]
        assert codes(context) == ["consent-held"]
        assert len(select_cohort(context, Cohort(members=tuple(verified(context))))) == 1


def test_a_project_that_begins_to_ask_asks_for_whom_it_has(
    stack: Stack, register: FhirRegister
) -> None:
    site = site_with(stack, "late", {"from": "none"})
    for number, person in enumerate((ZOFIE, EVA), 41):
        drop(stack, "late", number, person)
    with ProjectContext(site, "late") as context:
        go(context)
        subjects = verified(context)
        assert len(subjects) == 2
    given = {"from": "service", "url": register.url, "system": SYSTEM, "timeout_seconds": 5}
    site = site_with(stack, "late", given)
    entry = consent_of(ZOFIE)
    register.consents = [entry, consent_of(EVA)]
    with ProjectContext(site, "late") as context:
        register.broken = 503
        with pytest.raises(RegisterUnavailableError, match="asked again later"):
            context.consent.ask_again()
        with pytest.raises(RegisterUnavailableError):
            select_cohort(context, Cohort(members=tuple(subjects)))
        register.broken = 0
        report = context.consent.ask_again()
        assert (report.asked, report.ended) == (2, [])

        # A night after asks for changes alone, however many patients there are.
        register.paths.clear()
        assert context.consent.ask_again().asked == 0
        assert len(register.paths) == 1
        entry["provision"]["type"] = "deny"
        entry["meta"]["lastUpdated"] = datetime.now(UTC).isoformat()
        report = context.consent.ask_again()
        assert (report.asked, report.changed) == (1, 1)
        assert [one for one, _ in report.ended] == [context.pseudonyms.subject(ZOFIE)]


def test_an_outage_takes_nothing_and_holds_nothing(stack: Stack, register: FhirRegister) -> None:
    given = {"from": "service", "url": register.url, "system": SYSTEM, "timeout_seconds": 5}
    site = site_with(stack, "away", given)
    register.consents = [consent_of(EVA)]
    drop(stack, "away", 51, EVA)
    with ProjectContext(site, "away") as context:
        register.broken = 500
        with pytest.raises(RetryableError, match="status 500; asked again later"):
            go(context)
        (study,) = context.ledger.studies.find("away")
        assert (study.state, codes(context)) == (StudyState.FOUND, [])
        register.broken = 0
        go(context)
        assert len(verified(context)) == 1
    assert not any("801101" in path for path in register.paths)


def test_subjects_from_outside_and_consent_go_together(stack: Stack, tmp_path: Path) -> None:
    consent = tmp_path / "consent.csv"
    consent.write_text(f"patient_id,consent\n{ZOFIE},yes\n")
    given = {"from": "file", "file": str(consent)}
    site = site_with(stack, "both", given, subjects={"from": "table"})
    (tmp_path / "t.csv").write_text(f"patient_id,subject\n{ZOFIE},BOTH_1\n")
    drop(stack, "both", 61, ZOFIE)
    with ProjectContext(site, "both") as context:
        context.subjects.import_table(tmp_path / "t.csv", "x")
        go(context)
        assert verified(context) == ["BOTH_1"]
        assert context.ledger.consents.of_subjects("both", ["BOTH_1"])["BOTH_1"].answer == "yes"


@pytest.fixture(scope="module")
def register() -> Iterator[FhirRegister]:
    with fhir_register() as running:
        yield running


def consent_of(person: str) -> dict[str, Any]:
    return {
        "resourceType": "Consent",
        "meta": {"lastUpdated": "2026-01-01T10:00:00+00:00"},
        "status": "active",
        "dateTime": "2024-05-01",
        "patient": {"identifier": {"system": SYSTEM, "value": person}},
        "provision": {"type": "permit"},
    }
