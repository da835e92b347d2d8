"""A part of a frame as a viewer would show it."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from .ocr_network import Image

_STEP, _STEPS = 20, 16  # grey levels of a stroke against its surroundings, and pixels of it


def display_views(values: NDArray[np.float32]) -> Iterator[Image]:
    """Yield 8-bit RGB views of stored values, in one or two windows.

    Text is burned in at the end of the range as often as within the anatomy's; when the two are
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
    """Tell whether anything in an 8-bit view is as thin and as sharp as a letter's stroke.

    Cheap: it spares most tiles of smooth images the network.
    """
    kernel = np.ones((15, 15), np.uint8)
    light = cv2.morphologyEx(view.max(axis=2), cv2.MORPH_TOPHAT, kernel)
    strokes = int((light > _STEP).sum())
    if strokes < _STEPS:
        dark = cv2.morphologyEx(view.min(axis=2), cv2.MORPH_BLACKHAT, kernel)
        strokes += int((dark > _STEP).sum())
    return strokes >= _STEPS
