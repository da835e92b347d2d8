"""Extend a partly found line of text to its ends, following its colour."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from .boxes import Box
from .ocr_network import Image

_STROKE = 24  # least contrast between a letter and its background, in grey levels
_ALIKE = 28  # most that strokes of one line differ, in grey levels
_LEAST, _MOST = 0.03, 0.6  # share of letter pixels in a part of a line; more is a surface
_STEPS = 24


def extend_line(box: Box, height: float, view: Image) -> Box:
    """Return the box of a horizontal line, widened as far as letters of its colour follow.

    Burned-in text has one colour, but the network loses a line where the background changes.

    Parameters
    ----------
    box
        The part that was found, in pixels of `view`.
    height
        The height of the line in pixels.
    view
        The 8-bit RGB view, rows by columns by 3.
    """
    if box.right - box.left < height:
        return box
    columns = view.shape[1]
    band = view[max(0, box.top) : box.bottom]
    kernel = np.ones((1, max(5, 2 * round(height / 5) + 1)), np.uint8)
    grey = band.max(axis=2)
    light = cv2.morphologyEx(grey, cv2.MORPH_TOPHAT, kernel) > _STROKE
    dark = cv2.morphologyEx(grey, cv2.MORPH_BLACKHAT, kernel) > _STROKE
    strokes = max(light, dark, key=lambda found: int(found[:, box.left : box.right].sum()))
    inside = strokes[:, box.left : box.right]
    if not inside.any():
        return box
    colour = np.median(band[:, box.left : box.right][inside].astype(np.float32), axis=0)
    alike = np.abs(band.astype(np.float32) - colour).max(axis=2) < _ALIKE
    letters = strokes & alike
    step = max(4, round(0.7 * height))
    return Box(
        columns - _follow(letters[:, ::-1], columns - box.left, step),
        box.top,
        _follow(letters, box.right, step),
        box.bottom,
    )


def _follow(letters: NDArray[np.bool_], edge: int, step: int) -> int:
    for _ in range(_STEPS):
        part = letters[:, edge : edge + step]
        if not part.size or not _LEAST <= part.mean() <= _MOST:
            return edge
        edge += int(np.flatnonzero(part.any(axis=0)).max()) + 1
    return edge
