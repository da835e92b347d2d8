"""The comparison that `make bench-conversion` rests on: what it must see, it sees."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from scored.conversion import Volume, compare

VOXELS = np.arange(4 * 3 * 2, dtype="<i2").reshape((4, 3, 2), order="F")
ONE = Volume(
    np.array([[-2.0, 0, 0, 10], [0, 2.0, 0, 20], [0, 0, 3.0, 30]]),
    (4, 3, 2),
    (4, "1.0", "0.0"),
    VOXELS.tobytes("F"),
    {"EchoTime": 0.03, "SliceTiming": [0, 0.5], "ProtocolName": "knee", "StationName": "MR1"},
    "0 1000",
    "0 1 0 0 0 0",
)


def _flipped(axis: int) -> bytes:
    return np.flip(VOXELS, axis).tobytes("F")


def test_equal_conversions_do_not_differ() -> None:
    made = compare({"x": ONE}, {"x": replace(ONE, sidecar={**ONE.sidecar, "StationName": "MR2"})})
    assert not (made.physics or made.texts or made.mirrored)


@pytest.mark.parametrize(
    ("other", "seen"),
    [
        (replace(ONE, voxels=bytes(48)), ["voxels"]),
        (replace(ONE, coding=(4, "2.0", "0.0")), ["shape or scaling"]),
        (replace(ONE, shape=(4, 6), voxels=ONE.voxels), ["shape or scaling"]),
        (replace(ONE, affine=ONE.affine + 0.01), ["affine"]),
        (replace(ONE, bval="0 0"), ["bval"]),
        (replace(ONE, bvec="0 0 0 0 0 0"), ["bvec"]),
        (replace(ONE, sidecar={**ONE.sidecar, "SliceTiming": [0.5, 0]}), ["SliceTiming"]),
        (replace(ONE, sidecar={"SliceTiming": [0, 0.5], "ProtocolName": "knee"}), ["EchoTime"]),
    ],
)
def test_what_differs_is_named(other: Volume, seen: list[str]) -> None:
    made = compare({"x": ONE}, {"x": other})
    assert (made.physics, made.texts, made.mirrored) == (seen, [], False)


def test_a_text_that_differs_is_no_physics() -> None:
    made = compare({"x": ONE}, {"x": replace(ONE, sidecar={**ONE.sidecar, "ProtocolName": "*"})})
    assert (made.physics, made.texts) == ([], ["ProtocolName"])


def test_a_lost_image_is_seen() -> None:
    assert compare({"x": ONE, "x_ADC": ONE}, {"x": ONE}).physics == [
        "images ['x', 'x_ADC'] -> ['x']"
    ]
    assert compare({"x": ONE}, {}).physics == ["images ['x'] -> []"]


@pytest.mark.parametrize("axis", range(3))
def test_an_image_in_a_mirror_is_seen(axis: int) -> None:
    assert compare({"x": ONE}, {"x": replace(ONE, voxels=_flipped(axis))}).mirrored
    signs = np.ones((3, 4))
    signs[:, axis] = -1
    assert compare({"x": ONE}, {"x": replace(ONE, affine=ONE.affine * signs)}).mirrored
