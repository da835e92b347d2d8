"""Each option of PS3.15 E.3 keeps or cleans what its column of the tables says, and no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataset import Dataset

from corpus.table import COLUMNS, rows
from pacsgrid.deid import (
    Profile,
    load_profile,
)
from pacsgrid.deid.content_items import load_table
from pacsgrid.deid.date_shift import shift_date
from support.deid_file import PSEUDONYMS, checked
from support.dicom import ct, save

VALUES: dict[str, Any] = {
    "AE": "CT7ROOM", "AS": "042Y", "CS": "F", "DA": "20240102", "DS": "61.5", "IS": "3",
    "DT": "20240102101500",
    "FD": 2.5, "LO": "Ward 7b", "LT": "Ward 7b", "SH": "Ward 7b", "ST": "Ward 7b",
    "TM": "101500", "UC": "Ward 7b", "UI": "1.2.3.4.77", "UT": "Ward 7b", "US": 1, "FL": 2.5,
}  # fmt: skip
# Pseudonyms and states that the anonymiser writes on its own account.
OWN = {0x00080018, 0x0020000D, 0x0020000E, 0x00120062, 0x00120063, 0x00120064, 0x00280303}


def profile(folder: Path, *options: str) -> Profile:
    path = folder / "own.yaml"
    text = f"options: [{', '.join(options)}]\npixels: {{look: none, hold: []}}\n"
    path.write_text("name: own\n" + text)
    return load_profile(str(path))


def run(path: Path, made_with: Profile) -> Dataset:
    return dcmread(checked(path, made_with).path)


def listed(option: str, action: str) -> dict[int, Any]:
    """Values for the attributes that have an action in an option's column."""
    return {
        row.tag: VALUES[dictionary_VR(row.tag)]
        for row in rows()
        if row.columns.get(COLUMNS[option]) == action
        and row.tag >> 16 not in (0, 2, 4)
        and row.tag not in OWN
        and dictionary_has_tag(row.tag)
        and dictionary_VR(row.tag) in VALUES
    }


def with_values(path: Path, values: dict[int, Any]) -> Path:
    """Write a slice that has the values, and has them in an item."""
    ds, item = dcmread(ct(path, "1.2.3", "1.2.3.1")), Dataset()
    for tag, value in values.items():
        ds.add_new(tag, dictionary_VR(tag), value)
        item.add_new(tag, dictionary_VR(tag), value)
    ds.ReferencedImageSequence = [item]
    return save(ds, path)


@pytest.mark.parametrize(
    ("option", "least"), [("uids", 40), ("device", 20), ("institution", 3), ("patient", 5)]
)
def test_what_an_option_retains_stays_and_goes_without_it(
    tmp_path: Path, option: str, least: int
) -> None:
    values = listed(option, "K")
    assert len(values) >= least
    path = with_values(tmp_path / "a", values)
    kept, gone = run(path, profile(tmp_path, option)), run(path, profile(tmp_path))
    for place in (kept, kept.ReferencedImageSequence[0]):
        for tag, value in values.items():
            found = place[tag].value if tag in place else None
            assert str(found) == str(value), f"{tag:08x}"
    for place in (gone, gone.ReferencedImageSequence[0]):
        for tag, value in values.items():
            assert tag not in place or str(place[tag].value) != str(value), f"{tag:08x}"


@pytest.mark.parametrize("option", ["full", "modified"])
def test_dates_stay_or_move_everywhere(tmp_path: Path, option: str) -> None:
    values = listed(option, "K" if option == "full" else "C")
    assert values.pop(0x00080201)  # an offset from UTC, which moves with nobody
    assert len(values) > 100
    made = run(with_values(tmp_path / "a", values), profile(tmp_path, option))
    days = PSEUDONYMS.shift_days("756203/1234") if option == "modified" else 0
    for place in (made, made.ReferencedImageSequence[0]):
        for tag, value in values.items():
            assert place[tag].value == shift_date(value, dictionary_VR(tag), days), f"{tag:08x}"
    said = {"full": "UNMODIFIED", "modified": "MODIFIED"}[option]
    assert made.LongitudinalTemporalInformationModified == said


