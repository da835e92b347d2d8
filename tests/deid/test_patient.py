"""A PatientID is one patient only with its issuer, and only while other attributes agree."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from pacsgrid.deid import Pseudonyms, StudyProcessor, load_profile, merge_patient_prints
from pacsgrid.deid.folder import FolderRun, Summary
from pacsgrid.deid.patient import patient_key, patient_print
from pacsgrid.deid.profile import Profile
from pacsgrid.errors import HeldError
from support.dicom import ct

PSEUDONYMS = Pseudonyms(b"k" * 32, "demo")


def person(name: str = "", birth: str = "", sex: str = "", **header: object) -> Dataset:
    ds = Dataset()
    ds.PatientID, ds.StudyInstanceUID = "12345", "1.2.3"
    ds.PatientName, ds.PatientBirthDate, ds.PatientSex = name, birth, sex
    for keyword, value in header.items():
        setattr(ds, keyword, value)
    return ds


def qualified(entity: str) -> Dataset:
    item = Dataset()
    item.UniversalEntityID, item.UniversalEntityIDType = entity, "DNS"
    return person(IssuerOfPatientIDQualifiersSequence=[item])


def test_a_subject_derives_from_issuer_and_id() -> None:
    plain, a, b = person(), person(IssuerOfPatientID="HOSP_A"), person(IssuerOfPatientID="HOSP_B")
    keys = [patient_key(ds) for ds in (plain, a, b, qualified("a.example"), qualified("b.example"))]
    assert len({PSEUDONYMS.subject(key) for key in keys}) == 5
    assert len({PSEUDONYMS.shift_days(key) for key in keys}) > 1
    assert patient_key(person(IssuerOfPatientID=" ")) == patient_key(plain) == "12345"


@pytest.mark.parametrize("blank", ["", "  ", "\0"])
def test_a_study_without_an_id_is_a_subject_of_its_own(blank: str) -> None:
    assert patient_key(person(PatientID=blank, IssuerOfPatientID="HOSP_A")) == "1.2.3"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (person("Nováková^Žofie", "19750312", "F"), person("NOVAKOVA^ZOFIE", "19750312", "F")),
        (person("Nováková^Žofie", "19750312"), person("Dvořáková^Žofie", "19750312")),
        (person("Novák^Jan"), person("Jan^Novák")),
        (person("Novák^Jan"), person("NOVAK JAN")),
        (person("Novák^Jan"), person("Novák^J.")),
        (person("Novák^Jan^Josef^Ing.^CSc."), person("Novák^Jan")),
        (person("Yamada^Tarou=山田^太郎"), person("山田^太郎")),
        (person("Novák^Jan", "19610504", "M"), person("", "", "")),
        (person("Novák^Jan", "19610504", "M"), person("Novák^Jan", "1961", "O")),
    ],
)
def test_one_patient_written_in_two_ways(one: Dataset, other: Dataset) -> None:
    merge_patient_prints(patient_print(ds, PSEUDONYMS) for ds in (one, other))


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [
        (person("Novák^Jan"), person("Kvapilová^Zdenka"), "PatientName"),
        (person("Novák^Jan"), person("Novák^Petr"), "PatientName"),
        (person("Novák^Jan"), person("Dvořák^Jan"), "PatientName"),
        (person("李^娜"), person("李^伟"), "PatientName"),
        (person("Novák^Jan", "19610504"), person("Novák^Jan", "19610505"), "PatientBirthDate"),
        (person("Novák^Jan", sex="M"), person("Novák^Jan", sex="F"), "PatientSex"),
    ],
)
def test_two_patients_under_one_id(one: Dataset, other: Dataset, apart: str) -> None:
    with pytest.raises(HeldError, match=f"patient-mismatch.*{apart}") as raised:
        merge_patient_prints(patient_print(ds, PSEUDONYMS) for ds in (one, other))
    assert not any(word in str(raised.value) for word in ("Nov", "Kvap", "12345", "1961"))


def test_what_tells_patients_apart_tells_nobody_who_they_are() -> None:
    text = repr(patient_print(person("Novák^Jan", "19610504", "M"), PSEUDONYMS)).casefold()
    assert not any(value in text for value in ("nov", "jan", "1961"))
    another = Pseudonyms(b"k" * 32, "lungs")
    ours, theirs = (patient_print(person("Novák^Jan"), p) for p in (PSEUDONYMS, another))
    assert not ours.family & theirs.family


def test_the_issuer_parts_the_results(tmp_path: Path) -> None:
    files = [ct(tmp_path / f"{n}.dcm", f"1.2.3.{n}", f"1.2.3.{n}.1") for n in range(3)]
    for issuer, path in zip(("", "HOSP_A", "HOSP_B"), files, strict=True):
        ds = dcmread(path)
        ds.IssuerOfPatientID = issuer
        ds.save_as(path)
    with StudyProcessor(PSEUDONYMS, load_profile("research")) as processor:
        made = [processor.process_study([path], tmp_path / path.stem).made[0] for path in files]
    assert len({one.subject for one in made}) == 3
    assert made[0].subject == PSEUDONYMS.subject("756203/1234")
    for one in made:
        assert dcmread(one.path).PatientID == one.subject


def test_files_of_one_study_that_differ_in_their_issuer_are_told_apart(tmp_path: Path) -> None:
    files = [ct(tmp_path / f"{n}.dcm", "1.2.3", f"1.2.3.1.{n}") for n in range(2)]
    ds = dcmread(files[1])
    ds.IssuerOfPatientID = "HOSP_B"
    ds.save_as(files[1])
    with StudyProcessor(PSEUDONYMS, load_profile("research")) as processor:
        made = processor.process_study(files, tmp_path / "out").made
    assert len({one.subject for one in made}) == 2


def test_two_patients_under_one_id_in_a_folder(tmp_path: Path) -> None:
    first = [
        ct(tmp_path / "in" / "a.dcm", "1.2.3.4", "1.2.3.4.1", "Nováková^Žofie", patient_id="0"),
        ct(tmp_path / "in" / "b.dcm", "1.2.3.5", "1.2.3.5.1", "NOVAKOVA^Z", patient_id="0"),
    ]
    later = ct(tmp_path / "in" / "c.dcm", "1.2.3.6", "1.2.3.6.1", "Malá^Eva", patient_id="0")
    out, quarantine = tmp_path / "out", tmp_path / "held"

    def run(files: list[Path], profile: Profile) -> Summary:
        return FolderRun(PSEUDONYMS, profile, out, quarantine).run(files)

    research = load_profile("research")
    assert (run(first, research).made, dict(run(first, research).held)) == (2, {})
    summary = run([*first, later], research)
    assert (summary.earlier, summary.made, dict(summary.held)) == (2, 0, {"patient-conflict": 1})
    assert len(list(out.glob("S*"))) == 1
    rehearsed = FolderRun(PSEUDONYMS, research, out, quarantine).dry_run([*first, later])
    assert (rehearsed.made, dict(rehearsed.held)) == (2, {"patient-conflict": 1})
    trusting = research.replace(hold_patient_conflicts=False)
    assert run([later], trusting).made == 1


def test_two_patients_in_one_study_of_a_folder(tmp_path: Path) -> None:
    files = [
        ct(tmp_path / "a.dcm", "1.2.3.4", "1.2.3.4.1", "Nováková^Žofie"),
        ct(tmp_path / "b.dcm", "1.2.3.4", "1.2.3.4.2", "Malá^Eva"),
    ]
    run = FolderRun(PSEUDONYMS, load_profile("research"), tmp_path / "out", tmp_path / "held")
    assert dict(run.run(files).held) == {"patient-mismatch": 2}
