"""Results of the anonymiser against Table E.1-1 and on real files."""

from __future__ import annotations

import random
from pathlib import Path

import pydicom
import pytest
from pydicom import dcmread
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from pacsgrid.deid import (
    Pseudonyms,
    load_profile,
)
from pacsgrid.errors import ConfigError, HeldError
from pacsgrid.model import AnonymisedInstance
from support.deid_file import PSEUDONYMS, checked
from support.dicom import ct, save

TESTFILES = Path(pydicom.__file__).parent / "data" / "test_files"


def run(path: Path, out: Path, profile: str = "basic") -> AnonymisedInstance:
    return checked(path, load_profile(profile), out)


@pytest.mark.parametrize("profile", ["basic", "research", "strict"])
def test_real_files_come_out_checked_or_are_held(tmp_path: Path, profile: str) -> None:
    files = sorted(path for path in TESTFILES.rglob("*") if path.is_file())
    if profile != "research":
        # A cine loop takes as long as all others together; the corpus has it in each profile.
        files = [path for path in files if path.name != "examples_ybr_color.dcm"]
    out = 0
    for path in files:
        try:
            run(path, tmp_path, profile)
            out += 1
        except HeldError as error:
            assert error.code not in ("identity-left", "private-left", "required-missing")
    assert out > 20


def test_pixels_are_copied_as_they_were(tmp_path: Path) -> None:
    for name in ("CT_small.dcm", "ExplVR_BigEnd.dcm"):
        made = run(TESTFILES / name, tmp_path)
        assert dcmread(made.path).PixelData == dcmread(TESTFILES / name).PixelData
    # A compressed frame may lose its comment, but no more.
    made = run(TESTFILES / "MR_small_jp2klossless.dcm", tmp_path)
    before = dcmread(TESTFILES / "MR_small_jp2klossless.dcm")
    assert len(dcmread(made.path).PixelData) == len(before.PixelData)
    assert (dcmread(made.path).pixel_array == before.pixel_array).all()


def test_the_same_in_any_order_gives_the_same(tmp_path: Path) -> None:
    paths = [ct(tmp_path / f"{n}.dcm", "1.2.3", f"1.2.3.{n}", fill=n) for n in range(5)]
    first = {run(path, tmp_path / "a").sha256 for path in paths}
    random.Random(4).shuffle(paths)
    assert {run(path, tmp_path / "b").sha256 for path in paths} == first


def test_references_stay_whole_and_projects_apart(tmp_path: Path) -> None:
    target = run(ct(tmp_path / "a.dcm", "1.2.3", "1.2.3.1"), tmp_path)
    path = ct(tmp_path / "b.dcm", "1.2.3", "1.2.3.2")
    ds = dcmread(path)
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = ds.SOPClassUID, "1.2.3.1"
    ds.ReferencedImageSequence = [item]
    made = dcmread(run(save(ds, path), tmp_path).path)
    assert made.ReferencedImageSequence[0].ReferencedSOPInstanceUID == target.sop_uid
    assert Pseudonyms(b"k" * 32, "other").uid("1.2.3.1") != target.sop_uid


def test_dates_move_together_in_research(tmp_path: Path) -> None:
    made = dcmread(run(ct(tmp_path / "a.dcm", "1.2.3", "1.2.3.1"), tmp_path, "research").path)
    days = PSEUDONYMS.shift_days("756203/1234")
    moved = pydicom.valuerep.DA(made.StudyDate) - pydicom.valuerep.DA("20240102")
    assert -365 <= days <= -1 and moved.days == days
    assert made.LongitudinalTemporalInformationModified == "MODIFIED"


def test_private_elements_go(tmp_path: Path) -> None:
    path = ct(tmp_path / "a.dcm", "1.2.3", "1.2.3.1")
    ds = dcmread(path)
    ds.private_block(0x0009, "ACME", create=True).add_new(1, "LO", "Nováková")
    made = dcmread(run(save(ds, path), tmp_path).path)
    assert not any(element.tag.is_private for element in made.iterall())


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda data: b"Dear colleague", "not-dicom"),
        (lambda data: data[:-100], "truncated"),
        (lambda data: data[:700], "truncated"),
    ],
)
def test_bad_files_are_held(tmp_path: Path, spoil, code: str) -> None:
    path = ct(tmp_path / "a.dcm", "1.2.3", "1.2.3.1")
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(HeldError) as caught:
        run(path, tmp_path / "out")
    assert caught.value.code == code
    assert not list((tmp_path / "out").rglob("*.*"))


