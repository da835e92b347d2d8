"""Every text element that ``research`` keeps, with names and dates in many languages."""

from __future__ import annotations

import unicodedata
from datetime import date
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset

from pacsgrid.deid import load_profile
from pacsgrid.deid.identifiers import IDS, PLACES
from pacsgrid.deid.rules import action_for
from support.deid_file import checked
from support.dicom import ct, save
from support.written_names import NAMES, ways

RESEARCH = load_profile("research")
TEXTS = ("LO", "SH", "ST", "LT", "UT", "UC")
LANGUAGES = ("cs", "ja", "th", "vi")
CASES = [next(case for case in NAMES if case[0] == language) for language in LANGUAGES]


def kept() -> list[tuple[int, str]]:
    """List the text elements that the profile keeps, cleaned."""
    return [
        (tag, vr)
        for tag, (vr, vm, _, retired, _) in DicomDictionary.items()
        if vr in TEXTS and not retired and vm.startswith("1") and tag >> 16 not in (0, 2, 4)
        and tag not in IDS | PLACES | {0x00080100, 0x00080102, 0x00080104, 0x00080070, 0x00181210}
        and action_for(tag, vr, RESEARCH) in ("text", "C")
    ]  # fmt: skip


def letters(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text.replace("ł", "l")).casefold()
    return "".join(c for c in plain if c.isalnum())


@pytest.mark.parametrize(("language", "name", "texts"), CASES)
def test_no_text_element_keeps_a_name_or_a_date(
    tmp_path: Path, language: str, name: str, texts: list[str]
) -> None:
    born, examined = date(1961, 5, 4), date(2024, 3, 10)
    dates = [*ways(born), *ways(examined)]
    ds = dcmread(ct(tmp_path / "a", "1.2.3", "1.2.3.1", patient=name))
    ds.PatientBirthDate, ds.StudyDate = f"{born:%Y%m%d}", f"{examined:%Y%m%d}"
    elements = kept()
    assert len(elements) > 300
    inner = Dataset()
    written: dict[int, tuple[str, str]] = {}
    for number, (tag, vr) in enumerate(elements):
        way, day = texts[number % len(texts)], dates[number % len(dates)]
        text = way[:16] if vr == "SH" else f"CT {way} / {day}"[:64]
        written[tag] = (way, day if day in text else "")
        for place in (ds, inner):
            place.add_new(tag, vr, text)
    ds.ReferencedImageSequence = [inner]
    made = dcmread(checked(save(ds, tmp_path / "a"), RESEARCH).path)
    left = 0
    for place in (made, made.ReferencedImageSequence[0]):
        for tag, (way, day) in written.items():
            if tag not in place:
                continue
            text = str(place[tag].value or "")
            # In a date that moved two letters are no name.
            assert len(way) < 3 or letters(way) not in letters(text), (f"{tag:08x}", text)
            assert way not in text.split(), (f"{tag:08x}", text)
            assert not day or day not in text, (f"{tag:08x}", text)
            left += text.startswith("CT ")
    assert left > 300


@pytest.mark.parametrize("charset", [None, "ISO_IR 100", "ISO_IR 101", "ISO_IR 192"])
@pytest.mark.parametrize(
    ("name", "text", "encoding"),
    [
        ("张^伟", "张伟 CT", "utf-8"),
        ("张^伟", "张伟 CT", "gb18030"),
        ("山田^太郎", "山田太郎 CT", "shift_jis"),
        ("Nováková^Žofie", "zofie NOVÁKOVÁ CT", "utf-8"),
        ("Müller^Jürgen", "Müller CT", "utf-8"),
    ],
)
def test_a_name_in_another_character_set_than_the_file_says_goes(
    tmp_path: Path, name: str, text: str, encoding: str, charset: str | None
) -> None:
    ds = dcmread(ct(tmp_path / "a", "1.2.3", "1.2.3.1"))
    del ds.SpecificCharacterSet
    if charset is not None:
        ds.SpecificCharacterSet = charset
    ds.PatientID = "P1"
    written = [value.encode(encoding) for value in (name, text)]
    written = [value + b" " * (len(value) % 2) for value in written]
    ds.PatientName, ds.StudyDescription = ("Q" * len(written[0]), "W" * len(written[1]))
    data = save(ds, tmp_path / "a").read_bytes()
    for letter, value in zip((b"Q", b"W"), written, strict=True):
        data = data.replace(letter * len(value), value)
    (tmp_path / "a").write_bytes(data)
    made = dcmread(checked(tmp_path / "a", RESEARCH).path)
    assert str(made.StudyDescription) == "*** CT"
