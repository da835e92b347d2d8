"""Values that break the rules of their VR (PS3.5 6.2): repaired, kept, or held."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import (
    ImplicitVRLittleEndian,
    PositronEmissionTomographyImageStorage,
)

from pacsgrid.deid import StudyProcessor, check_file, load_profile
from pacsgrid.deid.anonymise import Anonymiser
from pacsgrid.deid.identifiers import StudyIdentifiers
from pacsgrid.deid.value_repair import (
    repair_age,
    repair_date,
    repair_datetime,
    repair_numbers,
    repair_time,
)
from pacsgrid.errors import HeldError
from pacsgrid.log_suppression import pydicom_suppressed
from support.deid_file import PSEUDONYMS, checked
from support.dicom import ct, save

SPACING, WEIGHT, CONTOUR, SLOPE = 0x00280030, 0x00101030, 0x30060050, 0x00281053
DAYS = PSEUDONYMS.shift_days("756203/1234")


def put(ds: Dataset, tag: int, vr: str, value: str) -> None:
    """Put bytes into an element as a careless writer does."""
    data = value.encode("utf-8")
    data += b" " * (len(data) % 2)
    ds._dict[Tag(tag)] = RawDataElement(Tag(tag), vr, len(data), data, 0, False, True)  # type: ignore[index]


def one(tmp_path: Path, tag: int, vr: str, value: str, profile: str = "research") -> bytes | None:
    """What anonymiser and checker make of a value in a CT; None when the element is gone."""
    with pydicom_suppressed():
        ds = dcmread(ct(tmp_path / "a.dcm", "1.2.3", "1.2.3.4"))
        put(ds, tag, vr, value)
        made = dcmread(checked(save(ds, tmp_path / "a.dcm"), load_profile(profile)).path)
    element = made.get_item(tag)
    return None if element is None else bytes(element.value or b"").rstrip(b" ")


def shifted(text: str) -> str:
    day = datetime.strptime(text[:8], "%Y%m%d") + timedelta(days=DAYS)
    return f"{day:%Y%m%d}{text[8:]}"


@pytest.mark.parametrize("profile", ["basic", "research", "strict"])
@pytest.mark.parametrize(
    ("value", "becomes"),
    [
        ("0,7\\0,7", "0.7\\0.7"),
        ("0.7 mm\\0.7mm", "0.7\\0.7"),
        ("0.7\0\\0.7", "0.7\\0.7"),
        ("0.7 MM\\.7", "0.7\\.7"),
        ("1e-1\\1.5E0", "1e-1\\1.5E0"),
        ("1.5d0\\2D-1", "1.5E0\\2E-1"),
        ("0,703\\1,250", "0.703\\1.250"),
        ("1,250\\1,250", "1,250\\1,250"),
        ("1,234.5\\1.234,5", "1234.5\\1234.5"),
        ("1 234,5\\1'234.5", "1234.5\\1234.5"),
        ("\u22120.7\\+ 0.7", "-0.7\\+0.7"),
        ("NaN\\-inf", "NaN\\-inf"),
        ("1.#QNAN\\-1.#IND00", "1.#QNAN\\-1.#IND00"),
        ("N/A\\N/A", "N/A\\N/A"),
        ("0.70312500000000000001\\0.7", "0.70312500000000000001\\0.7"),
        ("\\", "\\"),
    ],
)
def test_numbers(tmp_path: Path, profile: str, value: str, becomes: str) -> None:
    assert one(tmp_path, SPACING, "DS", value, profile) == becomes.encode()


@pytest.mark.parametrize(
    "value", ["0.7\\Novak", "7 cm\\7 cm", "0..7\\1", "2024-01-02\\1", "+420 603 123 456\\1", "e\\1"]
)
@pytest.mark.parametrize("profile", ["basic", "research"])
def test_what_is_no_number_is_held_and_told(tmp_path: Path, profile: str, value: str) -> None:
    with pytest.raises(HeldError, match=r"bad-value: PixelSpacing \(0028,0030\)") as held:
        one(tmp_path, SPACING, "DS", value, profile)
    assert "Novak" not in str(held.value) and "override" in str(held.value)


def test_an_override_lets_it_go(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(
        "name: own\noptions: [modified]\n"
        "overrides: [{tag: TableHeight, action: X, reason: a writer's words}]\n"
    )
    assert one(tmp_path, 0x00181130, "DS", "hoch", str(path)) is None
    with pytest.raises(HeldError, match="bad-value"):
        one(tmp_path, 0x00181130, "DS", "hoch")


def test_a_number_of_somebodys_still_goes(tmp_path: Path) -> None:
    assert one(tmp_path, 0x00200012, "IS", "7562031234") == b""
    assert one(tmp_path, 0x00200013, "IS", "12.0") == b"12.0"
    assert one(tmp_path, 0x00200013, "IS", "12,0") == b"12.0"


def test_one_nan_does_not_take_an_array(tmp_path: Path) -> None:
    points = "\\".join(["1.5"] * 300 + ["NaN"] + ["-2,5"] * 3 + ["7"] * 2)
    with pydicom_suppressed():
        ds = dcmread(ct(tmp_path / "a.dcm", "1.2.3", "1.2.3.4"))
        item = Dataset()
        put(item, CONTOUR, "DS", points)
        inner = Dataset()
        inner.ContourSequence = Sequence([item])
        ds.ROIContourSequence = Sequence([inner])
        made = dcmread(checked(save(ds, tmp_path / "a.dcm"), load_profile("research")).path)
    kept = made.ROIContourSequence[0].ContourSequence[0].get_item(CONTOUR).value
    assert kept.decode().strip() == points.replace(",", ".")


@pytest.mark.parametrize(
    ("value", "becomes"),
    [
        ("2024-03-10", "20240310"), ("2024.03.10", "20240310"), ("2024/03/10", "20240310"),
        ("2024:03:10", "20240310"), ("2024 03 10", "20240310"), ("2024-3-9", "20240309"),
        ("10.03.2024", "20240310"), ("10. 3. 2024", "20240310"), ("25/03/2024", "20240325"),
        ("03/25/2024", "20240325"), ("10-Mar-2024", "20240310"), ("10 MAR 2024", "20240310"),
        ("March 10, 2024", "20240310"), ("20240310.", "20240310"), (" 20240310", "20240310"),
        ("20240310101112", "20240310"), ("2024-03-10T10:11:12", "20240310"),
    ],
)  # fmt: skip
def test_dates_are_read_and_shifted(tmp_path: Path, value: str, becomes: str) -> None:
    assert repair_date(value) in (becomes, None)
    assert one(tmp_path, 0x00080021, "DA", value) == shifted(becomes).encode()


@pytest.mark.parametrize("value", ["2024031010.5", "20240310101.5", "2024-03-10 10.5"])
def test_a_date_before_half_a_time_does_not_stay(tmp_path: Path, value: str) -> None:
    """What follows the year read as a time, and the day was left as it was."""
    with pytest.raises(HeldError, match="bad-value"):
        one(tmp_path, 0x0008002A, "DT", value)


def test_numbers_of_a_wrong_width_are_told(tmp_path: Path) -> None:
    with pytest.raises(HeldError, match=r"bad-value: RecommendedDisplayFrameRateInFloat"):
        one(tmp_path, 0x00089459, "FL", "abcdef")


def test_a_birth_date_in_another_form_goes_from_texts(tmp_path: Path) -> None:
    with pydicom_suppressed():
        ds = dcmread(ct(tmp_path / "a.dcm", "1.2.3", "1.2.3.4"))
        put(ds, 0x00100030, "DA", "1975-03-12")
        ds.SeriesDescription = "narozena 12.3.1975, knee"
        made = dcmread(checked(save(ds, tmp_path / "a.dcm"), load_profile("research")).path)
    assert made.SeriesDescription == "narozena ***, knee"


def test_ranges_and_zeros_of_dates(tmp_path: Path) -> None:
    span = "-".join(shifted(one) for one in ("20240101", "20240131"))
    assert one(tmp_path, 0x00080021, "DA", "20240101-20240131") == span.encode()
    for zeros in ("00000000", "0000-00-00", "0000.00.00", "00010101"):
        assert one(tmp_path, 0x00080021, "DA", zeros) == b""
    assert len(one(tmp_path, 0x00080021, "DA", "202403") or b"") == 6
    assert len(one(tmp_path, 0x00080021, "DA", "2024") or b"") == 4


@pytest.mark.parametrize(
    "value",
    ["03/04/2024", "03-04-2024", "24-03-10", "20240231", "10032024", "gestern", "2024-13-01"],
)
@pytest.mark.parametrize(("tag", "vr"), [(0x00080021, "DA"), (0x0008002A, "DT")])
def test_what_is_no_date_neither_stays_nor_goes(
    tmp_path: Path, tag: int, vr: str, value: str
) -> None:
    with pytest.raises(HeldError, match="bad-value"):
        one(tmp_path, tag, vr, value)
    # Where all dates go nobody has to read them.
    one(tmp_path, tag, vr, value, "basic")


@pytest.mark.parametrize(
    ("value", "becomes"),
    [
        ("101112.1234567", "101112.123456"), ("101112+0100", "101112"), ("101112.", "101112"),
        ("10:11:12", "101112"), ("10:11:12.5", "101112.5"), ("10:11", "1011"),
        ("10 11 12", "101112"),
        ("9:05:07", "090507"), ("10.11.12", "101112"), ("101112,5", "101112.5"),
        ("101112Z", "101112"), ("10:11:12 PM", "221112"), ("12:01:02 am", "000102"),
        ("20240310101112", "101112"), ("2024-03-10 10:11:12.5", "101112.5"), ("101160", "101160"),
        ("24:00:00", "240000"), ("240000", "240000"), ("93015", "93015"), (" 101112 ", "101112"),
        ("101112.123456", "101112.123456"), ("10", "10"),
    ],
)  # fmt: skip
def test_times_are_read(tmp_path: Path, value: str, becomes: str) -> None:
    assert repair_time(value) == becomes
    assert one(tmp_path, 0x00080031, "TM", value) == becomes.encode()


@pytest.mark.parametrize("value", ["zehn", "20240310", "10:11:12 Novak", "756203/1234"])
def test_what_is_no_time_is_held(tmp_path: Path, value: str) -> None:
    with pytest.raises(HeldError, match=r"bad-value: SeriesTime"):
        one(tmp_path, 0x00080031, "TM", value)


@pytest.mark.parametrize(
    ("value", "becomes"),
    [
        ("20240310101112.1234567", "20240310101112.123456"),
        ("20240310101112+01:00", "20240310101112+0100"),
        ("20240310101112 +0100", "20240310101112+0100"),
        ("20240310101112-0600", "20240310101112-0600"),
        ("20240310101112Z", "20240310101112+0000"),
        ("20240310101112+01", "20240310101112+0100"),
        ("20240310 101112", "20240310101112"),
        ("20240310T101112", "20240310101112"),
        ("2024-03-10 10:11:12", "20240310101112"),
        ("2024-03-10T10:11:12.1234567+01:00", "20240310101112.123456+0100"),
        ("10.03.2024 10:11:12", "20240310101112"),
        ("20240310101112.", "20240310101112"),
        ("2024-03-10", "20240310"),
        ("20240310101112,5", "20240310101112.5"),
        ("2024031010", "2024031010"),
    ],
)
def test_moments_are_read_and_shifted(tmp_path: Path, value: str, becomes: str) -> None:
    assert repair_datetime(value) == becomes
    assert one(tmp_path, 0x0008002A, "DT", value) == shifted(becomes).encode()


@pytest.mark.parametrize(
    ("value", "becomes"),
    [("045y", "045Y"), ("45Y", "045Y"), ("45", "045Y"), ("45 years", "045Y"), ("6m", "006M"),
     ("0045Y", "045Y"), ("045Y", "045Y"), ("3", "3"), ("24", "24"), ("95", "095Y"),
     ("45Y6M", None), ("alt", None)],
)  # fmt: skip
def test_ages(tmp_path: Path, value: str, becomes: str | None) -> None:
    assert repair_age(value) == becomes
    if becomes == "095Y":
        assert one(tmp_path, 0x00101010, "AS", value) == b"090Y"
    elif becomes is None:
        with pytest.raises(HeldError, match="bad-value"):
            one(tmp_path, 0x00101010, "AS", value)
    else:
        assert one(tmp_path, 0x00101010, "AS", value) == becomes.encode()


@pytest.mark.parametrize("value", ["***", "REMOVED", "N/A", "anonymized", "XXXX", "-", "unknown"])
def test_what_stands_for_nothing_holds_no_file(tmp_path: Path, value: str) -> None:
    """Public series have them, where somebody took a value out."""
    for tag, vr in ((0x00101010, "AS"), (0x00080021, "DA"), (0x00080031, "TM"), (0x0008002A, "DT")):
        assert one(tmp_path, tag, vr, value) == b""
    assert one(tmp_path, 0x00181130, "DS", value) == value.encode()


def test_a_weight_is_read_before_it_is_rounded(tmp_path: Path) -> None:
    for value in ("77,4", "77.4 kg", "77.4"):
        assert one(tmp_path, WEIGHT, "DS", value) == b"75"


def pet(path: Path, **changes: str) -> Path:
    """A PET slice with the times that SUV is made of, some of them as given."""
    ds = dcmread(ct(path, "1.2.3", "1.2.3.4"))
    ds.SOPClassUID, ds.Modality = PositronEmissionTomographyImageStorage, "PT"
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    drug = Dataset()
    ds.RadiopharmaceuticalInformationSequence = Sequence([drug])
    for name, value in {
        "SeriesDate": "20240310", "SeriesTime": "101112", "AcquisitionDate": "20240310",
        "AcquisitionTime": "101112", "RescaleSlope": "1", "Units": "BQML", **changes,
    }.items():  # fmt: skip
        _set(drug if name.startswith("Radio") else ds, name, value)
    return save(ds, path)


def _set(ds: Dataset, name: str, value: str) -> None:
    setattr(ds, name, None)
    put(ds, int(ds[name].tag), ds[name].VR, value)


@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian])
def test_suv_is_right_or_held(tmp_path: Path, syntax: Any) -> None:
    given = {
        "SeriesTime": "10:11:12.1234567", "SeriesDate": "2024-03-10", "AcquisitionTime": "101112.",
        "RadiopharmaceuticalStartTime": "09:11:12", "RadionuclideTotalDose": "350000000,0",
        "RadiopharmaceuticalStartDateTime": "2024-03-10 09:11:12.1234567", "PatientWeight": "75 kg",
        "RadionuclideHalfLife": "6586,2 s",
    }  # fmt: skip
    with pydicom_suppressed():
        path = pet(tmp_path / "a.dcm", **given)
        if syntax:
            ds = dcmread(path)
            ds.file_meta.TransferSyntaxUID = syntax
            ds.save_as(path, implicit_vr=True, little_endian=True)
        made = dcmread(checked(path, load_profile("research")).path)
    drug = made.RadiopharmaceuticalInformationSequence[0]
    assert made.SeriesTime == "101112.123456" and made.SeriesDate == shifted("20240310")
    assert made.AcquisitionTime == "101112" and made.PatientWeight == 75
    assert drug.RadiopharmaceuticalStartTime == "091112"
    assert drug.RadiopharmaceuticalStartDateTime == shifted("20240310091112.123456")
    assert drug.RadionuclideTotalDose == 350000000 and drug.RadionuclideHalfLife == 6586.2


@pytest.mark.parametrize(
    "name", ["SeriesTime", "SeriesDate", "AcquisitionTime", "RescaleSlope",
             "RadiopharmaceuticalStartTime", "RadiopharmaceuticalStartDateTime",
             "RadionuclideTotalDose", "RadionuclideHalfLife", "PatientWeight"],
)  # fmt: skip
def test_no_dummy_stands_for_what_cannot_be_read(tmp_path: Path, name: str) -> None:
    with pydicom_suppressed(), pytest.raises(HeldError, match=f"bad-value: {name}"):
        checked(pet(tmp_path / "a.dcm", **{name: "gegen zehn"}), load_profile("research"))


@pytest.mark.parametrize("enhanced", [False, True])
@pytest.mark.parametrize("spacing", ["0,7\\0,7", "0.7 mm\\0.7 mm"])
def test_a_face_is_seen_in_careless_numbers(tmp_path: Path, enhanced: bool, spacing: str) -> None:
    with pydicom_suppressed():
        ds = dcmread(ct(tmp_path / "a.dcm", "1.2.3", "1.2.3.4"))
        ds.BodyPartExamined = "HEAD"
        ds.Rows = ds.Columns = 256
        ds.PixelData = bytes(256 * 256 * 2)
        measures = Dataset() if enhanced else ds
        put(measures, SPACING, "DS", spacing)
        put(measures, 0x00180050, "DS", "1,0")
        if enhanced:
            group = Dataset()
            group.PixelMeasuresSequence = Sequence([measures])
            ds.SharedFunctionalGroupsSequence = Sequence([group])
        path = save(ds, tmp_path / "a.dcm")
        with pytest.raises(HeldError, match="face"):
            checked(path, load_profile("research"))


def test_numbers_without_their_vr(tmp_path: Path) -> None:
    """As UN their VR is the dictionary's (PS3.5 6.2.2)."""
    ds = dcmread(ct(tmp_path / "a.dcm", "1.2.3", "1.2.3.4"))
    put(ds, SPACING, "UN", "0,7\\0,7")
    path = save(ds, tmp_path / "a.dcm")
    with pydicom_suppressed():
        made = dcmread(checked(path, load_profile("research")).path)
    assert made.PixelSpacing == [0.7, 0.7]


