"""Anonymiser and checker find names and numbers in binary values of any length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from pacsgrid.deid import anonymise_file, check_file, collect_identifiers, load_profile
from pacsgrid.deid.pixel.settings import PixelSettings
from pacsgrid.errors import HeldError
from support.deid_file import PSEUDONYMS, checked
from support.images import header, write

LOOKS = PixelSettings(look="none", hold=frozenset())
PROFILE = load_profile("basic").replace(pixels=LOOKS, hold_burned_in=False)
SRGB = b"desc\0\0\0\0sRGB IEC61966-2.1 cprt Copyright (c) 1998 Hewlett-Packard Company"
NOISE = np.random.default_rng(5).integers(0, 256, 3_000_000, np.uint8).tobytes()


def image(path: Path, value: bytes, tag: int = 0x00282000, vr: str = "OB") -> Path:
    ds = header("CT")
    ds.PatientName, ds.PatientID = "Kvapilová^Zdenka", "RC7654321"
    ds.PatientBirthDate, ds.ImageType = "19610504", ["ORIGINAL", "PRIMARY"]
    ds.add_new(tag, vr, value + bytes(-len(value) % 8))
    return write(path, ds, np.ones((1, 8, 8), np.uint8), "MONOCHROME2")


TEXTS = {
    "name": b"made for Kvapilova at noon",
    "latin 2": "pro Kvapilová".encode("cp1250"),
    "utf-8": "Kvapilová Zdenka".encode(),
    "utf-16": "Zdenka Kvapilová".encode("utf-16-le"),
    "utf-16 be": "KVAPILOVA ZDENKA".encode("utf-16-be"),
    "number": b"RC7654321 ",
    "birth date": b"born 1961-05-04, at home",
}


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("size", [300, 70_000, 3_000_000])
def test_a_long_binary_value_with_a_name_is_emptied(tmp_path: Path, text: str, size: int) -> None:
    if text == "latin 2" and size > 70_000:
        pytest.skip("four readable letters in millions of bytes are chance")
    value = NOISE[: size // 2] + b"\0" + TEXTS[text] + b"\0" + NOISE[size // 2 : size]
    made = checked(image(tmp_path / "in.dcm", value), PROFILE)
    assert not dcmread(made.path)[0x00282000].value
    assert TEXTS[text] not in made.path.read_bytes()


def test_in_the_alphabets_of_others(tmp_path: Path) -> None:
    for name, encoding in (("Иванов^Пётр", "iso8859-5"), ("山田^太郎", "cp932")):
        path = image(tmp_path / "in.dcm", b"\1\2" + name.replace("^", " ").encode(encoding) + b"\3")
        ds = dcmread(path)
        ds.SpecificCharacterSet, ds.PatientName = "ISO_IR 192", name
        ds.save_as(path)
        made = checked(path, PROFILE, tmp_path / encoding)
        assert not dcmread(made.path)[0x00282000].value


@pytest.mark.parametrize(
    ("tag", "vr"),
    [(0x54001010, "OW"), (0x00660016, "OF"), (0x00660022, "OD"), (0x00281221, "OW")],
)
def test_of_whatever_binary_vr(tmp_path: Path, tag: int, vr: str) -> None:
    value = NOISE[:70_000] + b" Kvapilova Zdenka RC7654321 " + NOISE[:70_004]
    made = anonymise_file(
        image(tmp_path / "in.dcm", value, tag, vr), tmp_path / "out", PSEUDONYMS, PROFILE,
        collect_identifiers([tmp_path / "in.dcm"]),
    )  # fmt: skip
    assert b"Kvapil" not in made.path.read_bytes()


@pytest.mark.parametrize("value", [SRGB + bytes(70_000), NOISE, bytes(range(256)) * 4000])
def test_what_names_nobody_stays(tmp_path: Path, value: bytes) -> None:
    made = checked(image(tmp_path / "in.dcm", value), PROFILE)
    assert dcmread(made.path)[0x00282000].value.startswith(value)


@pytest.mark.parametrize("size", [300, 70_000, 3_000_000])
def test_the_checker_finds_it_by_itself(tmp_path: Path, size: int) -> None:
    value = NOISE[: size // 2] + b" Kvapilova Zdenka " + NOISE[size // 2 : size]
    path = image(tmp_path / "in.dcm", value)
    made = anonymise_file(
        path, tmp_path / "out", PSEUDONYMS, PROFILE, collect_identifiers([path])
    ).path
    check_file(path, made, PROFILE)
    ds = dcmread(made)
    ds[0x00282000].value = dcmread(path)[0x00282000].value
    ds.save_as(made)
    with pytest.raises(HeldError, match=r"identity-left: \(0028,2000\)"):
        check_file(path, made, PROFILE)
