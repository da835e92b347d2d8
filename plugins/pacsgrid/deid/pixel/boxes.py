"""Rectangles in a frame."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, floor


@dataclass(frozen=True, order=True)
class Box:
    """A rectangle in a frame, in pixels from the upper left corner.

    Parameters
    ----------
    left, top
        The first column and the first row.
    right, bottom
        The column and the row after the last.
    """

    left: int
    top: int
    right: int
    bottom: int

    def clipped(self, rows: int, columns: int) -> Box | None:
        """Return the part of the box inside a frame, or None.

        Parameters
        ----------
        rows, columns
            The size of the frame in pixels.
        """
        box = Box(
            max(0, self.left), max(0, self.top), min(columns, self.right), min(rows, self.bottom)
        )
        return box if box.left < box.right and box.top < box.bottom else None

    def grown(self, across: int, down: int) -> Box:
        """Return the box with a margin on each side.

        Parameters
        ----------
        across
            The margin to the left and right, in pixels.
        down
            The margin above and below, in pixels.
        """
        return Box(self.left - across, self.top - down, self.right + across, self.bottom + down)

    def moved(self, right: int, down: int) -> Box:
        """Return the box moved.

        Parameters
        ----------
        right, down
            How far to move it, in pixels.
        """
        return Box(self.left + right, self.top + down, self.right + right, self.bottom + down)

    def scaled(self, factor: float) -> Box:
        """Return the box in an image scaled by `factor`, rounded outwards."""
        return Box(
            floor(self.left * factor),
            floor(self.top * factor),
            ceil(self.right * factor),
            ceil(self.bottom * factor),
        )

    def contains(self, other: Box) -> bool:
        """Return whether the other box lies inside this one."""
        return (
            self.left <= other.left
            and self.top <= other.top
            and self.right >= other.right
            and self.bottom >= other.bottom
        )

    def overlaps(self, other: Box) -> bool:
        """Return whether the two boxes share a pixel."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )


def without_inner(boxes: Iterable[Box]) -> list[Box]:
    """Return the boxes in order, without those that lie inside another."""
    kept: list[Box] = []
    for box in sorted(set(boxes), key=lambda b: (b.left - b.right) * (b.bottom - b.top)):
        if not any(other.contains(box) for other in kept):
            kept.append(box)
    return sorted(kept)
