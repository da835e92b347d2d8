"""Text across the frames of one image: what stands still is looked at once."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .boxes import Box, without_inner
from .text_detection import find_text

_CELL = 16
# A letter's stroke differs from what was there by more than this part of the frame's range.
_CHANGE = 0.06
_MARGIN = 64
_WHOLE = 0.7
_STEADY = 0.3


class StaticTextFinder:
    """Finds text in frames shown in order; only what changed since is shown to the network.

    Nothing is skipped by sampling: each pixel that differs from the one that was looked at leads
    to another look at its surroundings.
    """

    def __init__(self) -> None:
        self._seen: NDArray[Any] | None = None
        self._boxes: list[Box] = []

    def find(self, frame: NDArray[Any]) -> list[Box]:
        """Return the boxes of one frame; see `find_text`."""
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
        # What the margin cuts through was whole when it was seen first.
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
    """Return the boxes that many frames share: burned into all, though missed in some.

    Over moving anatomy a line may escape in one frame that is found in its neighbours.
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
