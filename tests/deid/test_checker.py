"""The checker refuses results that were damaged on purpose, each in one way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.sequence import Sequence
from pydicom.uid import JPEGBaseline8Bit

from pacsgrid.deid import (
    Checker,
    Profile,
    Pseudonyms,
    anonymise_file,
    check_file,
    collect_identifiers,
    load_profile,
)
from pacsgrid.deid.check import scan
from pacsgrid.deid.pixel.settings import PixelSettings
from pacsgrid.errors import HeldError
from support.dicom import ct, save

PSEUDONYMS = Pseudonyms(b"k" * 32, "demo")


def source(path: Path) -> Path:
    """A slice whose header holds each kind of identifying value."""
    ds = dcmread(ct(path, "1.2.3", "1.2.3.1"))
    ds.PatientAddress = "Lipová 1274/12, 602 00 Brno"
    ds.PatientTelephoneNumbers = "+420 603 123 456"
    ds.InstitutionName = "Nemocnice u svaté Anny"
    ds.FrameOfReferenceUID = "1.2.3.77"
    ds.ReferencedImageSequence = Sequence([Dataset()])
    item = ds.ReferencedImageSequence[0]
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = ds.SOPClassUID, "1.2.3.2"
    ds.SeriesDescription = "hlava 2024-01-02"
    return save(ds, path)


def anonymised(path: Path, out: Path, profile: Profile) -> Path:
    made = anonymise_file(path, out, PSEUDONYMS, profile, collect_identifiers([path]))
    return made.path


def nested(ds: Dataset, tag: int, vr: str, value: object) -> None:
    item = Dataset()
    item.add_new(tag, vr, value)
    outer = Dataset()
    outer.DerivationCodeSequence = [item]
    ds.DerivationCodeSequence = [outer]


def private(ds: Dataset) -> None:
    ds.private_block(0x0009, "ACME", create=True).add_new(1, "DS", "1")


def reference(ds: Dataset) -> None:
    ds.ReferencedImageSequence[0].ReferencedSOPInstanceUID = "2.25.1"
    ds.FrameOfReferenceUID = ds.SOPInstanceUID


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda ds: setattr(ds, "SeriesDescription", "Novakova"), "identity-left"),
        (lambda ds: setattr(ds, "SeriesDescription", "pro pí NOVÁKOVOU"), "identity-left"),
        (lambda ds: setattr(ds, "SeriesDescription", "zofienovakova"), "identity-left"),
        (lambda ds: setattr(ds, "SeriesDescription", "N o v a k o v a"), "identity-left"),
        (lambda ds: setattr(ds, "BodyPartExamined", "NOVAKOVA"), "identity-left"),
        (lambda ds: setattr(ds, "SeriesDescription", "rc 756203 1234"), "identity-left"),
        (lambda ds: setattr(ds, "AccessionNumber", "ACC77123"), "identity-left"),
        (lambda ds: setattr(ds, "ImageComments", "lipova 1274/12"), "identity-left"),
        (lambda ds: setattr(ds, "ImageComments", "tel. 603-123-456"), "identity-left"),
        (lambda ds: setattr(ds, "ImageComments", "Nemocnice U Svate Anny"), "identity-left"),
        (lambda ds: setattr(ds, "ImageComments", "ze dne 2. 1. 2024"), "identity-left"),
        (lambda ds: setattr(ds, "ImageComments", "nar. 12 Mar 1975"), "identity-left"),
        (lambda ds: setattr(ds, "StudyDate", "20240102"), "identity-left"),
        (lambda ds: setattr(ds, "FrameOfReferenceUID", "1.2.3.77"), "identity-left"),
        (lambda ds: nested(ds, 0x0040A160, "UT", "viz Dvořák"), "identity-left"),
        (lambda ds: nested(ds, 0x00189004, "CS", "DVORAK"), "identity-left"),
        (lambda ds: nested(ds, 0x00420011, "OB", "dr. Dvořák".encode()), "identity-left"),
        (lambda ds: nested(ds, 0x0040A124, "UI", "1.2.3"), "identity-left"),
        (lambda ds: setattr(ds, "preamble", b"II*\0" + b"\0" * 124), "not-clean"),
        (lambda ds: setattr(ds.file_meta, "SourceApplicationEntityTitle", "CT7"), "not-clean"),
        (private, "private-left"),
        (reference, "reference-changed"),
        (lambda ds: delattr(ds, "PatientBirthDate"), "required-missing"),
        (lambda ds: setattr(ds, "Modality", ""), "required-missing"),
        (lambda ds: setattr(ds, "PatientIdentityRemoved", "NO"), "required-missing"),
        (lambda ds: setattr(ds, "PixelData", b"\1" + ds.PixelData[1:]), "pixels-changed"),
        (lambda ds: delattr(ds, "PixelData"), "pixels-changed"),
    ],
)
@pytest.mark.parametrize("name", ["basic", "research"])
def test_what_the_actions_missed_is_refused(
    tmp_path: Path, name: str, spoil: Callable[[Dataset], None], code: str
) -> None:
    profile, path = load_profile(name), source(tmp_path / "in.dcm")
    made = anonymised(path, tmp_path / "out", profile)
    check_file(path, made, profile)
    ds = dcmread(made)
    spoil(ds)
    ds.save_as(made)
    with pytest.raises(HeldError) as caught:
        check_file(path, made, profile)
    assert caught.value.code == code
    told = str(caught.value).casefold()
    assert not any(value in told for value in ("ovak", "ovák", "756203", "1.2.3", "lipov", "anny"))


def test_what_another_file_of_the_study_knows_is_looked_for(tmp_path: Path) -> None:
    profile = load_profile("basic")
    first = ct(tmp_path / "a.dcm", "1.2.3", "1.2.3.1", patient="")
    second = ct(tmp_path / "b.dcm", "1.2.3", "1.2.3.2", patient="Šebestová^Alžběta")
    made = anonymised(first, tmp_path / "out", profile)
    ds = dcmread(made)
    ds.ImageComments = "sebestova"
    ds.save_as(made)
    check_file(first, made, profile)
    checker = Checker(profile, scan([first, second], profile)["1.2.3"][0])
    with pytest.raises(HeldError, match="identity-left"):
        checker.check(first, made)


def test_a_reference_that_leads_elsewhere_is_found_across_files(tmp_path: Path) -> None:
    profile = load_profile("basic")
    first, second = source(tmp_path / "a.dcm"), ct(tmp_path / "b.dcm", "1.2.3", "1.2.3.2")
    checker = Checker(profile)
    checker.check(first, anonymised(first, tmp_path / "out", profile))
    other = Pseudonyms(b"q" * 32, "demo")
    made = anonymise_file(second, tmp_path / "out", other, profile, collect_identifiers([second]))
    with pytest.raises(HeldError, match="reference-changed"):
        checker.check(second, made.path)


def test_bytes_behind_the_pixels_and_broken_files_are_refused(tmp_path: Path) -> None:
    profile, path = load_profile("basic"), source(tmp_path / "in.dcm")
    made = anonymised(path, tmp_path / "out", profile)
    whole = made.read_bytes()
    for spoilt in (whole + b"Novakova", whole[:-4], whole[:400], b"Novakova"):
        made.write_bytes(spoilt)
        with pytest.raises(HeldError, match=r"not-clean|pixels-changed"):
            check_file(path, made, profile)


def test_a_comment_in_a_compressed_frame_is_read(tmp_path: Path) -> None:
    profile, path = load_profile("basic"), source(tmp_path / "in.dcm")
    made = anonymised(path, tmp_path / "out", profile)
    comment = b"Novakova Zofie"
    frame = b"\xff\xd8\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + b"\xff\xd9"
    for file in (path, made):
        ds = dcmread(file)
        ds.PixelData = encapsulate([frame])
        ds["PixelData"].VR = "OB"
        ds["PixelData"].is_undefined_length = True
        ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        ds.save_as(file, implicit_vr=False, little_endian=True)
    with pytest.raises(HeldError, match="comment inside the pixel data"):
        check_file(path, made, profile)


def test_a_name_inside_a_word_is_no_name(tmp_path: Path) -> None:
    profile = load_profile("basic")
    path = ct(tmp_path / "a.dcm", "1.2.3", "1.2.3.1", patient="Horák^Jan")
    made = anonymised(path, tmp_path / "out", profile)
    ds = dcmread(made)
    ds.SeriesDescription = "thorakal, January"
    ds.save_as(made)
    check_file(path, made, profile)


def test_counts_tell_what_became_of_each_element(tmp_path: Path) -> None:
    profile, path = load_profile("basic"), source(tmp_path / "in.dcm")
    counts = check_file(path, anonymised(path, tmp_path / "out", profile), profile)
    tags = counts.tags()
    assert tags["(0010,0020)"] == {"replaced": 1}
    assert tags["(0010,1040)"] == {"removed": 1}
    assert tags["(0028,0010)"] == {"kept": 1}
    assert tags["(0012,0062)"] == {"added": 1}
    before = sum(1 for _ in dcmread(path).iterall()) - 1  # its pixels are no header
    assert sum(counts.totals().values()) - counts.totals()["added"] == before


@pytest.mark.parametrize(
    ("name", "marker"), [("SC_rgb_jpeg_dcmtk.dcm", b"\xff\xfe"), ("JPEG2000.dcm", b"\xff\x64")]
)
def test_comments_in_frames_are_blanked_and_the_image_stays(
    tmp_path: Path, name: str, marker: bytes
) -> None:
    ds = dcmread(Path(pydicom.__file__).parent / "data" / "test_files" / name)
    pixels = ds.pixel_array
    (frame, *more) = generate_frames(ds.PixelData, number_of_frames=1)
    text = b"\0\1Sestra Novakova 12.3.1975 "
    # Behind the headers of the stream, which come first by their standards.
    at = frame.index(b"\xff\xda") if marker == b"\xff\xfe" else frame.index(b"\xff\x90")
    segment = marker + (len(text) + 2).to_bytes(2, "big") + text
    ds.PixelData = encapsulate([frame[:at] + segment + frame[at:], *more])
    ds.save_as(tmp_path / "in.dcm")
    looks = PixelSettings(look="none", hold=frozenset())
    profile = load_profile("basic").replace(pixels=looks, hold_burned_in=False)
    made = anonymised(tmp_path / "in.dcm", tmp_path / "out", profile)
    assert b"Sestra" in (tmp_path / "in.dcm").read_bytes()
    assert b"Sestra" not in made.read_bytes()
    check_file(tmp_path / "in.dcm", made, profile)
    assert (dcmread(made).pixel_array == pixels).all()


@pytest.mark.parametrize(
    ("sop_class", "tag", "code"),
    [
        # Type 1 of the CT Image, of the Segmentation IOD, of none.
        ("1.2.840.10008.5.1.4.1.1.2", 0x00281053, "required-missing"),
        ("1.2.840.10008.5.1.4.1.1.66.4", 0x00620001, "required-missing"),
        ("1.2.840.10008.5.1.4.1.1.2", 0x00620001, ""),
        # Type 2 of the CT Image; of a class that no table knows.
        ("1.2.840.10008.5.1.4.1.1.2", 0x00180060, "required-missing"),
        ("1.2.840.10008.5.1.4.1.1.999", 0x00180060, ""),
        ("1.2.840.10008.5.1.4.1.1.999", 0x00100040, "required-missing"),
    ],
)
def test_what_is_required_depends_on_the_iod(
    tmp_path: Path, sop_class: str, tag: int, code: str
) -> None:
    profile, path = load_profile("basic"), source(tmp_path / "in.dcm")
    ds = dcmread(path)
    ds.SOPClassUID = sop_class
    ds.RescaleSlope, ds.SegmentationType, ds.KVP = "1", "BINARY", "120"
    save(ds, path)
    made = anonymised(path, tmp_path / "out", profile)
    check_file(path, made, profile)
    ds = dcmread(made)
    del ds[tag]
    ds.save_as(made)
    if not code:
        check_file(path, made, profile)
        return
    with pytest.raises(HeldError) as caught:
        check_file(path, made, profile)
    assert caught.value.code == code


@pytest.mark.parametrize("spoil", ["lost", "emptied", "item"])
def test_items_keep_what_they_require(tmp_path: Path, spoil: str) -> None:
    profile, path = load_profile("basic"), source(tmp_path / "in.dcm")
    made = anonymised(path, tmp_path / "out", profile)
    ds = dcmread(made)
    if spoil == "lost":
        del ds.ReferencedImageSequence[0].ReferencedSOPClassUID
    elif spoil == "emptied":
        ds.ReferencedImageSequence[0].ReferencedSOPInstanceUID = ""
    else:
        ds.ReferencedImageSequence.append(Dataset())
    ds.save_as(made)
    with pytest.raises(HeldError, match=r"required-missing|reference-changed"):
        check_file(path, made, profile)