def test_descriptors_stay_without_what_identifies(tmp_path: Path) -> None:
    values = {
        tag: "T2 Novakova dne 2024-01-02"
        for tag in listed("descriptors", "C")
        if dictionary_VR(tag) in ("LO", "LT", "ST", "UT", "UC")
    }
    assert len(values) > 60
    path = with_values(tmp_path / "a", values)
    cleaned, gone = run(path, profile(tmp_path, "descriptors")), run(path, profile(tmp_path))
    for place in (cleaned, cleaned.ReferencedImageSequence[0]):
        for tag in values:
            assert str(place[tag].value) == "T2 *** dne ***", f"{tag:08x}"
    for place in (gone, gone.ReferencedImageSequence[0]):
        assert not any("T2" in str(place[tag].value) for tag in values if tag in place)


def content_item(scheme: str, code: str, kind: str) -> Dataset:
    name, item = Dataset(), Dataset()
    name.CodeValue, name.CodingSchemeDesignator, name.CodeMeaning = code, scheme, "as in the table"
    item.RelationshipType, item.ValueType = "CONTAINS", kind
    item.ConceptNameCodeSequence = [name]
    if kind == "TEXT":
        item.TextValue = "Room 12"
    elif kind == "CODE":
        female = Dataset()
        female.CodeValue, female.CodingSchemeDesignator, female.CodeMeaning = "F", "DCM", "Female"
        item.ConceptCodeSequence = [female]
    elif kind == "NUM":
        years, measured = Dataset(), Dataset()
        years.CodeValue, years.CodingSchemeDesignator, years.CodeMeaning = "a", "UCUM", "year"
        measured.NumericValue, measured.MeasurementUnitsCodeSequence = "42", [years]
        item.MeasuredValueSequence = [measured]
    return item


def stands(item: Dataset) -> bool:
    """Say whether a content item still has the value that it came with."""
    if item.ValueType == "TEXT":
        return bool(item.TextValue == "Room 12")
    if item.ValueType == "CODE":
        return bool(item.ConceptCodeSequence[0].CodeValue == "F")
    return bool(item.MeasuredValueSequence)


def report(path: Path, items: list[Dataset]) -> Path:
    ds = dcmread(ct(path, "1.2.3", "1.2.3.1"))
    ds.SOPClassUID, ds.Modality = "1.2.840.10008.5.1.4.1.1.88.33", "SR"
    for keyword in ("Rows", "Columns", "PixelData"):
        delattr(ds, keyword)
    ds.ContentSequence = items
    return save(ds, path)


@pytest.mark.parametrize(
    "options",
    [(), ("structured",), ("descriptors", "structured"), ("device",), ("institution", "patient")],
)
def test_content_items_follow_table_e_3_4_1(tmp_path: Path, options: tuple[str, ...]) -> None:
    assert len(load_table()) == 211
    keys = [key for key in load_table() if key[2] in ("TEXT", "CODE", "NUM")]
    assert len(keys) == 95
    path = report(tmp_path / "a", [content_item(*key) for key in keys])
    made = run(path, profile(tmp_path, *options))
    for key, item in zip(keys, made.ContentSequence, strict=True):
        expected = any(option in load_table()[key].options for option in options)
        assert stands(item) == expected, key


def test_a_retired_code_is_the_same_concept(tmp_path: Path) -> None:
    """R-42B89 of SNOMED-RT is 371524004, a clinical report: free text (PS3.15 E.3.4, note 3)."""
    items = [content_item(scheme, "R-42B89", "TEXT") for scheme in ("SRT", "SNM3", "99SDM")]
    items.append(content_item("DCM", "121071", "TEXT"))  # a finding, which no row names
    made = run(report(tmp_path / "a", items), profile(tmp_path, "structured"))
    assert [stands(item) for item in made.ContentSequence[:3]] == [False] * 3
