"""Results that are anonymised again: after another site's anonymisation, or in a repeated run."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from pacsgrid.deid import (
    Pseudonyms,
    StudyProcessor,
    anonymise_file,
    check_file,
    collect_identifiers,
    load_profile,
)
from pacsgrid.errors import HeldError
from support.dicom import ct, save

PSEUDONYMS = Pseudonyms(b"k" * 32, "demo")


def twice(path: Path, out: Path, profile: str) -> Dataset:
    """Anonymise and check a file, then its result."""
    made = load_profile(profile)
    for name in ("once", "twice"):
        result = anonymise_file(path, out / name, PSEUDONYMS, made, collect_identifiers([path]))
        check_file(path, result.path, made)
        path = result.path
    return dcmread(path)


def test_a_dummy_date_is_nobodys(tmp_path: Path) -> None:
    ds = dcmread(ct(tmp_path / "a", "1.2.3", "1.2.3.1"))
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"  # of an enhanced CT the moment is required
    ds.AcquisitionDateTime = "20240102101500"
    again = twice(save(ds, tmp_path / "a"), tmp_path, "basic")
    assert again.AcquisitionDateTime == "19000101"


@pytest.mark.parametrize("profile", ["basic", "research", "strict"])
def test_an_address_of_a_system_goes_in_any_form(tmp_path: Path, profile: str) -> None:
    ds = dcmread(ct(tmp_path / "a", "1.2.3", "1.2.3.1"))
    for url in ("https://pacs.nemocnice.cz/wado?x=1", "wado/rs", "pacs7", "urn:removed"):
        ds.RetrieveURL = url
        again = twice(save(ds, tmp_path / "a"), tmp_path, profile)
        assert not again.get("RetrieveURL")


def test_a_code_string_in_other_letters_goes(tmp_path: Path) -> None:
    """As a code string has no character set, its bytes would read as another name than hers."""
    ds = dcmread(ct(tmp_path / "a", "1.2.3", "1.2.3.1"))
    for tag in (0x00180015, 0x300A0630):
        raw = RawDataElement(Tag(tag), "CS", 6, "ŽOFIE".encode(), 0, False, True)
        ds._dict[Tag(tag)] = raw  # type: ignore[index]
    again = twice(save(ds, tmp_path / "a"), tmp_path, "research")
    assert again.BodyPartExamined == "REMOVED"


def test_a_strain_of_mice_is_no_name(tmp_path: Path) -> None:
    ds = dcmread(ct(tmp_path / "a", "1.2.3", "1.2.3.1", patient="M12"))
    ds.StrainDescription = "C57BL/6J"
    assert twice(save(ds, tmp_path / "a"), tmp_path, "research").StrainDescription == "C57BL/6J"


def test_an_object_of_no_class_is_held_at_once(tmp_path: Path) -> None:
    """A number in its place was emptied like any other, and the result had no class."""
    ds = dcmread(ct(tmp_path / "a", "1.2.3", "1.2.3.1"))
    raw = RawDataElement(Tag(0x00080016), "DS", 4, b"\1\0\2 ", 0, False, True)
    ds._dict[Tag(0x00080016)] = raw  # type: ignore[index]
    ds.save_as(tmp_path / "a")
    with pytest.raises(HeldError, match="no-sop-uid"):
        twice(tmp_path / "a", tmp_path, "basic")


@pytest.mark.parametrize("name", ["Bašić^Yes", "Modified^Option", "Removed^Dates"])
def test_what_is_said_of_the_method_names_nobody(tmp_path: Path, name: str) -> None:
    path = ct(tmp_path / "a", "1.2.3", "1.2.3.1", patient=name)
    assert twice(path, tmp_path, "research").PatientIdentityRemoved == "YES"


def test_another_method_is_looked_at_like_any_text(tmp_path: Path) -> None:
    path = ct(tmp_path / "a", "1.2.3", "1.2.3.1", patient="Bašić^Ana")
    profile = load_profile("basic")
    made = anonymise_file(path, tmp_path, PSEUDONYMS, profile, collect_identifiers([path])).path
    ds = dcmread(made)
    ds.DeidentificationMethodCodeSequence[0].CodeMeaning = "by Ana Basic"
    ds.save_as(made)
    with pytest.raises(HeldError, match="identity-left"):
        check_file(path, made, profile)


def test_an_identifier_among_numbers_and_bytes_goes(tmp_path: Path) -> None:
    """Also in the second slice of a series, whose other numbers are not decoded again."""
    files = []
    for number in (1, 2):
        ds = dcmread(ct(tmp_path / str(number), "1.2.3", f"1.2.3.{number}", patient_id="4411223"))
        ds.AcquisitionNumber = "4411223" if number == 2 else "7"
        ds.InstanceNumber = number
        ds.add_new(0x00143070, "OW", "Nováková".encode() + b" ")
        files.append(save(ds, tmp_path / str(number)))
    with StudyProcessor(PSEUDONYMS, load_profile("research"), processes=1) as processor:
        batch = processor.process_study(files, tmp_path / "out")
    assert [outcome.code for outcome in batch.held] == []
    first, second = (dcmread(made.path) for made in batch.made)
    assert first.AcquisitionNumber == 7 and second.AcquisitionNumber is None
    assert not second[0x00143070].value


def test_a_short_number_is_a_count_whoever_has_it(tmp_path: Path) -> None:
    ds = dcmread(ct(tmp_path / "a", "1.2.3", "1.2.3.1", patient_id="1024"))
    ds.Exposure = "1024"
    assert twice(save(ds, tmp_path / "a"), tmp_path, "research").Exposure == 1024


def test_a_scheme_that_was_a_person_is_nobody(tmp_path: Path) -> None:
    ds = dcmread(ct(tmp_path / "a", "1.2.3", "1.2.3.1"))
    ds.add_new(0x00080102, "PN", "Nováková")
    assert twice(save(ds, tmp_path / "a"), tmp_path, "research")[0x00080102].value == "99PACSGRID"
