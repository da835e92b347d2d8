"""Subjects from outside, on the whole line: a drop folder, PostgreSQL, two zones, a register."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydicom import dcmread

from pacsgrid.cli import main
from pacsgrid.config import Site, load_site
from pacsgrid.embedded.stack import Stack
from pacsgrid.errors import ConfigError, RetryableError
from pacsgrid.grid import study_collection
from pacsgrid.ledger import Ledger
from pacsgrid.ledger.database import close_pool
from pacsgrid.ledger.dump import dump, load
from pacsgrid.model import StudyQuery, StudyState
from pacsgrid.pipeline import STEPS, ProjectContext, find_studies, run_step
from pacsgrid.pipeline.reidentify import reidentify
from pacsgrid.pipeline.take import take
from pacsgrid.pipeline.withdraw import withdraw
from support.dicom import ct
from support.fhir_register import FhirRegister, fhir_register
from support.zones_under_test import bare_stack

WHO = ("MUDr. Malá", "incidental finding, ethics vote 12/2026")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with bare_stack(tmp_path_factory.mktemp("subjects") / "stack") as stack:
        yield stack


@pytest.fixture(scope="module")
def register() -> Iterator[FhirRegister]:
    with fhir_register() as running:
        yield running


def site_with(stack: Stack, project: str, subjects: dict[str, Any]) -> Site:
    """The stack's site with a project of its own that has these subjects."""
    file = stack.dir / "site.yaml"
    given = yaml.safe_load(file.read_text())
    given["projects"][project] = {**given["projects"]["demo"], "subjects": subjects, "nightly": []}
    given["sources"][project] = {"kind": "folder", "folder": str(stack.dir / f"drop-{project}")}
    (stack.dir / f"drop-{project}").mkdir(exist_ok=True)
    file.write_text(yaml.safe_dump(given, sort_keys=False))
    return load_site(file)


def drop(stack: Stack, project: str, number: int, person: str, **more: Any) -> None:
    study = f"1.2.3.{number}"
    ct(
        stack.dir / f"drop-{project}" / f"{number}.dcm",
        study,
        f"{study}.1.1",
        fill=number,
        patient_id=person,
        **more,
    )


def go(context: ProjectContext) -> None:
    refs = find_studies(context, context.project.name, StudyQuery())
    for name in STEPS:
        refs = run_step(context, name, refs).refs


def subjects_of(context: ProjectContext) -> list[str]:
    rows = context.ledger.studies.find(context.project.name, [StudyState.VERIFIED])
    return sorted(context.ledger.instances.of_study(row.ref)[0].subject for row in rows)


def held(context: ProjectContext) -> list[tuple[str, str]]:
    return [(row.code, row.detail) for row in context.ledger.held.queue(context.project.name)]


