"""Burned-in text is blanked in every layout of pixels, and nothing else changes."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, pixel_array
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from pacsgrid.deid import (
    load_profile,
)
from pacsgrid.errors import HeldError
from support.burned_in import draw
from support.deid_file import checked
from support.images import header, write


def run(path: Path, profile: str = "research") -> Dataset:
    return dcmread(checked(path, load_profile(profile)).path)


def scan(dtype: Any, colour: bool, count: int = 1) -> NDArray[Any]:
    """Frames of a real slice, enlarged to the size of a screen."""
    small = pixel_array(get_testdata_file("CT_small.dcm", download=False)).astype(np.float64)
    full = np.kron(small[20:108, 4:124], np.ones((3, 3)))
    full = (full - full.min()) / (full.max() - full.min())
    top = 200 if np.dtype(dtype).itemsize == 1 else 3000
    frame = (full * top).astype(dtype)
    if colour:
        frame = np.stack((frame, frame * 9 // 10, frame * 8 // 10), axis=-1).astype(dtype)
    return np.stack([frame] * count)


def assert_hidden(before: NDArray[Any], after: NDArray[Any], masks: list[Any]) -> None:
    """The drawn pixels are uniform now, and most of the frame is as it was, bit for bit."""
    for frame, made, mask in zip(before, after, masks, strict=True):
        hidden = made[mask].reshape(mask.sum(), -1)
        assert (hidden == hidden[0]).all()
        differs = frame != made
        if differs.ndim == 3:
            differs = differs.any(axis=2)
        rows, columns = np.nonzero(mask)
        differs[
            max(0, rows.min() - 25) : rows.max() + 25,
            max(0, columns.min() - 25) : columns.max() + 25,
        ] = False
        assert not differs.any()


@pytest.mark.parametrize(
    ("dtype", "photometric", "syntax", "planar"),
    [
        (np.uint8, "MONOCHROME2", ExplicitVRLittleEndian, 0),
        (np.uint16, "MONOCHROME1", ImplicitVRLittleEndian, 0),
        (np.int16, "MONOCHROME2", ExplicitVRBigEndian, 0),
        (np.uint32, "MONOCHROME2", ExplicitVRLittleEndian, 0),
        (np.uint8, "RGB", ExplicitVRLittleEndian, 0),
        (np.uint8, "RGB", ExplicitVRLittleEndian, 1),
        (np.uint16, "RGB", ExplicitVRBigEndian, 1),
        (np.uint8, "MONOCHROME2", RLELossless, 0),
        (np.uint8, "RGB", RLELossless, 0),
        (np.int16, "MONOCHROME2", JPEGLSLossless, 0),
        (np.uint8, "RGB", JPEGLSLossless, 0),
        (np.uint16, "MONOCHROME1", JPEG2000Lossless, 0),
        (np.uint8, "RGB", JPEG2000Lossless, 0),
    ],
)
def test_text_goes_and_the_rest_stays(
    tmp_path: Path, dtype: Any, photometric: str, syntax: UID, planar: int
) -> None:
    frames = scan(dtype, photometric == "RGB", 2)
    drawn = draw(frames[0], random.Random(5), 18, 0.3, "tl", False)
    frames[1] = frames[0]
    path = write(tmp_path / "in.dcm", header("OT"), frames, photometric, syntax, planar=planar)
    made = run(path)
    assert made.file_meta.TransferSyntaxUID == syntax
    assert made.BurnedInAnnotation == "NO"
    codes = [item.CodeValue for item in made.DeidentificationMethodCodeSequence]
    assert codes.count("113101") == 1
    assert_hidden(frames, pixel_array(made), [drawn.mask] * 2)


def test_shared_colours_go_with_their_pixels(tmp_path: Path) -> None:
    frames = np.stack((scan(np.uint8, False)[0],) * 3, axis=-1)[None].copy()
    frames[..., 1:] = 128
    drawn = draw(frames[0][..., 0], random.Random(5), 18, 0.3, "br", False)
    made = run(write(tmp_path / "in.dcm", header("US"), frames, "YBR_FULL_422"))
    assert_hidden(frames, pixel_array(made, raw=True)[None], [drawn.mask])


@pytest.mark.parametrize("colour", [True, False])
def test_lossy_becomes_lossless_and_stays_declared(tmp_path: Path, colour: bool) -> None:
    frames = scan(np.uint8, colour)
    drawn = draw(frames[0], random.Random(5), 18, 0.3, "tr", False)
    photometric = "RGB" if colour else "MONOCHROME2"
    path = write(tmp_path / "in.dcm", header("US"), frames, photometric, JPEGBaseline8Bit)
    made = run(path)
    assert made.file_meta.TransferSyntaxUID == JPEG2000Lossless
    assert made.LossyImageCompression == "01"
    assert_hidden(pixel_array(path)[None], pixel_array(made)[None], [drawn.mask])


def test_planes_become_pixels_when_colours_are_compressed_again(tmp_path: Path) -> None:
    """PlanarConfiguration turns 0 then, which is a value."""
    frames = scan(np.uint8, True)
    drawn = draw(frames[0], random.Random(5), 18, 0.3, "tr", False)
    path = write(tmp_path / "in.dcm", header("US"), frames, "RGB", RLELossless, planar=1)
    made = run(path)
    assert dcmread(path).PlanarConfiguration == 1
    assert made.PlanarConfiguration == 0
    assert_hidden(pixel_array(path)[None], pixel_array(made)[None], [drawn.mask])


def test_one_bit_a_pixel_is_looked_at_and_blanked(tmp_path: Path) -> None:
    """Frames begin where others end, inside a byte too (PS3.5 8.1.1)."""
    masks = np.zeros((3, 241, 363), np.uint8)
    masks[:, 40:120, 40:120] = 1
    drawn = draw(masks[1], random.Random(5), 24, 1, "br", False)
    ds = header("SEG")
    ds.SOPClassUID, ds.ImageType = "1.2.840.10008.5.1.4.1.1.66.4", ["DERIVED", "PRIMARY"]
    ds.ContentLabel, ds.SegmentationType = "SEG", "BINARY"
    path = write(tmp_path / "in.dcm", ds, masks, "MONOCHROME2")
    ds = dcmread(path)
    ds.BitsAllocated = ds.BitsStored = 1
    bits = np.packbits(masks.reshape(-1), bitorder="little").tobytes()
    ds.HighBit, ds.PixelData = 0, bits + b"\0" * (len(bits) % 2)
    ds["PixelData"].VR = "OB"
    ds.save_as(path)
    made = run(path, "strict").PixelData
    after = np.unpackbits(np.frombuffer(made, np.uint8), bitorder="little")[: masks.size]
    after = after.reshape(masks.shape)
    assert_hidden(masks[1:2], after[1:2], [drawn.mask])
    assert (after[::2] == masks[::2]).all()


def test_a_palette_goes_to_its_darkest_entry(tmp_path: Path) -> None:
    ds = dcmread(get_testdata_file("examples_palette.dcm", download=False))
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    frame = ds.pixel_array.copy()
    colours = apply_color_lut(np.arange(256, dtype=np.uint8)[None], ds).sum(axis=2)[0]
    # Indexes are no shades: the letters have hard edges.
    mask = draw(frame.copy(), random.Random(3), 20, 0.9, "br", False).mask
    frame[mask] = colours.argmax()
    ds.PixelData = frame.tobytes()
    ds.save_as(tmp_path / "in.dcm")
    made = run(tmp_path / "in.dcm").pixel_array
    assert set(made[mask]) == {int(colours.argmin())}


def test_images_without_text_keep_their_bytes(tmp_path: Path) -> None:
    path = write(tmp_path / "in.dcm", header("OT"), scan(np.uint8, False, 2), "MONOCHROME2")
    made = run(path)
    assert made.BurnedInAnnotation == "NO"
    assert made.PixelData == dcmread(path).PixelData


def test_only_what_can_carry_text_is_looked_at(tmp_path: Path) -> None:
    frames = scan(np.int16, False)
    draw(frames[0], random.Random(5), 18, 0.3, "tl", False)
    ds = header("CT")
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    path = write(tmp_path / "in.dcm", ds, frames, "MONOCHROME2")
    made = run(path)
    assert made.PixelData == dcmread(path).PixelData
    # Nobody looked: the header may not promise anything.
    assert "BurnedInAnnotation" not in made
    assert run(path, "strict").BurnedInAnnotation == "NO"
    ds.BurnedInAnnotation = "YES"
    path = write(tmp_path / "in2.dcm", ds, frames, "MONOCHROME2")
    assert run(path).PixelData != ds.PixelData


def test_what_cannot_be_decoded_is_held(tmp_path: Path) -> None:
    frames = scan(np.uint8, False)
    path = write(tmp_path / "in.dcm", header("US"), frames, "MONOCHROME2", JPEG2000Lossless)
    data = bytearray(path.read_bytes())
    at = data.index(b"\xff\x4f\xff\x51")
    data[at : at + 60] = bytes(60)
    path.write_bytes(data)
    with pytest.raises(HeldError, match="pixels-unreadable"):
        run(path)


def test_outside_the_ultrasound_regions_all_is_blank(tmp_path: Path) -> None:
    frames = scan(np.uint8, False)
    ds = header("US")
    region = Dataset()
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 40, 30
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = 299, 219
    ds.SequenceOfUltrasoundRegions = [region]
    made = run(write(tmp_path / "in.dcm", ds, frames, "MONOCHROME2"), "basic").pixel_array
    inside = np.zeros(made.shape, bool)
    inside[30:220, 40:300] = True
    assert (made[inside] == frames[0][inside]).all()
    assert (made[~inside] == frames.min()).all()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "secondary-capture"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.104.1"}, "document"),
        ({"Modality": "XC"}, "photograph"),
        (
            {"Modality": "MR", "BodyPartExamined": "HEAD", "PixelSpacing": [1, 1],
             "SliceThickness": 1},
            "face",
        ),
        (
            {"Modality": "CT", "StudyDescription": "CT mozku nativně", "PixelSpacing": [0.5, 0.5],
             "SliceThickness": 5, "SpacingBetweenSlices": 0.75},
            "face",
        ),
        ({"Modality": "CT", "BodyPartExamined": "CHEST", "PixelSpacing": [0.5, 0.5],
          "SliceThickness": 1}, ""),
        ({"Modality": "CT", "BodyPartExamined": "HEAD", "PixelSpacing": [0.5, 0.5],
          "SliceThickness": 5}, ""),
    ],
)  # fmt: skip
def test_what_a_steward_must_see_is_held(tmp_path: Path, change: dict[str, Any], code: str) -> None:
    ds = header("CT")
    for keyword, value in change.items():
        setattr(ds, keyword, value)
    path = write(tmp_path / "in.dcm", ds, scan(np.int16, False), "MONOCHROME2")
    if code:
        with pytest.raises(HeldError, match=code):
            run(path, "basic")
    else:
        made = run(path, "basic")
        chest = change["BodyPartExamined"] == "CHEST"
        assert made.get("RecognizableVisualFeatures") == ("NO" if chest else None)


def overlay(ds: Dataset, rows: int, columns: int) -> NDArray[Any]:
    """Give a header an overlay plane with a circle and a name; return the name's mask."""
    plane = np.zeros((rows, columns), np.uint8)
    drawn = draw(plane, random.Random(9), 20, 1.0, "tl", False)
    y, x = np.ogrid[:rows, :columns]
    circle = np.abs(np.hypot(y - rows * 0.6, x - columns * 0.6) - 60) < 2
    bits = drawn.mask | circle
    ds.add_new(0x60000010, "US", rows)
    ds.add_new(0x60000011, "US", columns)
    ds.add_new(0x60000022, "LO", "Nováková")
    ds.add_new(0x60000040, "CS", "G")
    ds.add_new(0x60000050, "SS", [1, 1])
    ds.add_new(0x60000100, "US", 1)
    ds.add_new(0x60000102, "US", 0)
    ds.add_new(0x60003000, "OW", np.packbits(bits, bitorder="little").tobytes())
    return bits


