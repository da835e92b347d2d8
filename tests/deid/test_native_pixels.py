"""Uncompressed pixel data: bytes behind the last pixel are zeroed, pixels never change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from pacsgrid.deid import anonymise_file, check_file, collect_identifiers, load_profile
from pacsgrid.deid.pixel.settings import PixelSettings
from pacsgrid.errors import HeldError
from support.codestreams import TEXT
from support.deid_file import PSEUDONYMS, checked
from support.images import header, write

LOOKS = PixelSettings(look="none", hold=frozenset())
PROFILE = load_profile("basic").replace(pixels=LOOKS, hold_burned_in=False)


def image(
    path: Path,
    behind: bytes,
    shape: tuple[int, ...] = (1, 32, 31),
    dtype: Any = np.uint16,
    photometric: str = "MONOCHROME2",
    syntax: UID = ExplicitVRLittleEndian,
    keyword: str = "PixelData",
) -> tuple[Path, bytes]:
    """Write an image with bytes behind its last pixel; return it and its pixels' bytes."""
    ds = header("CT")
    ds.PatientName, ds.PatientID = "Kvapilova^Zdenka", "RC7654321"
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    count = int(np.prod(shape))
    frames = (np.arange(count) % 251 + 1).astype(dtype).reshape(shape)
    write(path, ds, frames, photometric, syntax)
    ds = dcmread(path)
    pixels = ds.PixelData
    if keyword != "PixelData":
        del ds.PixelData
        setattr(ds, keyword, pixels + behind)
    else:
        ds.PixelData = pixels + behind + b"\0" * (len(behind) % 2)
        ds["PixelData"].VR = "OW" if dtype != np.uint8 else "OB"
    ds.save_as(path)
    return path, pixels