@pytest.mark.parametrize("name", ["test-SR.dcm", "rtplan.dcm", "CT_small.dcm"])
def test_a_file_cut_anywhere_is_held(tmp_path: Path, name: str) -> None:
    whole = (TESTFILES / name).read_bytes()
    ds = dcmread(TESTFILES / name)
    # Without pixels a cut between two elements leaves a shorter file that is whole by itself.
    explicit = not ds.original_encoding[0]
    starts = set()
    for element in map(ds.get_item, ds.keys()):
        tell = element.value_tell if isinstance(element, RawDataElement) else element.file_tell
        starts.add(tell - (12 if explicit and element.VR in EXPLICIT_VR_LENGTH_32 else 8))
    missed, path = [], tmp_path / "cut.dcm"
    for size in range(0, len(whole), max(1, len(whole) // 400)):
        path.write_bytes(whole[:size])
        try:
            run(path, tmp_path / "out")
        except HeldError:
            continue
        missed.append(size)
    if "PixelData" in ds:
        # Behind the pixel data stands only padding, which is dropped anyway.
        end = whole.index(ds.PixelData) + len(ds.PixelData)
        assert all(size >= end for size in missed)
    else:
        assert starts.issuperset(missed)
    run(TESTFILES / name, tmp_path / "out")


def test_a_wrong_profile_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("name: x\noptions: [retain-everything]\n")
    with pytest.raises(ConfigError, match="retain-everything"):
        load_profile(str(path))


@pytest.mark.parametrize(
    ("tag", "value", "left"),
    [
        (0x00180015, "CHEST", "CHEST"),
        (0x00180015, "KOWALSKI", "REMOVED"),
        (0x00180022, ["FAST_GEMS", "SAT1"], ["FAST_GEMS", "SAT1"]),
        (0x00180022, ["KOWALSKI", "SAT1"], ["", "SAT1"]),
        (0x00180022, "AB_8812345", "REMOVED"),
        (0x00080008, ["ORIGINAL", "PRIMARY", "KOWALSKI"], ["ORIGINAL", "PRIMARY", ""]),
        (0x00089007, ["ORIGINAL", "PRIMARY", "KOWALSKI"], ["ORIGINAL", "PRIMARY", ""]),
        (0x00540410, "WISNIEWSKI", None),
    ],
)
def test_a_code_string_of_an_unknown_word_goes(
    tmp_path: Path, tag: int, value: object, left: object
) -> None:
    path = ct(tmp_path / "a.dcm", "1.2.3", "1.2.3.1")
    ds = dcmread(path)
    ds.add_new(tag, dictionary_VR(tag), None if left is None else value)
    if left is None:
        item = Dataset()
        item.add_new(0x00181261, "CS", value)
        ds[tag].value = [item]
    made = dcmread(run(save(ds, path), tmp_path, "research").path)
    assert b"WISNIEWSKI" not in made.to_json().encode()
    if left is not None:
        found = made[tag].value
        assert (list(found) if isinstance(left, list) else found) == left


def test_a_scheme_without_a_code_names_nobody(tmp_path: Path) -> None:
    path = ct(tmp_path / "a.dcm", "1.2.3", "1.2.3.1")
    ds = dcmread(path)
    item = Dataset()
    item.CodingSchemeDesignator, item.CodeMeaning = "Nováková", "x"
    ds.AnatomicRegionSequence = [item]
    made = dcmread(run(save(ds, path), tmp_path).path)
    assert made.AnatomicRegionSequence[0].CodingSchemeDesignator == "99PACSGRID"


def test_a_code_that_cannot_be_read_has_a_pseudonym_that_can(tmp_path: Path) -> None:
    path = ct(tmp_path / "a.dcm", "1.2.3", "1.2.3.1")
    ds = dcmread(path)
    item = Dataset()
    # What stands as a number string is none, and of no character set.
    item[0x00080100] = RawDataElement(Tag(0x00080100), "DS", 2, b"\xc2\x80", 0, False, True)
    ds.LanguageCodeSequence = [item]
    made = run(save(ds, path), tmp_path, "research")
    (code,) = dcmread(made.path).LanguageCodeSequence
    assert code["CodeValue"].VR == "SH" and code.CodingSchemeDesignator == "99PACSGRID"
    (again,) = dcmread(run(made.path, tmp_path / "again", "research").path).LanguageCodeSequence
    assert again.CodingSchemeDesignator == "99PACSGRID"
