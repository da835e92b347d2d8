"""Text in a frame, found by the detection network of PP-OCR from RapidOCR's wheel.

The network was made for pages and street scenes. Shown an image without any text it takes large
parts of an anatomy for one; each tile is therefore shown with a strip of known text above and
below, which pulls it back to what text is. (Measured on real CT, MR, CR and NM frames: without the
strips it marks 15 of 16, with them 1, and finds more of what was drawn.)
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from .boxes import Box, without_inner

Image = NDArray[np.uint8]

TILE = 512
OVERLAP = 96
STRIP = 32
# Taller than this in a tile it is an anatomy, or text that the reduced view shows better.
TALLEST = 100
# Below this no letter is legible.
SMALLEST_SIDE = 16
_MODEL = "PP-OCRv6_det_small.onnx"
_THRESHOLD = 0.3
_UNCLIP = 1.6  # the network marks the core of a line; the full height is this factor away
_STEP, _STEPS = 20, 16  # grey levels of a stroke against its surroundings, and pixels of it


def find_text(frame: NDArray[Any]) -> list[Box]:
    """Find the text in one frame.

    Parameters
    ----------
    frame
        Rows by columns, or rows by columns by 3 (RGB), of any integer or floating point type: as
        stored, it is stretched here as far as the viewer's window could stretch it.

    Returns
    -------
    list of Box
        Whole lines or words with a margin, in pixels of the frame; empty when there is no text.
    """
    rows, columns = frame.shape[:2]
    if min(rows, columns) < SMALLEST_SIDE:
        return []
    found: list[Box] = []
    for scale in _scales(rows, columns):
        for tile in _tiles(rows, columns, scale):
            part = frame[tile.top : tile.bottom, tile.left : tile.right]
            found += (
                Box(b.left + tile.left, b.top + tile.top, b.right + tile.left, b.bottom + tile.top)
                for b in find_in_tile(part, scale)
            )
    boxes = (box.clipped(rows, columns) for box in found)
    return without_inner(box for box in boxes if box)


def find_in_tile(tile: NDArray[Any], scale: float = 1.0) -> list[Box]:
    """Find the text in a part of a frame that is small enough to be shown whole."""
    values = tile.astype(np.float32)
    values[~np.isfinite(values)] = 0
    if scale != 1.0:
        kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        values = np.asarray(cv2.resize(values, None, fx=scale, fy=scale, interpolation=kind))
    found: list[Box] = []
    for view in views(values):
        if has_strokes(view):
            found += _lines(_probability(view), scale)
    return found


def views(values: NDArray[np.float32]) -> Iterator[Image]:
    """Yield the part as a viewer would show it: 8 bits, in one or two windows.

    Text is burned in at the end of the range as often as within the anatomy's; when the two are
    far apart, no single window shows both.
    """
    low, high = float(values.min()), float(values.max())
    if low == high:
        return
    yield _window(values, low, high)
    inner_low, inner_high = (float(x) for x in np.percentile(values[::2, ::2], (1, 99)))
    if inner_low < inner_high and (high - low) > 1.5 * (inner_high - inner_low):
        yield _window(values, inner_low, inner_high)


def _window(values: NDArray[np.float32], low: float, high: float) -> Image:
    stretched = np.clip((values - low) * (255 / (high - low)), 0, 255).astype(np.uint8)
    return stretched if stretched.ndim == 3 else np.repeat(stretched[..., None], 3, axis=2)


def has_strokes(view: Image) -> bool:
    """Tell whether anything in an 8-bit view is as thin and as sharp as a letter's stroke.

    Cheap: it spares most tiles of smooth images the network.
    """
    grey = view.max(axis=2)
    kernel = np.ones((15, 15), np.uint8)
    strokes = int((cv2.morphologyEx(grey, cv2.MORPH_TOPHAT, kernel) > _STEP).sum())
    if strokes < _STEPS:
        dark = cv2.morphologyEx(view.min(axis=2), cv2.MORPH_BLACKHAT, kernel)
        strokes += int((dark > _STEP).sum())
    return strokes >= _STEPS


def _scales(rows: int, columns: int) -> list[float]:
    """Native size for small print; reduced for large print, enlarged for tiny frames."""
    longer = max(rows, columns)
    if longer <= 320:
        return [2.0]
    if longer <= 720:
        return [1.0]
    return [1.0, 640 / longer]


def _tiles(rows: int, columns: int, scale: float) -> Iterator[Box]:
    if scale < 1 or max(rows, columns) <= 720:
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


@lru_cache(maxsize=1)
def _session() -> Any:
    package = find_spec("rapidocr")
    if package is None or not package.submodule_search_locations:
        raise RuntimeError("the package rapidocr is not installed; run `make test` or `make demo`")
    options = onnxruntime.SessionOptions()
    # A worker uses all cores by several processes; threads here would only fight.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    model = Path(package.submodule_search_locations[0]) / "models" / _MODEL
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


@lru_cache(maxsize=8)
def _strip(columns: int) -> Image:
    strip = np.zeros((STRIP, columns, 3), np.uint8)
    for left in range(4, max(5, columns - 60), 130):
        cv2.putText(
            strip, "ABC 123", (left, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 1,
            cv2.LINE_AA,
        )  # fmt: skip
    return strip


def _probability(view: Image) -> NDArray[np.float32]:
    """Return for each pixel how likely it lies in a line of text."""
    rows, columns = view.shape[:2]
    high, wide = -(-(rows + 2 * STRIP) // 32) * 32, -(-columns // 32) * 32
    shown = np.zeros((high, wide, 3), np.uint8)
    shown[:STRIP, :columns] = shown[STRIP + rows : 2 * STRIP + rows, :columns] = _strip(columns)
    shown[STRIP : STRIP + rows, :columns] = view
    blob = (shown.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)[None]
    session = _session()
    answer = session.run(None, {session.get_inputs()[0].name: blob})[0][0, 0]
    result: NDArray[np.float32] = answer[STRIP : STRIP + rows, :columns]
    return result


def _lines(probability: NDArray[np.float32], scale: float) -> Iterator[Box]:
    mask = (probability > _THRESHOLD).astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
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
        left, top = np.floor(corners.min(axis=0) / scale).astype(int)
        right, bottom = np.ceil(corners.max(axis=0) / scale).astype(int)
        margin = 2 + round(min(width, height) / scale / 8)
        yield Box(int(left), int(top), int(right), int(bottom)).grown(2 * margin, margin)
