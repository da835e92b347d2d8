"""The line without Airflow: a drop folder, PostgreSQL and two zones."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread

from pacsgrid.embedded.stack import Stack
from pacsgrid.errors import RetryableError
from pacsgrid.grid import study_collection
from pacsgrid.ledger.studies import Studies
from pacsgrid.model import StudyQuery, StudyState
from pacsgrid.pipeline import STEPS, ProjectContext, clear_work_folders, find_studies, run_step
from pacsgrid.pipeline.context import WorkFolders
from support.dicom import ct
from support.replica_proofs import proven_once
from support.zones_under_test import bare_stack


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with bare_stack(tmp_path / "stack") as stack:
        yield stack


def go(context: ProjectContext) -> None:
    refs = find_studies(context, "drop", StudyQuery())
    for name in STEPS:
        refs = run_step(context, name, refs).refs
    clear_work_folders(context, refs)


def test_bad_files_are_held_with_their_reason_and_the_others_go_through(stack: Stack) -> None:
    drop = stack.drop
    for number in range(3):
        ct(drop / f"good{number}.dcm", "1.2.3.4", f"1.2.3.4.1.{number}", fill=number)
    cut = ct(drop / "cut.dcm", "1.2.3.4", "1.2.3.4.1.9")
    cut.write_bytes(cut.read_bytes()[:-500])
    ct(drop / "twin1.dcm", "1.2.3.4", "1.2.3.4.1.8", fill=1)
    ct(drop / "twin2.dcm", "1.2.3.4", "1.2.3.4.1.8", fill=2)
    ct(drop / "lost.dcm", "", "1.2.3.5.1.1")
    (drop / "letter.txt").write_text("Dear colleague")
    ct(drop / "other.dcm", "1.2.3.6", "1.2.3.6.1.1")
    with ProjectContext(stack.site, "demo") as context:
        go(context)
        held = sorted((row.whole, row.code) for row in context.ledger.held.queue("demo"))
        assert held == [
            (False, "duplicate-conflict"),
            (False, "duplicate-conflict"),
            (False, "truncated"),
            (True, "no-study-uid"),
            (True, "not-dicom"),
        ]
        verified = context.ledger.studies.find("demo", [StudyState.VERIFIED])
        assert sorted(len(context.ledger.instances.of_study(row.ref)) for row in verified) == [1, 3]
        assert all(proven_once(context, row.ref) for row in verified)
        assert not any(stack.site.staging.rglob("*.dcm"))
        before = [
            context.ledger.audit.changes(row.ref) for row in context.ledger.studies.find("demo")
        ]
        go(context)
        assert before == [
            context.ledger.audit.changes(row.ref) for row in context.ledger.studies.find("demo")
        ]


def test_the_report_stands_beside_the_study_in_every_zone(stack: Stack) -> None:
    for number in range(2):
        ct(stack.drop / f"{number}.dcm", "1.2.3.4", f"1.2.3.4.1.{number}")
    with ProjectContext(stack.site, "demo") as context:
        go(context)
        (study,) = context.ledger.studies.find("demo")
        row = context.ledger.instances.of_study(study.ref)[0]
        for zone in (context.home, *context.partners):
            where = study_collection(zone.settings.name, "demo", row.subject, row.study_uid)
            with zone.session.data_objects.open(f"{where}/deidentification.json", "r") as stream:
                text = stream.read()
            with zone.session.data_objects.open(f"{where}/manifest.json", "r") as stream:
                manifest = json.loads(stream.read())
            assert hashlib.sha256(text).hexdigest() == manifest["report"]["sha256"]
            report = json.loads(text)
            read = 2 if shutil.which("tesseract") else 0
            assert report["checker"] == {
                "verdict": "passed",
                "instances": 2,
                "frames_read_for_text": read,
            }
            assert report["profile"]["hash"] == context.profile.hash
            assert report["tags"]["(0010,0010)"] == {"replaced": 2}
            assert not any(
                value in text for value in (b"ovak", b"756203", b"ACC-77123", b"1.2.3.4")
            )


def test_a_study_of_two_patients_is_held(stack: Stack) -> None:
    ct(stack.drop / "a.dcm", "1.2.3.4", "1.2.3.4.1.1")
    path = ct(stack.drop / "b.dcm", "1.2.3.4", "1.2.3.4.1.2")
    ds = dcmread(path)
    ds.PatientID = "801101/0022"
    ds.save_as(path)
    with ProjectContext(stack.site, "demo") as context:
        go(context)
        assert [(row.whole, row.code) for row in context.ledger.held.queue("demo")] == [
            (True, "patient-mismatch")
        ]
        assert not context.ledger.instances.of_study(context.ledger.held.queue("demo")[0].ref)


def test_two_patients_under_one_id_do_not_become_one_subject(stack: Stack) -> None:
    ct(stack.drop / "a.dcm", "1.2.3.4", "1.2.3.4.1.1", patient="Nováková^Žofie", patient_id="0")
    with ProjectContext(stack.site, "demo") as context:
        go(context)
        ct(stack.drop / "b.dcm", "1.2.3.5", "1.2.3.5.1.1", patient="Malá^Eva", patient_id="0")
        ct(stack.drop / "c.dcm", "1.2.3.6", "1.2.3.6.1.1", patient="NOVAKOVA^Z", patient_id="0")
        go(context)
        (held,) = context.ledger.held.queue("demo")
        assert (held.whole, held.code) == (True, "patient-conflict")
        assert "PatientName" in held.detail and "Mal" not in held.detail
        verified = context.ledger.studies.find("demo", [StudyState.VERIFIED])
        assert {context.ledger.instances.of_study(row.ref)[0].subject for row in verified} == {
            context.pseudonyms.subject("0")
        }
        assert len(verified) == 2


def test_a_crash_while_holding_loses_no_file(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    ct(stack.drop / "a.dcm", "1.2.3.4", "1.2.3.4.1.1")
    ds = dcmread(ct(stack.drop / "b.dcm", "1.2.3.4", "1.2.3.4.1.2"))
    ds.PatientID = "801101/0022"
    ds.save_as(stack.drop / "b.dcm")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    for place, method in ((Studies, "hold"), (WorkFolders, "wipe")):
        with monkeypatch.context() as patch, ProjectContext(stack.site, "demo") as context:
            patch.setattr(place, method, killed)
            with pytest.raises(KeyboardInterrupt):
                go(context)
            (study,) = context.ledger.studies.find("demo")
            rooms = context.folders(study.ref)
            assert len(list(rooms.staging.glob("*.dcm"))) == 2
            assert len(list(rooms.quarantine.iterdir())) == 2
    with ProjectContext(stack.site, "demo") as context:
        run_step(context, "anonymise", [study.ref])
        assert context.ledger.studies.state(study.ref) is StudyState.HELD
        assert not rooms.staging.exists() and len(list(rooms.quarantine.glob("*.dcm"))) == 2


def test_a_study_that_grew_is_taken_up_again(stack: Stack) -> None:
    ct(stack.drop / "a.dcm", "1.2.3.4", "1.2.3.4.1.1")
    with ProjectContext(stack.site, "demo") as context:
        go(context)
        ct(stack.drop / "b.dcm", "1.2.3.4", "1.2.3.4.1.2")
        go(context)
        (study,) = context.ledger.studies.find("demo")
        assert study.state is StudyState.VERIFIED
        assert len(context.ledger.instances.of_study(study.ref)) == 2
        assert proven_once(context, study.ref)


def test_a_zone_killed_in_the_middle_loses_and_doubles_nothing(stack: Stack) -> None:
    for study in range(4):
        for number in range(25):
            uid = f"1.2.3.{study}"
            ct(stack.drop / f"{study}-{number}.dcm", uid, f"{uid}.1.{number}", fill=number)
    interrupted = 0
    for delay in (0.3, 0.8, 1.5):
        killer = threading.Timer(delay, stack.zones["brno"].kill)
        with ProjectContext(stack.site, "demo") as context:
            refs = find_studies(context, "drop", StudyQuery())
            for name in ("retrieve", "anonymise"):
                refs = run_step(context, name, refs).refs
            killer.start()
            try:
                for name in ("deposit", "replicate", "verify"):
                    refs = run_step(context, name, refs).refs
            except RetryableError:
                interrupted += 1
        killer.join()
        stack.start_zone("brno")
    assert interrupted
    with ProjectContext(stack.site, "demo") as context:
        go(context)
        studies = context.ledger.studies.find("demo")
        assert {row.state for row in studies} == {StudyState.VERIFIED} and len(studies) == 4
        assert all(len(context.ledger.instances.of_study(row.ref)) == 25 for row in studies)
        assert all(proven_once(context, row.ref) for row in studies)