def test_zeros_of_a_required_date_stay(tmp_path: Path) -> None:
    with pydicom_suppressed():
        path = pet(tmp_path / "a.dcm", SeriesDate="00000000")
        assert dcmread(checked(path, load_profile("research")).path).SeriesDate == "00000000"


def test_the_quick_way_reads_them_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = []
    with pydicom_suppressed():
        for number in range(3):
            files.append(pet(tmp_path / f"{number}.dcm", SeriesTime="10:11:12", RescaleSlope="0,5"))
        profile = load_profile("research")
        together = Anonymiser(PSEUDONYMS, profile, StudyIdentifiers())
        monkeypatch.setattr(Anonymiser, "_rewrite_fully", None)
        for path in files:
            made = dcmread(together.anonymise(path, tmp_path / path.stem).path)
            assert (made.SeriesTime, made.RescaleSlope) == ("101112", 0.5)


@pytest.mark.parametrize(
    ("tag", "value"),
    [(SPACING, ""), (SPACING, "0.7\\0.8"), (SPACING, "7\\7"), (0x00080031, "000000"),
     (0x00080031, ""), (0x00080031, "111112"), (0x00080021, "19000101"), (0x00080021, ""),
     (0x00080021, "20280101"), (SLOPE, ""), (SLOPE, "0"), (0x0008002A, "19000101"),
     (0x00080031, None), (SPACING, None)],
)  # fmt: skip
def test_the_checker_sees_what_was_lost(tmp_path: Path, tag: int, value: str | None) -> None:
    """By its own reading: of values that break their VR as of others."""
    for number, spelled in enumerate(("0,7\\0,7", "0.7\\0.7")):
        with pydicom_suppressed():
            path = pet(tmp_path / f"{number}.dcm", SeriesTime="10:11:12", SeriesDate="2024-03-10")
            ds = dcmread(path)
            put(ds, SPACING, "DS", spelled)
            ds.AcquisitionDateTime = "20240310101112"
            save(ds, path)
            made = checked(path, load_profile("research")).path
            ds = dcmread(made)
            if value is None:
                del ds[tag]
            else:
                put(ds, tag, ds.get_item(tag).VR, value)
            ds.save_as(made)
        with pytest.raises(HeldError, match=r"value-lost|required-missing"):
            check_file(path, made, load_profile("research"))


