"""Read the boxes of JP2 and MP4 files (ITU-T T.800 Annex I.4, ISO/IEC 14496-12 4.2)."""

from __future__ import annotations

from typing import NamedTuple

from .frame_reader import FrameReader

# Bytes of a box's length and type, which every box begins with.
HEAD = 8


class Box(NamedTuple):
    """A box: its type, and where its contents begin and end."""

    kind: bytes
    start: int
    stop: int


def read_box(data: FrameReader, at: int, end: int) -> Box | None:
    """Return the box at a position; None if it does not fit.

    Parameters
    ----------
    data
        The file.
    at
        Where the box begins.
    end
        Where what contains it ends.
    """
    length, kind, head = data.read_int(at, 4), data.read(at + 4, 4), HEAD
    if length == 1:  # the length follows the type, in eight bytes
        length, head = data.read_int(at + HEAD, 8), HEAD + 8
    stop = at + length if length else end
    return Box(kind, at + head, stop) if at + head <= stop <= end else None