def test_a_table_from_import_to_withdrawal(
    stack: Stack, tmp_path: Path, capsys: pytest.CaptureFixture[str], dsn: str
) -> None:
    site = site_with(stack, "lung", {"from": "table", "date_shift": "table"})
    command = ["subjects", "lung", "--site", str(stack.dir / "site.yaml")]
    drop(stack, "lung", 1, "756203/1234")
    drop(stack, "lung", 2, "801101/0022", patient="Malá^Eva")
    with ProjectContext(site, "lung") as context:
        go(context)
        assert [code for code, _ in held(context)] == ["patient-unknown"] * 2
        assert "pacsgrid subjects lung --import FILE" in held(context)[0][1]
        assert not list(site.quarantine.rglob("*.dcm"))  # nothing was retrieved

        table = tmp_path / "table.csv"
        # Study ID 77 and a number like it must not be taken for one another.
        rows = "756203/1234,LUNG_77,-20\n801101/0022,LUNGX77,31\n"
        table.write_text(f"patient_id,subject,shift_days\n{rows}")
        assert main([*command, "--import", str(table)]) == 0
        assert capsys.readouterr().out.splitlines() == [
            "2 of 2 patients are new",
            "2 held studies go on",
            "2 patients have a subject",
            "subjects: outside, dates by table",
        ]
        go(context)
        assert held(context) == []
        assert subjects_of(context) == ["LUNGX77", "LUNG_77"]
        refs = context.ledger.studies.find_by_pseudonym("lung", "LUNG_77")
        (row,) = context.ledger.instances.of_study(refs[0])
        where = study_collection("brno", "lung", "LUNG_77", row.study_uid)
        path = f"{where}/{row.series_uid}/{row.sop_uid}.dcm"
        with context.home.session.data_objects.open(path, "r") as stream:
            (tmp_path / "out.dcm").write_bytes(stream.read())
        made = dcmread(tmp_path / "out.dcm")
        assert (made.PatientID, made.PatientName) == ("LUNG_77", "LUNG_77")
        # The UIDs stay derived. (`basic` removes dates; the shift is seen below.)
        assert made.StudyInstanceUID == context.pseudonyms.uid("1.2.3.1")

        table.write_text(f"patient_id,subject,shift_days\n{rows}900101/1111,LUNG_78,5\n")
        assert context.subjects.import_table(table, "x") == (1, 3)
        for wrong, told in (
            ("756203/1234,LUNG_79,-20", "line 2: this patient has another subject already"),
            ("900101/2222,lung_77,-20", "line 2: another patient has this subject already"),
            ("756203/1234,LUNG_77,-21", "line 2: this patient has another shift_days already"),
        ):
            table.write_text(f"patient_id,subject,shift_days\n{wrong}\n")
            with pytest.raises(ConfigError, match=told) as caught:
                context.subjects.import_table(table, "x")
            assert "LUNG" not in str(caught.value) and "756203" not in str(caught.value)
        assert context.ledger.subjects.count("lung") == 3

        who, why = WHO
        opened = dict(reidentify(site.ledger_dsn, site.vault_key, "lung", "LUNG_77", who, why))
        assert [one["patient_id"] for one in opened.values()] == ["756203/1234"]

        # A correction: whom no study has is removed, and may come again otherwise.
        assert main([*command, "--remove-unused"]) == 0
        assert "1 patients removed" in capsys.readouterr().out

        # The ledger's backup has all of it, and nothing that identifies.
        dump(site.ledger_dsn, tmp_path / "ledger.dump")
        load(dsn, tmp_path / "ledger.dump")
        close_pool(dsn)
        assert Ledger(dsn).subjects.count("lung") == 2

        assert withdraw(context, "LUNG_77") == []
        assert subjects_of(context) == ["LUNGX77"]
        path = "/brno/home/lung/data"
        left = [one.name for one in context.home.session.collections.get(path).subcollections]
        assert left == ["LUNGX77"]
        # An underscore stands for any character in the catalog's patterns.
        (ref,) = context.ledger.studies.find_by_pseudonym("lung", "LUNGX77")
        (row,) = context.ledger.instances.of_study(ref)
        where = study_collection("brno", "lung", "LUNGX77", row.study_uid)
        path = f"{where}/{row.series_uid}/{row.sop_uid}.dcm"
        assert context.home.session.data_objects.exists(path)
        drop(stack, "lung", 3, "756203/1234")
        go(context)
        assert [code for code, _ in held(context)] == ["withdrawn"]
        assert main([*command, "--remove-unused"]) == 0  # who withdrew stays known
        assert "0 patients removed" in capsys.readouterr().out