def test_the_checker_finds_a_date_that_was_left_in_another_form(tmp_path: Path) -> None:
    with pydicom_suppressed():
        path = pet(tmp_path / "a.dcm", SeriesDate="2024-03-10")
        made = checked(path, load_profile("research")).path
        for left in ("2024-03-10", "20240310", "10.03.2024"):
            ds = dcmread(made)
            put(ds, 0x00080021, "DA", left)
            ds.save_as(made)
            with pytest.raises(HeldError, match=r"identity-left: \(0008,0021\)"):
                check_file(path, made, load_profile("research"))


def test_one_value_tells_how_the_others_are_read() -> None:
    assert repair_numbers(["1,250", "0,5"], SPACING) == ["1.250", "0.5"]
    assert repair_numbers(["1,250", "0.5"], SPACING) == ["1,250", "0.5"]
    assert repair_numbers(["5 mm"], 0x00080000) is None


def test_a_held_value_takes_its_file_alone(tmp_path: Path) -> None:
    with pydicom_suppressed():
        files = [ct(tmp_path / f"{n}.dcm", "1.2.3", f"1.2.3.{n}") for n in range(2)]
        ds = dcmread(files[0])
        put(ds, SPACING, "DS", "eng\\weit")
        save(ds, files[0])
        with StudyProcessor(PSEUDONYMS, load_profile("research"), 1) as processor:
            batch = processor.process_study(files, tmp_path / "out")
    assert len(batch.made) == 1 and [held.code for held in batch.held] == ["bad-value"]