def test_an_overlay_loses_its_text_and_keeps_its_graphics(tmp_path: Path) -> None:
    frames = scan(np.int16, False)
    ds = header("CT")
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    rows, columns = frames.shape[1:]
    before = overlay(ds, rows, columns)
    path = write(tmp_path / "in.dcm", ds, frames, "MONOCHROME2")
    made = run(path)
    after = made.overlay_array(0x6000).astype(bool)
    assert not after[:40].any() and before[:40].any()
    assert (after[80:] == before[80:]).all() and after[80:].any()
    assert 0x60000022 not in made
    assert made.PixelData == ds.PixelData
    assert not any(element.tag.group == 0x6000 for element in run(path, "basic"))


@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
def test_an_overlay_in_unused_bits_is_cleared(tmp_path: Path, dtype: Any) -> None:
    frames = scan(dtype, False)
    ds = header("CT")
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    bits = overlay(ds, *frames.shape[1:])
    del ds[0x60003000]
    ds[0x60000100].value, ds[0x60000102].value = 16, 15
    dirty = (frames.view(np.uint16) | (bits.astype(np.uint16) << 15)).view(dtype)
    path = write(tmp_path / "in.dcm", ds, dirty, "MONOCHROME2", bits_stored=13)
    made = run(path, "basic")
    stored = np.frombuffer(made.PixelData, dtype).reshape(frames.shape)
    assert (stored == frames).all()
    assert not any(element.tag.group == 0x6000 for element in made)
    assert "BurnedInAnnotation" not in made


def test_a_torn_overlay_is_held(tmp_path: Path) -> None:
    ds = header("CT")
    overlay(ds, 200, 300)
    ds[0x60000010].value = 999
    path = write(tmp_path / "in.dcm", ds, scan(np.int16, False), "MONOCHROME2")
    with pytest.raises(HeldError, match="overlay-unreadable"):
        run(path)
