"""Where a file's pixel data stands, and whether all of it is there."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

from pydicom.dataset import Dataset
from pydicom.uid import UID

from ..errors import HeldError

_UNDEFINED = 0xFFFFFFFF
_LONG = frozenset({b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"UN"})
PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})


@dataclass(frozen=True)
class Span:
    """The bytes of the pixel data element in its file, header and delimiter included."""

    start: int
    end: int


def pixel_span(stream: BinaryIO, header: Dataset, little: bool, implicit: bool) -> Span | None:
    """Locate the pixel data that starts where the header ended (PS3.5 8, A.4).

    Returns None when the file ends there or something else follows.

    Raises
    ------
    HeldError
        ``truncated``: the file ends before its pixel data does, or lacks it.
    """
    start = stream.tell()
    size = stream.seek(0, 2)
    order = "<" if little else ">"
    stream.seek(start)
    head = stream.read(12)
    tag = 0
    if len(head) >= 8:
        group, element = struct.unpack(order + "HH", head[:4])
        tag = group << 16 | element
    if tag not in PIXELS:
        image = UID(str(header.get("SOPClassUID", ""))).name.endswith("Image Storage")
        if image or (header.get("Rows") and header.get("Columns")):
            raise truncated()
        return None
    if implicit:
        (length,) = struct.unpack(order + "L", head[4:8])
        value = start + 8
    elif head[4:6] in _LONG and len(head) == 12:
        (length,) = struct.unpack(order + "L", head[8:12])
        value = start + 12
    else:
        raise truncated()
    if length == _UNDEFINED:
        return Span(start, _end_of_items(stream, value, size))
    if value + length > size or length < _expected(header):
        raise truncated()
    return Span(start, value + length)


def _end_of_items(stream: BinaryIO, position: int, size: int) -> int:
    while True:
        stream.seek(position)
        head = stream.read(8)
        if len(head) < 8:
            raise truncated()
        group, element, length = struct.unpack("<HHL", head)
        position += 8
        if (group, element) == (0xFFFE, 0xE0DD):
            return position
        if (group, element) != (0xFFFE, 0xE000) or position + length > size:
            raise truncated()
        position += length


def _expected(header: Dataset) -> int:
    try:
        bits = int(header.Rows) * int(header.Columns) * int(header.BitsAllocated)
        bits *= int(header.get("SamplesPerPixel", 1)) * int(header.get("NumberOfFrames", 1) or 1)
        if header.get("PhotometricInterpretation") == "YBR_FULL_422":
            bits = bits * 2 // 3
    except (AttributeError, TypeError, ValueError):
        return 0
    return bits // 8


def truncated() -> HeldError:
    """Return the reason for a file that is not all there."""
    return HeldError(
        "truncated", "the file ends before its last element does; fetch it from its origin again"
    )