def test_the_origin_of_subjects_stays_once_there_are_studies(stack: Stack) -> None:
    site = site_with(stack, "fixed", {"from": "derived"})
    # Without studies it may change.
    with ProjectContext(site_with(stack, "fixed", {"from": "table"}), "fixed") as context:
        context.subjects.check_mode()
    drop(stack, "fixed", 11, "756203/1234")
    with ProjectContext(site, "fixed") as context:
        go(context)
        assert len(subjects_of(context)) == 1
    drop(stack, "fixed", 12, "756203/1234")
    with ProjectContext(site_with(stack, "fixed", {"from": "table"}), "fixed") as context:
        refs = find_studies(context, "fixed", StudyQuery())
        with pytest.raises(ConfigError, match="Set it back, or make a new project"):
            take(context, refs)
        assert held(context) == []  # no study is to blame
    with ProjectContext(site, "fixed") as context:
        go(context)
        assert len(set(subjects_of(context))) == 1 and len(subjects_of(context)) == 2


def test_an_outage_of_the_service_holds_nothing(
    stack: Stack, register: FhirRegister, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    given = {"from": "service", "url": register.url, "target": "LUNG", "timeout_seconds": 5}
    site = site_with(stack, "asked", given)
    drop(stack, "asked", 21, "756203/1234")
    with ProjectContext(site, "asked") as context:
        register.broken = 500
        with pytest.raises(RetryableError, match="status 500; asked again later"):
            go(context)
        ((study,), register.broken) = (context.ledger.studies.find("asked"), 0)
        assert study.state is StudyState.RETRIEVED

        go(context)  # it answers, and does not know the patient
        ((code, detail),) = held(context)
        assert code == "patient-unknown" and "have the patient registered there" in detail

        register.pseudonyms["756203/1234"] = "../escape"
        context.ledger.studies.unhold(study.ref)
        go(context)
        ((code, detail),) = held(context)
        assert code == "bad-subject" and "escape" not in detail

        register.pseudonyms["756203/1234"] = "ASKED_1"
        context.ledger.studies.unhold(study.ref)
        go(context)
        assert subjects_of(context) == ["ASKED_1"]

        # Another patient may not get the same subject, whatever the service says.
        register.pseudonyms["801101/0022"] = "asked_1"
        drop(stack, "asked", 22, "801101/0022")
        go(context)
        assert [code for code, _ in held(context)] == ["subject-taken"]

        # A patient is asked for once: the study comes while the service is away.
        asked = len(register.bodies)
        drop(stack, "asked", 23, "756203/1234")
        register.broken = 500
        go(context)
        register.broken = 0
        assert subjects_of(context) == ["ASKED_1", "ASKED_1"]
        assert len(register.bodies) == asked
    assert "756203" not in caplog.text and "801101" not in caplog.text


def test_a_subject_with_the_patients_name_is_refused(stack: Stack, tmp_path: Path) -> None:
    site = site_with(stack, "named", {"from": "table"})
    drop(stack, "named", 31, "756203/1234")
    with ProjectContext(site, "named") as context:
        (tmp_path / "t.csv").write_text("patient_id,subject\n756203/1234,Novakova-1\n")
        context.subjects.import_table(tmp_path / "t.csv", "x")
        go(context)
        ((code, detail),) = held(context)
        assert (
            code == "identity-left" and "the subject that this patient has from outside" in detail
        )


def test_the_table_shifts_the_dates(stack: Stack, tmp_path: Path) -> None:
    site = site_with(stack, "dated", {"from": "table", "date_shift": "table"})
    drop(stack, "dated", 41, "756203/1234")
    (tmp_path / "t.csv").write_text("patient_id,subject,shift_days\n756203/1234,D-1,-20\n")
    with ProjectContext(site, "dated", profile="research") as context:
        context.subjects.import_table(tmp_path / "t.csv", "x")
        go(context)
        (study,) = context.ledger.studies.find("dated")
        (row,) = context.ledger.instances.of_study(study.ref)
        where = study_collection("brno", "dated", "D-1", row.study_uid)
        with context.home.session.data_objects.open(f"{where}/manifest.json", "r") as stream:
            assert "20231213" in json.dumps(json.loads(stream.read()))  # 20240102 less 20 days
