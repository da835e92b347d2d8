"""Find text in a frame: run the network on tiles, views and scales, and verify its marks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .boxes import Box, without_inner
from .display_views import display_views, has_strokes
from .line_extension import extend_line
from .ocr_network import Image, read_line, text_probability

TILE, OVERLAP = 448, 96
# Taller marks, in pixels of a tile, are anatomy, or text that the reduced view shows better.
TALLEST = 100
# Frames with a shorter side, in pixels, hold no legible letter.
SMALLEST_SIDE = 16
_THRESHOLD = 0.3
_UNCLIP = 1.6  # the network marks the core of a line; the full height is this factor away
# A mark of at least this score and aspect ratio is taken for a line without being read. (Drawn
# text scores 0.75 to 0.98, anatomy 0.3 to 0.5; crosses and arrows up to 0.9, but are not long.)
_SURE, _LINE = 0.8, 1.8
_DOUBTFUL, _READABLE, _PLAIN, _CHARACTERS = 0.5, 0.6, 0.9, 2


@dataclass(frozen=True)
class _Mark:
    """An area that the network marked, in pixels of its view."""

    box: Box
    sure: float
    aspect: float
    height: float


def find_text(frame: NDArray[Any]) -> list[Box]:
    """Find the text in one frame.

    Parameters
    ----------
    frame
        Rows by columns, or rows by columns by 3 (RGB), of any integer or floating point type.
        Its values are windowed here.

    Returns
    -------
    list of Box
        Whole lines or words with a margin, in pixels of the frame. Single letters and signs
        away from any line are not taken for text.
    """
    rows, columns = frame.shape[:2]
    if min(rows, columns) < SMALLEST_SIDE:
        return []
    found: list[Box] = []
    for scale in _scales(rows, columns):
        for tile in _tiles(rows, columns, scale):
            part = frame[tile.top : tile.bottom, tile.left : tile.right]
            found += (box.moved(tile.left, tile.top) for box in _find_in_tile(part, scale))
    boxes = (box.clipped(rows, columns) for box in found)
    return without_inner(box for box in boxes if box)


def _scales(rows: int, columns: int) -> list[float]:
    """Return the scales to search: 1 for small print, less for large print, 2 for tiny frames."""
    longer = max(rows, columns)
    if longer <= 320:
        return [2.0, 1.0]
    if longer <= TILE + 64:
        return [1.0]
    return [1.0, TILE / longer]


def _tiles(rows: int, columns: int, scale: float) -> Iterator[Box]:
    if scale < 1 or max(rows, columns) <= TILE + 64:
        yield Box(0, 0, columns, rows)
        return
    for top, bottom in _cuts(rows):
        for left, right in _cuts(columns):
            yield Box(left, top, right, bottom)


def _cuts(length: int) -> list[tuple[int, int]]:
    count = max(1, -(-(length - OVERLAP) // (TILE - OVERLAP)))
    size = min(length, -(-(length + (count - 1) * OVERLAP) // count))
    starts = [min(n * (size - OVERLAP), length - size) for n in range(count)]
    return [(start, start + size) for start in starts]


def _find_in_tile(tile: NDArray[Any], scale: float) -> Iterator[Box]:
    values = tile.astype(np.float32)
    values[~np.isfinite(values)] = 0
    if scale != 1.0:
        kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        values = np.asarray(cv2.resize(values, None, fx=scale, fy=scale, interpolation=kind))
    for view in display_views(values):
        if not has_strokes(view):
            continue
        for mark in _text_among(list(_marks(text_probability(view))), view):
            margin = 2 + round(mark.height / scale / 8)
            box = extend_line(mark.box, mark.height, view)
            yield box.scaled(1 / scale).grown(2 * margin, margin)


def _marks(likely: NDArray[np.float32]) -> Iterator[_Mark]:
    core = (likely > _THRESHOLD).astype(np.uint8)
    rows, columns = core.shape
    contours, _ = cv2.findContours(core, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    for contour in contours:
        (x, y), (width, height), angle = cv2.minAreaRect(contour)
        width, height = width + 1, height + 1
        if width * height < 12:
            continue
        out = width * height * _UNCLIP / (2 * (width + height))
        width, height = width + 2 * out, height + 2 * out
        if min(width, height) > TALLEST:
            continue
        corners = cv2.boxPoints(((x, y), (width, height), angle))
        left, top = np.floor(corners.min(axis=0)).astype(int)
        right, bottom = np.ceil(corners.max(axis=0)).astype(int)
        box = Box(int(left), int(top), int(right), int(bottom)).clipped(rows, columns)
        if box is None:
            continue
        inside = likely[box.top : box.bottom, box.left : box.right]
        marked = core[box.top : box.bottom, box.left : box.right] > 0
        yield _Mark(
            box, float(inside[marked].mean()), max(width, height) / min(width, height),
            min(width, height),
        )  # fmt: skip


def _text_among(marks: list[_Mark], view: Image) -> list[_Mark]:
    """Return the marks that are lines of text, and their neighbours in the same line."""
    text = [mark for mark in marks if _is_line(mark, view)]
    rest = [mark for mark in marks if mark not in text]
    while True:
        joined = [
            mark
            for mark in rest
            if any(
                0.5 < mark.height / other.height < 2
                and other.box.grown(round(other.height), 0).overlaps(mark.box)
                for other in text
            )
        ]
        if not joined:
            return text
        text += joined
        rest = [mark for mark in rest if mark not in joined]


def _is_line(mark: _Mark, view: Image) -> bool:
    if mark.sure >= _SURE and mark.aspect >= _LINE:
        return True
    box, sure = mark.box, _READABLE if mark.sure >= _DOUBTFUL else _PLAIN
    line = view[box.top : box.bottom, box.left : box.right]
    if line.shape[0] > 1.5 * line.shape[1]:
        return any(_reads(np.rot90(line, turn), sure) for turn in (1, 3))
    return _reads(line, sure)


def _reads(line: Image, least: float) -> bool:
    characters, sure = read_line(line)
    return characters >= _CHARACTERS and sure >= least
