"""Split a header into the bytes of its top-level elements, without decoding any value.

Most files of a study can be handled in this form. A file that cannot is left to pydicom.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any, BinaryIO

from pydicom.filereader import read_dataset
from pydicom.uid import UID_dictionary

from .truncation import (
    ITEM_BYTES,
    ITEM_TAG,
    LONG_VRS,
    MAX_SEQUENCE_DEPTH,
    PIXEL_DATA_TAGS,
    SEQUENCE_DELIMITER,
    UNDEFINED_LENGTH,
    IrregularError,
    check_depth,
    too_deep_error,
)

_PREAMBLE = 132
# Bytes. Headers of single-frame images are seldom longer.
_FIRST_READ = 1 << 14
_ITEM_END = 0xFFFEE00D
_Step = Callable[[bytes, int], tuple[int, int, int]]
_SYNTAX = 0x00020010
# The encodings that are split here (PS3.5 Annex A). Big endian is rare, and a deflated data set has
# to be inflated first: both are left to pydicom.
_IMPLICIT, _EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
_DEFLATED = frozenset({"1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"})
_ENCAPSULATED = frozenset(
    uid for uid, entry in UID_dictionary.items()
    if entry[1] == "Transfer Syntax"
    and (uid.startswith("1.2.840.10008.1.2.4.") or uid == "1.2.840.10008.1.2.5")
) - _DEFLATED  # fmt: skip


_SHORT_ELEMENT = struct.Struct("<HH2sH").unpack_from
_SHORT_VRS = frozenset(
    (b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN",
     b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US")
)  # fmt: skip


_ALL_VRS = _SHORT_VRS | LONG_VRS


class _IncompleteError(Exception):
    """The bytes read so far end inside an element."""


@dataclass(frozen=True)
class EncodedHeader:
    """A file's header, split but not decoded.

    Attributes
    ----------
    syntax
        Transfer syntax UID.
    implicit
        Whether elements are encoded without VR.
    elements
        The bytes of each top-level element by tag; tag, VR and length included.
    pixel_start
        Position of the pixel data element in the file, or the file's size.
    """

    syntax: str
    implicit: bool
    elements: dict[int, bytes]
    pixel_start: int


def parse_header(stream: BinaryIO) -> EncodedHeader | None:
    """Split a file's header into its elements, up to the pixel data.

    Parameters
    ----------
    stream
        The file, from its first byte.

    Returns
    -------
    EncodedHeader or None
        None for a file that pydicom has to read: not DICOM, big endian, deflated, encoded otherwise
        than its transfer syntax says, or with an element twice.

    Raises
    ------
    IrregularError
        An element, item or sequence does not end inside the file.
    HeldError
        ``too-deep``: sequences nest more than `MAX_SEQUENCE_DEPTH` deep.
    """
    size = stream.seek(0, 2)
    stream.seek(0)
    data = stream.read(_FIRST_READ)
    while True:
        try:
            return _parse(data, size)
        except _IncompleteError:
            if len(data) >= size:
                raise IrregularError from None
            data += stream.read(len(data))


def decode_elements(header: EncodedHeader, elements: dict[int, bytes]) -> Any:
    """Decode some elements of a header as a pydicom dataset.

    Parameters
    ----------
    header
        Where the elements come from; tells how they are encoded.
    elements
        Encoded elements by tag.

    Returns
    -------
    pydicom.Dataset

    Raises
    ------
    ValueError
        pydicom finds other elements in these bytes.
    """
    stream = BytesIO(b"".join([elements[tag] for tag in sorted(elements)]))
    ds = read_dataset(stream, header.implicit, True)
    if ds.keys() != elements.keys():
        raise ValueError("the elements do not decode to the tags that they were split into")
    return ds


def _parse(data: bytes, size: int) -> EncodedHeader | None:
    if data[128:132] != b"DICM":
        return None
    at, syntax = _PREAMBLE, ""
    while data[at : at + 2] == b"\x02\x00":
        tag, value, length = _explicit_element(data, at)
        if tag == _SYNTAX:
            syntax = data[value : value + length].rstrip(b"\0 ").decode("latin-1")
        at = value + length
    implicit = syntax == _IMPLICIT
    if not implicit and syntax != _EXPLICIT and syntax not in _ENCAPSULATED:
        return None
    if (data[at + 4 : at + 6] in _ALL_VRS) == implicit:
        return None
    return _parse_elements(data, at, size, syntax, implicit)


def split_elements(data: bytes, implicit: bool) -> dict[int, bytes]:
    """Split an encoded data set, without preamble and file meta, into its elements.

    Parameters
    ----------
    data
        The data set, little endian.
    implicit
        Whether elements are encoded without VR.

    Returns
    -------
    dict of int to bytes
        Encoded elements by tag; empty when an element occurs twice.
    """
    header = _parse_elements(data, 0, len(data), "", implicit)
    return header.elements if header is not None else {}


def _parse_elements(
    data: bytes, at: int, size: int, syntax: str, implicit: bool
) -> EncodedHeader | None:
    step = _implicit_element if implicit else _explicit_element
    elements: dict[int, bytes] = {}
    have = len(data)
    while at < size:
        if not implicit and have - at >= 8:
            # The fast way for nearly all elements; the rest of the loop handles the others.
            group, low, vr, length = _SHORT_ELEMENT(data, at)
            if vr in _SHORT_VRS:
                tag, end = group << 16 | low, at + 8 + length
                if end <= have and tag not in elements:
                    elements[tag] = data[at:end]
                    at = end
                    continue
        if size - at < 8 and len(data) >= size and not data[at:].strip(b"\0"):
            at = size  # some writers pad a file to an even or round length
            break
        tag, value, length = step(data, at)
        if tag in PIXEL_DATA_TAGS:
            break
        end = (
            _skip_items(data, value, _item_step(data, at, step))
            if length == UNDEFINED_LENGTH
            else value + length
        )
        if end > size:
            raise IrregularError
        if end > len(data):
            raise _IncompleteError
        if tag in elements:
            return None
        elements[tag] = data[at:end]
        if data.count(ITEM_BYTES, at, end) > MAX_SEQUENCE_DEPTH:
            check_depth(elements[tag], True, implicit)
        at = end
    return EncodedHeader(syntax, implicit, elements, at)


def _item_step(data: bytes, at: int, step: _Step) -> _Step:
    # UN of undefined length holds implicit VR little endian (PS3.5 6.2.2).
    return _implicit_element if data[at + 4 : at + 6] == b"UN" else step


def _explicit_element(data: bytes, at: int) -> tuple[int, int, int]:
    """Return tag, the value's position and its length."""
    try:
        group, low, vr, short = struct.unpack_from("<HH2sH", data, at)
        if vr not in LONG_VRS:
            if group == 0xFFFE or not (vr.isalpha() and vr.isupper()):
                return _implicit_element(data, at)
            return group << 16 | low, at + 8, short
        return group << 16 | low, at + 12, struct.unpack_from("<L", data, at + 8)[0]
    except struct.error:
        raise _IncompleteError from None


def _implicit_element(data: bytes, at: int) -> tuple[int, int, int]:
    try:
        group, low, length = struct.unpack_from("<HHL", data, at)
    except struct.error:
        raise _IncompleteError from None
    return group << 16 | low, at + 8, length


def _skip_items(data: bytes, at: int, step: _Step, depth: int = 0) -> int:
    if depth > MAX_SEQUENCE_DEPTH:
        raise too_deep_error()
    while True:
        tag, value, length = _implicit_element(data, at)
        if tag == SEQUENCE_DELIMITER:
            return value
        if tag != ITEM_TAG:
            raise IrregularError
        at = _skip_item(data, value, step, depth) if length == UNDEFINED_LENGTH else value + length


def _skip_item(data: bytes, at: int, step: _Step, depth: int) -> int:
    while True:
        tag, value, length = step(data, at)
        if tag == _ITEM_END:
            return value
        if length == UNDEFINED_LENGTH:
            at = _skip_items(data, value, _item_step(data, at, step), depth + 1)
        else:
            at = value + length
