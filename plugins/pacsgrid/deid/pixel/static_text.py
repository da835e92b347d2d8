"""Find text across the frames of one image, searching again only what changed."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .boxes import Box, without_inner
from .text_detection import find_text

_CELL = 16
# A pixel has changed if it differs by more than this part of the frame's range.
_CHANGE = 0.06
_MARGIN = 64
_WHOLE = 0.7
_STEADY = 0.3


class StaticTextFinder:
    """A search for text in successive frames that runs the network only on changed areas.

    No frame is skipped: each pixel that differs from the last one searched leads to a new search
    of its surroundings.
    """

    def __init__(self) -> None:
        self._seen: NDArray[Any] | None = None
        self._boxes: list[Box] = []

    def find(self, frame: NDArray[Any]) -> list[Box]:
        """Return the boxes of text in the next frame; see `find_text`."""
        if self._seen is None or self._seen.shape != frame.shape:
            return self._search_all(frame)
        changed = self._changed(frame)
        if changed is None:
            return self._boxes
        rows, columns = frame.shape[:2]
        part = changed.grown(_MARGIN, _MARGIN).clipped(rows, columns)
        assert part is not None
        if (part.right - part.left) * (part.bottom - part.top) > _WHOLE * rows * columns:
            return self._search_all(frame)
        crop = frame[part.top : part.bottom, part.left : part.right]
        found = (box.moved(part.left, part.top) for box in find_text(crop))
        # Boxes that reach outside the changed area are kept from the earlier search.
        kept = (box for box in self._boxes if not changed.contains(box))
        self._boxes = without_inner([*kept, *found])
        self._seen[part.top : part.bottom, part.left : part.right] = crop
        return self._boxes

    def _search_all(self, frame: NDArray[Any]) -> list[Box]:
        self._seen = frame.copy()
        self._boxes = find_text(frame)
        return self._boxes

    def _changed(self, frame: NDArray[Any]) -> Box | None:
        assert self._seen is not None
        seen = self._seen
        if np.array_equal(seen, frame):
            return None
        before, after = seen.astype(np.float32), frame.astype(np.float32)
        moved = np.abs(after - before)
        if moved.ndim == 3:
            moved = moved.max(axis=2)
        rows, columns = np.nonzero(moved > _CHANGE * float(before.max() - before.min()))
        if not rows.size:
            return None
        return Box(int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)


def shared_boxes(per_frame: list[list[Box]], rows: int, columns: int) -> list[Box]:
    """Return the boxes that many frames share, to be blanked in all of them.

    Over moving anatomy the search may miss a line in one frame and find it in others.

    Parameters
    ----------
    per_frame
        The boxes found in each frame.
    rows, columns
        The size of a frame in pixels.
    """
    if len(per_frame) < 4:
        return []
    seen = np.zeros((-(-rows // _CELL), -(-columns // _CELL)), np.int32)
    for boxes in per_frame:
        here = np.zeros(seen.shape, np.uint8)
        for box in boxes:
            cv2.rectangle(
                here,
                (box.left // _CELL, box.top // _CELL),
                ((box.right - 1) // _CELL, (box.bottom - 1) // _CELL),
                1,
                -1,
            )
        seen += here
    often = seen >= _STEADY * len(per_frame)
    found = set()
    for box in {box for boxes in per_frame for box in boxes}:
        part = often[
            box.top // _CELL : (box.bottom - 1) // _CELL + 1,
            box.left // _CELL : (box.right - 1) // _CELL + 1,
        ]
        if part.mean() > 0.8:
            found.add(box)
    return without_inner(found)
