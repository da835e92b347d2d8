"""The text detector on drawn text, and on images without text."""

from __future__ import annotations

import random

import numpy as np
import pytest
from pydicom.data import get_testdata_file
from pydicom.pixels import pixel_array

from pacsgrid.deid.pixel import find_text
from support.burned_in import draw


def covered(boxes, mask: np.ndarray) -> bool:
    hidden = np.zeros(mask.shape, bool)
    for box in boxes:
        hidden[box.top : box.bottom, box.left : box.right] = True
    return bool(hidden[mask].all())


@pytest.mark.parametrize("size", [10, 16, 28])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
def test_drawn_text_lies_in_the_boxes(size: int, dtype: type) -> None:
    rng = random.Random(size)
    noise = np.random.default_rng(1).normal(60, 6, (400, 512)).clip(0, 255)
    frame = noise.astype(dtype)
    drawn = [draw(frame, rng, size, 0.8, place, False) for place in ("tl", "br", "tr")]
    boxes = find_text(frame)
    assert all(covered(boxes, one.mask) for one in drawn)
    assert all(box.bottom - box.top < 4 * size for box in boxes)


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm", "examples_overlay.dcm"])
def test_images_without_text_have_none(name: str) -> None:
    frame = pixel_array(get_testdata_file(name, download=False))
    assert find_text(frame) == []


@pytest.mark.parametrize("value", [0, 255])
def test_a_uniform_frame_and_a_tiny_one_have_none(value: int) -> None:
    assert find_text(np.full((300, 300), value, np.uint8)) == []
    assert find_text(np.random.default_rng(0).integers(0, 255, (10, 10), np.uint8)) == []


def test_text_that_is_there_already_is_found() -> None:
    boxes = find_text(pixel_array(get_testdata_file("examples_rgb_color.dcm", download=False)))
    assert len(boxes) >= 8
