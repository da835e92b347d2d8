"""Subjects from outside in a result: where they stand, and what the checker says of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from pacsgrid.deid import AssignedSubject, Pseudonyms, StudyProcessor, load_profile
from pacsgrid.deid.patient_keys import read_patients
from support.dicom import ct

PSEUDONYMS = Pseudonyms(b"0123456789abcdef", "lung")
KEY = "756203/1234"


def made(tmp_path: Path, subject: str, shift: int | None = None, profile: str = "basic") -> Dataset:
    """Anonymise the file of `tmp_path` with a subject from outside, and return the result."""
    given = {KEY: AssignedSubject(subject, shift)}
    with StudyProcessor(PSEUDONYMS, load_profile(profile), processes=1) as processor:
        done = processor.process_study([tmp_path / "1.dcm"], tmp_path / "out", given)
    (outcome,) = done.outcomes
    if outcome.made is None:
        raise outcome.error()
    assert outcome.made.subject == subject
    return dcmread(outcome.made.path)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return ct(tmp_path / "1.dcm", "1.2.3", "1.2.3.1")


def test_the_subject_stands_for_the_patient_at_every_depth(source: Path, tmp_path: Path) -> None:
    ds, own, donor = dcmread(source), Dataset(), Dataset()
    own.PatientID, own.TypeOfPatientID = KEY, "TEXT"
    donor.PatientID, donor.TypeOfPatientID = "801101/0022", "TEXT"
    ds.OtherPatientIDsSequence = [own]
    ds.SourcePatientGroupIdentificationSequence = [donor]
    ds.save_as(source)
    result = made(tmp_path, "LUNG_77-A", -20, "research")
    assert (result.PatientID, result.PatientName) == ("LUNG_77-A", "LUNG_77-A")
    assert result.StudyDate == "20231213"
    assert result.StudyInstanceUID == PSEUDONYMS.uid("1.2.3")
    text = str(result)
    assert KEY not in text and "801101/0022" not in text


@pytest.mark.parametrize("subject", ["LUNG-77123", "S-0077", "77", "A1", "X-1975"])
def test_numbers_of_lists_are_no_identifiers(source: Path, tmp_path: Path, subject: str) -> None:
    # Study ID 77, accession number ACC-77123.
    assert made(tmp_path, subject).PatientID == subject


@pytest.mark.parametrize(
    ("subject", "kind"),
    [
        ("Novakova-1", "a name"),
        ("zofie_novak", "a name"),
        ("P-7562031234", "an identifier"),
        ("7562031234", "an identifier"),
        ("T-ACC-77123", "an identifier"),
        ("B19750312", "a full date"),
        ("20240102-1", "a full date"),
    ],
)
def test_a_subject_that_identifies_is_refused(
    source: Path, tmp_path: Path, subject: str, kind: str
) -> None:
    with pytest.raises(Exception, match=rf"identity-left: the subject .* holds {kind}") as caught:
        made(tmp_path, subject)
    assert subject not in str(caught.value)


def test_a_file_whose_patient_nobody_was_asked_for_is_held(tmp_path: Path) -> None:
    ct(tmp_path / "1.dcm", "1.2.3", "1.2.3.1", patient_id="801101/0022")
    with pytest.raises(Exception, match="patient-unknown"):
        made(tmp_path, "LUNG-1")


def test_patients_are_read_as_the_anonymiser_reads_them(source: Path, tmp_path: Path) -> None:
    ds = dcmread(source)
    ds.IssuerOfPatientID = "FNB"
    ds.save_as(tmp_path / "2.dcm")
    ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"  # implicit VR
    ds.SpecificCharacterSet, ds.PatientID = "ISO_IR 101", " Č-1"
    ds.save_as(tmp_path / "3.dcm", implicit_vr=True, little_endian=True)
    del ds.PatientID
    ds.save_as(tmp_path / "4.dcm", implicit_vr=True, little_endian=True)
    (tmp_path / "5.dcm").write_text("no DICOM")
    found = read_patients(sorted(tmp_path.glob("*.dcm")))
    assert {(one.key, one.patient_id, one.issuer) for one in found} == {
        (KEY, KEY, ""),
        (f"FNB\x1f{KEY}", KEY, "FNB"),
        ("FNB\x1fČ-1", "Č-1", "FNB"),
        ("1.2.3", "", "FNB"),
    }
    assert KEY not in repr(found)
