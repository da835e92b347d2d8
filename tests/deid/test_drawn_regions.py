"""What a steward draws is blank in every layout of pixels, and the checker sees when it is not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.pixels import iter_pixels
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from pacsgrid.deid import Checker, Pseudonyms, collect_identifiers, load_profile
from pacsgrid.deid.anonymise import Anonymiser
from pacsgrid.deid.image_traits import matching_rules, read_image
from pacsgrid.errors import HeldError
from pacsgrid.model import AnonymisedInstance
from pacsgrid.review_model import BlankRegion, ImageTraits, Ruling
from support.images import header, write

PSEUDONYMS = Pseudonyms(os.urandom(32), "test")
EVERY, SECOND = BlankRegion(4, 6, 40, 20), BlankRegion(50, 30, 62, 44, frame=1)
BEYOND = BlankRegion(90, 60, 500, 500)


def _made(path: Path, out: Path, regions: tuple[BlankRegion, ...]) -> AnonymisedInstance:
    anonymiser = Anonymiser(PSEUDONYMS, load_profile("basic"), collect_identifiers([path]))
    return anonymiser.anonymise(path, out, None, {"secondary-capture"}, regions)


def _frames(dtype: Any, colour: bool, count: int) -> NDArray[Any]:
    y, x = np.mgrid[0:70, 0:100]
    top = 100 if np.dtype(dtype).itemsize == 1 else 900
    frame = (top + top * np.sin(x / 19) * np.cos(y / 23)).astype(dtype)
    if colour:
        frame = np.stack((frame, frame // 2, frame // 3), axis=-1).astype(dtype)
    return np.stack([frame + number for number in range(count)]).astype(dtype)


LAYOUTS: list[tuple[str, Any, str, UID, int]] = [
    ("grey of 8 bits", np.uint8, "MONOCHROME2", ExplicitVRLittleEndian, 3),
    ("white is low", np.uint8, "MONOCHROME1", ExplicitVRLittleEndian, 2),
    ("grey of 16 bits", np.uint16, "MONOCHROME2", ExplicitVRLittleEndian, 3),
    ("big endian", np.uint16, "MONOCHROME2", ExplicitVRBigEndian, 2),
    ("colour", np.uint8, "RGB", ExplicitVRLittleEndian, 2),
    ("RLE", np.uint16, "MONOCHROME2", RLELossless, 2),
    ("JPEG 2000", np.uint8, "RGB", JPEG2000Lossless, 2),
    ("JPEG", np.uint8, "RGB", JPEGBaseline8Bit, 2),
]


@pytest.mark.parametrize(("name", "dtype", "photometric", "syntax", "count"), LAYOUTS)
def test_drawn_regions_are_blank_and_the_rest_is_as_it_was(
    tmp_path: Path, name: str, dtype: Any, photometric: str, syntax: UID, count: int
) -> None:
    path = tmp_path / "in.dcm"
    write(path, header("OT"), _frames(dtype, photometric == "RGB", count), photometric, syntax)
    regions = (EVERY, SECOND, BEYOND)
    made = _made(path, tmp_path / "out", regions)
    Checker(load_profile("basic")).check(path, made.path, regions)
    pairs = zip(iter_pixels(path), iter_pixels(made.path), strict=True)
    for number, (before, after) in enumerate(pairs):
        inside = np.zeros(before.shape[:2], bool)
        for region in regions:
            if region.frame in (None, number):
                part = (slice(region.top, region.bottom), slice(region.left, region.right))
                inside[part] = True
                assert (after[part] == after[part][0, 0]).all(), name
        assert np.array_equal(after[~inside], before[~inside]), name
        assert (after != before).any(), name
    assert dcmread(made.path).BurnedInAnnotation == "NO"


def test_the_checker_refuses_what_is_not_blank_and_what_changed_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "in.dcm"
    write(path, header("OT"), _frames(np.uint8, False, 2), "MONOCHROME2")
    made = _made(path, tmp_path / "out", (EVERY,))
    checker = Checker(load_profile("basic"))
    checker.check(path, made.path, (EVERY,))
    with pytest.raises(HeldError, match="frame 2 still shows something"):
        checker.check(path, made.path, (EVERY, SECOND))
    ds = dcmread(made.path)
    pixels = ds.pixel_array.copy()
    for frame, row, column, why in ((1, 8, 10, "still shows"), (0, 60, 90, "differs")):
        spoiled = pixels.copy()
        spoiled[frame, row, column] += 7
        ds.PixelData = spoiled.tobytes()
        ds.save_as(made.path)
        with pytest.raises(HeldError, match=why) as refused:
            checker.check(path, made.path, (EVERY,))
        assert refused.value.code == "pixels-changed"


def test_an_approval_overrules_its_own_reason_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "in.dcm"
    ds = header("OT")
    ds.BurnedInAnnotation = "YES"
    write(path, ds, _frames(np.uint8, False, 1), "MONOCHROME2")
    profile = load_profile("basic").replace(hold_burned_in=True)
    anonymiser = Anonymiser(PSEUDONYMS, profile, collect_identifiers([path]))
    for overruled, code in (
        ((), "secondary-capture"),
        (("burned-in",), "secondary-capture"),
        (("secondary-capture",), "burned-in"),
    ):
        with pytest.raises(HeldError) as held:
            anonymiser.anonymise(path, tmp_path / "out", None, overruled)
        assert held.value.code == code
    assert anonymiser.anonymise(path, tmp_path / "out", None, ("secondary-capture", "burned-in"))


def test_traits_hold_no_name_and_still_tell_what_is_alike(tmp_path: Path) -> None:
    def traits(name: str, **values: str) -> ImageTraits:
        ds = header("OT")
        for keyword, value in values.items():
            setattr(ds, keyword, value)
        path = tmp_path / name
        write(path, ds, _frames(np.uint8, False, 1), "MONOCHROME2")
        return read_image(path, PSEUDONYMS).traits

    named = {"SeriesDescription": "Screen Novakova", "ManufacturerModelName": "Z. Nováková"}
    one, same = traits("a.dcm", **named), traits("b.dcm", **named)
    assert one == same and one.description.startswith("#") and one.model.startswith("#")
    assert one.description != one.model and "ovak" not in str(one)
    plain = traits("c.dcm", SeriesDescription="Screen Save")
    assert (plain.description, plain.manufacturer, plain.rows, plain.columns) == (
        "Screen Save", "ACME", 70, 100,
    )  # fmt: skip
    odd = traits("d.dcm", SeriesDescription="#0123456789ab")
    assert odd.description.startswith("#") and odd.description != "#0123456789ab"
    rule = Ruling(1, "approve", frozenset({"secondary-capture"}), plain)
    other = Ruling(2, "approve", frozenset({"secondary-capture"}), ImageTraits(rows=71))
    assert matching_rules(tmp_path / "c.dcm", (rule, other), PSEUDONYMS) == (rule,)
    assert matching_rules(tmp_path / "a.dcm", (rule, other), PSEUDONYMS) == ()
    (tmp_path / "broken.dcm").write_bytes(b"no DICOM")
    assert read_image(tmp_path / "broken.dcm", PSEUDONYMS).traits == ImageTraits()
    assert matching_rules(tmp_path / "broken.dcm", (rule,), PSEUDONYMS) == ()
