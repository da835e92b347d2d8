"""Detect truncated headers, which pydicom accepts silently."""

from __future__ import annotations

import struct
from typing import BinaryIO

from ..errors import HeldError

PIXEL_DATA_TAGS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
UNDEFINED_LENGTH = 0xFFFFFFFF
# Explicit VRs with a 32-bit length (PS3.5 7.1.2).
LONG_VRS = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)
ITEM_BYTES = b"\xfe\xff\x00\xe0"
ITEM_TAG, _ITEM_DELIMITER, SEQUENCE_DELIMITER = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_PREAMBLE = 132
# Nested sequences. Real objects have about ten levels; every reader here goes down this far.
MAX_SEQUENCE_DEPTH = 64


class IrregularError(HeldError):
    """The elements do not follow PS3.5. `regularise` reads the file, or tells what is wrong."""

    def __init__(self, kind: str = "") -> None:
        super().__init__(
            "unreadable",
            f"the header cannot be read ({kind or 'its elements do not follow PS3.5'}); have the "
            "file's origin write it anew",
        )


def truncated_error() -> HeldError:
    """Return the reason to hold a file that ends early."""
    return HeldError(
        "truncated",
        "the file ends before its last element does; fetch it from its origin again",
    )


def too_deep_error() -> HeldError:
    """Return the reason to hold a file whose sequences nest too deep."""
    return HeldError(
        "too-deep",
        f"sequences nest more than {MAX_SEQUENCE_DEPTH} levels deep, which no DICOM object needs; "
        "check the device or program that wrote the file",
    )