LAYOUTS: dict[str, dict[str, Any]] = {
    "slice": {},
    "implicit": {"syntax": ImplicitVRLittleEndian},
    "big endian": {"syntax": ExplicitVRBigEndian},
    "big endian bytes": {"syntax": ExplicitVRBigEndian, "dtype": np.uint8},
    "odd": {"dtype": np.uint8, "shape": (1, 31, 33)},
    "frames": {"shape": (5, 20, 20)},
    "colour": {"dtype": np.uint8, "shape": (1, 20, 20, 3), "photometric": "RGB"},
    "subsampled": {"dtype": np.uint8, "shape": (2, 20, 20, 3), "photometric": "YBR_FULL_422"},
    "float": {"dtype": np.float32, "keyword": "FloatPixelData"},
    "double": {"dtype": np.float64, "keyword": "DoubleFloatPixelData"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_stands_behind_the_last_pixel_becomes_zeros(tmp_path: Path, layout: str) -> None:
    settings = LAYOUTS[layout]
    keyword = settings.get("keyword", "PixelData")
    path, pixels = image(tmp_path / "in.dcm", TEXT + b"\0", **settings)
    made = checked(path, PROFILE)
    assert b"Kvapil" in path.read_bytes()
    assert b"Kvapil" not in made.path.read_bytes()
    after = dcmread(made.path)[keyword].value
    assert after[: len(pixels)] == pixels
    assert not after[len(pixels) :].strip(b"\0")


def test_one_bit_ends_inside_a_byte(tmp_path: Path) -> None:
    path, _ = image(tmp_path / "in.dcm", b"", (3, 65, 63), np.uint8)
    ds = dcmread(path)
    bits = np.ones(3 * 65 * 63, np.uint8)
    pixels = np.packbits(bits, bitorder="little").tobytes()
    ds.BitsAllocated = ds.BitsStored = 1
    ds.HighBit, ds.PixelData = 0, pixels + b"\0" * (len(pixels) % 2) + TEXT + b"\0"
    ds["PixelData"].VR = "OB"
    ds.save_as(path)
    after = dcmread(checked(path, PROFILE).path).PixelData
    assert after.startswith(pixels)
    assert not after[len(pixels) :].strip(b"\0")


def test_colours_stored_whole_though_called_subsampled_stay(tmp_path: Path) -> None:
    path, pixels = image(tmp_path / "in.dcm", b"", (1, 20, 20, 3), np.uint8, "RGB")
    ds = dcmread(path)
    ds.PhotometricInterpretation = "YBR_FULL_422"
    ds.save_as(path)
    assert dcmread(checked(path, PROFILE).path).PixelData == pixels


def test_as_much_as_another_frame_is_held(tmp_path: Path) -> None:
    path, pixels = image(tmp_path / "in.dcm", b"")
    ds = dcmread(path)
    ds.PixelData = pixels + pixels
    ds.save_as(path)
    with pytest.raises(HeldError, match="NumberOfFrames"):
        checked(path, PROFILE)
    ds.PixelData = pixels + bytes(len(pixels))
    ds.save_as(path)
    assert dcmread(checked(path, PROFILE, tmp_path / "other").path).PixelData[: len(pixels)] == (
        pixels
    )


@pytest.mark.parametrize("spoil", ["text", "pixel"])
def test_the_checker_looks_behind_the_last_pixel(tmp_path: Path, spoil: str) -> None:
    path, pixels = image(tmp_path / "in.dcm", TEXT + b"\0")
    made = anonymise_file(
        path, tmp_path / "out", PSEUDONYMS, PROFILE, collect_identifiers([path])
    ).path
    data = bytearray(made.read_bytes())
    at = data.index(pixels)
    if spoil == "text":
        data[at + len(pixels) : at + len(pixels) + 9] = b"Kvapilova"
    else:
        data[at + len(pixels) - 4] = 0
    made.write_bytes(data)
    with pytest.raises(HeldError, match="not-clean" if spoil == "text" else "pixels-changed"):
        check_file(path, made, PROFILE)


@pytest.mark.parametrize("frames", [b"1A", b"-1", b"0 ", b"1\\2", b"1.0 ", b"+1"])
def test_numbers_of_frames_that_are_none(tmp_path: Path, frames: bytes) -> None:
    """Anonymiser and checker read them alike."""
    path, pixels = image(tmp_path / "in.dcm", bytes(2), (4, 20, 20))
    ds = dcmread(path)
    ds.PixelData, ds.NumberOfFrames = pixels[: len(pixels) // 4] + bytes(2), 12
    ds.save_as(path)
    data = path.read_bytes()
    old = b"\x28\0\x08\0IS\x02\x0012"
    assert data.count(old) == 1
    value = frames + b" " * (len(frames) % 2)
    path.write_bytes(data.replace(old, old[:6] + bytes((len(value), 0)) + value))
    try:
        checked(path, PROFILE)
    except HeldError as error:
        # What is no number may be held for that.
        assert error.code not in ("not-clean", "pixels-changed")


def test_a_deflated_image_loses_it_too(tmp_path: Path) -> None:
    path, pixels = image(tmp_path / "in.dcm", TEXT + b"\0")
    ds = dcmread(path)
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    ds.save_as(path, implicit_vr=False, little_endian=True)
    made = checked(path, PROFILE)
    assert b"Kvapil" not in made.path.read_bytes()
    assert dcmread(made.path).PixelData.startswith(pixels)


@pytest.mark.parametrize("lacking", ["Rows", "BitsAllocated"])
def test_a_deflated_image_without_a_size_is_held(tmp_path: Path, lacking: str) -> None:
    path, _ = image(tmp_path / "in.dcm", b"")
    ds = dcmread(path)
    delattr(ds, lacking)
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    ds.save_as(path, implicit_vr=False, little_endian=True)
    with pytest.raises(HeldError, match=r"pixels-unreadable.*correct"):
        checked(path, PROFILE)


def test_a_syntax_that_asks_for_fragments_has_them(tmp_path: Path) -> None:
    path, _ = image(tmp_path / "in.dcm", b"")
    data = path.read_bytes()
    native = b"1.2.840.10008.1.2.1\0"
    assert data.count(native) == 1
    path.write_bytes(data.replace(native, b"1.2.840.10008.1.2.5\0"))
    with pytest.raises(HeldError, match="not in fragments"):
        checked(path, PROFILE)


@pytest.mark.parametrize("lacking", ["Rows", "Columns", "BitsAllocated"])
def test_pixels_of_which_nobody_says_how_many_they_are_are_held(
    tmp_path: Path, lacking: str
) -> None:
    path, _ = image(tmp_path / "in.dcm", TEXT + b"\0")
    made = anonymise_file(
        path, tmp_path / "out", PSEUDONYMS, PROFILE, collect_identifiers([path])
    ).path
    for spoiled in (path, made):
        ds = dcmread(spoiled)
        if spoiled == made:
            ds.PixelData = dcmread(path).PixelData
        delattr(ds, lacking)
        ds.save_as(spoiled)
    with pytest.raises(HeldError, match=r"pixels-unreadable.*correct"):
        checked(path, PROFILE)
    with pytest.raises(HeldError, match="not-clean"):
        check_file(path, made, PROFILE)


@pytest.mark.parametrize("profile", ["basic", "research", "strict"])
@pytest.mark.parametrize("behind", [b"", TEXT + b"\0"])
def test_a_number_of_frames_with_a_decimal_comma_is_read(
    tmp_path: Path, profile: str, behind: bytes
) -> None:
    path, pixels = image(tmp_path / "in.dcm", behind)
    ds = dcmread(path)
    ds.NumberOfFrames = 1
    ds.save_as(path)
    data = path.read_bytes()
    old = b"\x28\0\x08\0IS\x02\x001 "
    assert data.count(old) == 1
    path.write_bytes(data.replace(old, b"\x28\0\x08\0IS\x04\x001,0 "))
    made = dcmread(checked(path, load_profile(profile)).path)
    assert int(made.NumberOfFrames) == 1
    assert made.PixelData == pixels + bytes(len(made.PixelData) - len(pixels))
