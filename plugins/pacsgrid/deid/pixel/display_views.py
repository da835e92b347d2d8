"""Render parts of frames as a viewer would show them."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from .ocr_network import Image

_STEP, _STEPS = 20, 16  # least contrast of a stroke in grey levels, and least number of its pixels


def display_views(values: NDArray[np.float32]) -> Iterator[Image]:
    """Yield 8-bit RGB views of stored values, in one or two windows.

    Text may have the extreme values of the range, or values like the anatomy's. If the two are
    far apart, no single window shows both.
    """
    low, high = float(values.min()), float(values.max())
    if low == high:
        return
    yield _window(values, low, high)
    inner_low, inner_high = (float(x) for x in np.percentile(values[::2, ::2], (1, 99)))
    if inner_low < inner_high and (high - low) > 2 * (inner_high - inner_low):
        yield _window(values, inner_low, inner_high)


def _window(values: NDArray[np.float32], low: float, high: float) -> Image:
    stretched = np.clip((values - low) * (255 / (high - low)), 0, 255).astype(np.uint8)
    return stretched if stretched.ndim == 3 else np.repeat(stretched[..., None], 3, axis=2)


def has_strokes(view: Image) -> bool:
    """Return whether an 8-bit view has anything as thin and as sharp as a letter's stroke.

    This is cheap, and saves running the network on most tiles of smooth images.
    """
    kernel = np.ones((15, 15), np.uint8)
    light = cv2.morphologyEx(view.max(axis=2), cv2.MORPH_TOPHAT, kernel)
    strokes = int((light > _STEP).sum())
    if strokes < _STEPS:
        dark = cv2.morphologyEx(view.min(axis=2), cv2.MORPH_BLACKHAT, kernel)
        strokes += int((dark > _STEP).sum())
    return strokes >= _STEPS