class ElementWalker:
    """Steps over a file's elements by their lengths alone.

    Parameters
    ----------
    stream
        The file.

    Attributes
    ----------
    size
        Its length in bytes.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.size = stream.seek(0, 2)

    def _read(self, position: int, count: int) -> bytes:
        self._stream.seek(position)
        data = self._stream.read(count)
        if len(data) < count:
            raise IrregularError
        return data

    def read_vr(self, at: int) -> bytes:
        """Return the two bytes where an element has its VR, if it has one."""
        self._stream.seek(at + 4)
        return self._stream.read(2)

    def read_element(self, at: int, little: bool, implicit: bool) -> tuple[int, bytes, int, int]:
        """Read the head of an element.

        Parameters
        ----------
        at
            Position of the element in the file.
        little, implicit
            Its byte order, and whether it has no VR.

        Returns
        -------
        tuple
            Tag, VR (empty when there is none), position of the value, length of the value.

        Raises
        ------
        IrregularError
            The file ends inside the head.
        """
        order = "<" if little else ">"
        head = self._read(at, 8)
        group, low = struct.unpack(order + "HH", head[:4])
        tag, vr = group << 16 | low, head[4:6]
        if implicit or group == 0xFFFE or not (vr.isalpha() and vr.isupper()):
            return tag, b"", at + 8, struct.unpack(order + "L", head[4:8])[0]
        if vr not in LONG_VRS:
            return tag, vr, at + 8, struct.unpack(order + "H", head[6:8])[0]
        return tag, vr, at + 12, struct.unpack(order + "L", self._read(at + 8, 4))[0]

    def skip_dataset(self, at: int, little: bool, implicit: bool, depth: int = 0) -> int:
        """Step over a data set, up to the pixel data or the end of the file or item.

        Parameters
        ----------
        at
            Position of its first element.
        little, implicit
            Its byte order, and whether its elements have no VR.
        depth
            Sequences around it.

        Returns
        -------
        int
            Position behind it, or of the pixel data.

        Raises
        ------
        IrregularError
            An element, item or sequence does not end inside the file.
        HeldError
            ``too-deep``.
        """
        nested = depth > 0
        if depth > MAX_SEQUENCE_DEPTH:
            raise too_deep_error()
        while True:
            left = self.size - at
            # Some writers pad a file to an even or round length.
            if not nested and left < 8 and not self._read(at, left).strip(b"\0"):
                return at
            tag, vr, value, length = self.read_element(at, little, implicit)
            if nested and tag == _ITEM_DELIMITER:
                return value
            if not nested and tag in PIXEL_DATA_TAGS:
                return at
            if length == UNDEFINED_LENGTH:
                # UN of undefined length holds implicit VR little endian (PS3.5 6.2.2).
                unknown = vr == b"UN"
                at = self._items(value, little or unknown, implicit or unknown, depth)
            else:
                at = value + length
            if at > self.size:
                raise IrregularError

    def _items(self, at: int, little: bool, implicit: bool, depth: int) -> int:
        while True:
            tag, _, value, length = self.read_element(at, little, implicit)
            if tag == SEQUENCE_DELIMITER:
                return value
            if tag != ITEM_TAG:
                raise IrregularError
            if length == UNDEFINED_LENGTH:
                at = self.skip_dataset(value, little, implicit, depth + 1)
            else:
                at = value + length


def check_complete(stream: BinaryIO, little: bool, implicit: bool) -> int:
    """Check that every element up to the pixel data is complete (PS3.5 7, PS3.10 7.1).

    A file cut exactly between two elements shows no sign of it here. `locate_pixels` then holds an
    image for its missing pixels.

    Parameters
    ----------
    stream
        The file, with preamble and file meta information.
    little, implicit
        Byte order of the data set, and whether its elements have no VR.

    Returns
    -------
    int
        Position of the pixel data element, or the file's size.

    Raises
    ------
    IrregularError
        An element, item or sequence does not end inside the file.
    HeldError
        ``too-deep``.
    """
    walker = ElementWalker(stream)
    at = _PREAMBLE
    while at < walker.size:
        tag, _, value, length = walker.read_element(at, little=True, implicit=False)
        if tag >> 16 != 2:
            break
        at = value + length
    vr = walker.read_vr(at)
    if vr and (vr.isalpha() and vr.isupper()) == implicit:
        raise IrregularError  # encoded otherwise than the transfer syntax says
    start, at = at, walker.skip_dataset(at, little, implicit)
    stream.seek(start)
    check_depth(stream.read(at - start), little, implicit)
    return at


def check_depth(data: bytes, little: bool, implicit: bool) -> None:
    """Check that sequences do not nest more than `MAX_SEQUENCE_DEPTH` deep.

    Sequences of a defined length, which other checks step over, are searched as well.

    Parameters
    ----------
    data
        Encoded elements.
    little, implicit
        Their byte order, and whether they have no VR.

    Raises
    ------
    HeldError
        ``too-deep``.
    """
    order = "<" if little else ">"
    item = ITEM_BYTES if little else b"\xff\xfe\xe0\x00"
    if data.count(item) <= MAX_SEQUENCE_DEPTH:
        return
    # Ends of the sequences and items around a position; beyond the data for undefined lengths.
    ends: list[int] = []
    at = 0
    while at + 8 <= len(data):
        while ends and at >= ends[-1]:
            ends.pop()
        group, low, length = struct.unpack_from(order + "HHL", data, at)
        tag, vr, value = group << 16 | low, data[at + 4 : at + 6], at + 8
        if group != 0xFFFE and not implicit and vr.isalpha() and vr.isupper():
            if vr in LONG_VRS and at + 12 <= len(data):
                value, length = at + 12, struct.unpack_from(order + "L", data, at + 8)[0]
            else:
                length = struct.unpack_from(order + "H", data, at + 6)[0]
        at = value
        if tag in (_ITEM_DELIMITER, SEQUENCE_DELIMITER):
            if ends:
                ends.pop()
        elif tag == ITEM_TAG or data.startswith(item, value):
            ends.append(len(data) + 1 if length == UNDEFINED_LENGTH else value + length)
            if len(ends) > 2 * MAX_SEQUENCE_DEPTH:
                raise too_deep_error()
        else:
            at = value + length
