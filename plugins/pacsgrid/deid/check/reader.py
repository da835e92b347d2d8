"""Read a DICOM file's elements as bytes. The checker's own parser.

It shares no code with the parser of the anonymiser, so that a bug in one cannot hide from the
other.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Literal

from pydicom.datadict import DicomDictionary, dictionary_VR

Items = dict[int, "Element"]

_LONG = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"))
_VRS = {
    vr.encode(): vr
    for vr in (
        *_LONG, "AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "PN",
        "SH", "SL", "SS", "ST", "TM", "UI", "UL", "US",
    )
}  # fmt: skip
_SHORT = {code: vr for code, vr in _VRS.items() if vr not in _LONG}
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_PIXELS = frozenset((0x7FE00008, 0x7FE00009, 0x7FE00010))
_IMPLICIT, _DEFLATED = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99"
_EXPLICIT, _ENCAPSULATED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4."
_BIG = "1.2.840.10008.1.2.2"
_FIRST_READ = 1 << 14
# How deep sequences may nest; objects of PS3.3 nest far less.
_MOST_DEPTH = 64
# The first element of a data set is shorter than this, in bytes.
_FIRST_VALUE = 1 << 16
# Greatest length in bytes of an inflated data set, plus one.
_INFLATED = (1 << 26) + 1


class MalformedError(Exception):
    """Raised for bytes that do not follow PS3.5 or PS3.10. The text quotes none of them."""


class _IncompleteError(Exception):
    """Raised when more bytes of the file are needed."""


class Element:
    """One data element.

    Parameters
    ----------
    vr
        The value representation.
    value
        The value's bytes; empty for a sequence.
    items
        The items of a sequence, None for other elements.
    """

    __slots__ = ("items", "value", "vr")

    def __init__(self, vr: str, value: bytes, items: list[Items] | None = None) -> None:
        self.vr = vr
        self.value = value
        self.items = items


@dataclass(frozen=True, slots=True)
class Header:
    """A file's header: everything before the pixel data.

    Attributes
    ----------
    preamble
        The 128 bytes of the preamble, empty without one.
    meta
        The file meta information.
    elements
        The elements of the data set.
    syntax
        The transfer syntax UID in the file meta information.
    size
        The file's length in bytes.
    pixels
        The position of the pixel data element in the file, None without one.
    pixel_value
        The position of its value.
    pixel_length
        The value's length in bytes, None when it is encapsulated (PS3.5 A.4).
    start
        The position of the data set.
    native
        The transfer syntax that the data set follows, if it is not `syntax`.
    """

    preamble: bytes
    meta: Items
    elements: Items
    syntax: str
    size: int
    pixels: int | None
    pixel_value: int = 0
    pixel_length: int | None = None
    start: int = 0
    native: str = ""

    @property
    def little(self) -> bool:
        """Whether the data set is little endian."""
        return (self.native or self.syntax) != _BIG

    def number(self, tag: int) -> int:
        """Return the first value of a US element, 0 without one."""
        element = self.elements.get(tag)
        order: Literal["little", "big"] = "little" if self.little else "big"
        return int.from_bytes(element.value[:2], order) if element is not None else 0


def read_header(path: Path) -> Header:
    """Read a file's preamble, file meta and elements up to its pixel data.

    Raises
    ------
    MalformedError
        The file is not DICOM, or an element exceeds it.
    OSError
        The file cannot be read.
    """
    with open(path, "rb", buffering=0) as stream:
        return read_header_stream(stream)


def read_header_stream(stream: BinaryIO) -> Header:
    """Read the header of an open file; see `read_header`."""
    size = stream.seek(0, 2)
    stream.seek(0)
    data = stream.read(_FIRST_READ)
    while True:
        try:
            return _header(data, size)
        except _IncompleteError:
            if len(data) >= size:
                raise MalformedError("the file ends inside an element") from None
            data += stream.read(max(len(data), _FIRST_READ))


def _header(data: bytes, size: int) -> Header:
    bare = data[128:132] != b"DICM"
    meta: Items = {}
    at = 0 if bare else 132
    while data[at : at + 2] == b"\x02\x00":
        tag, vr, start, length = _explicit(data, at, "<")
        at = start + length
        if at > len(data):
            raise _IncompleteError
        meta[tag] = Element(vr, data[start:at])
    syntax = meta[0x00020010].value.rstrip(b"\0 ").decode("latin-1") if 0x00020010 in meta else ""
    if syntax == _DEFLATED:
        if len(data) < size:
            raise _IncompleteError
        body = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data[at:], _INFLATED)
        if len(body) == _INFLATED:
            raise MalformedError("the deflated data set is too large to be read")
        elements, end = _dataset(body, 0, len(body), "<", True, 0)
        # Positions in the inflated data set are not positions in the file.
        if bare and not {0x00080016, 0x0020000D} <= elements.keys():
            raise MalformedError("no DICM prefix")
        preamble = b"" if bare else data[:128]
        return Header(preamble, meta, elements, syntax, size, None, start=at)
    order, explicit = ">" if syntax == _BIG else "<", syntax != _IMPLICIT
    begins, native, preamble = at, "", b"" if bare else data[:128]
    told = _detect_encoding(data, at)
    if bare and (told is None or not _begins(data, at, told[0])):
        raise MalformedError("no DICM prefix")
    if told is not None and (bare or told != (order, explicit)):
        # The first element shows another encoding than the file meta declares.
        order, explicit = told
        if not syntax.startswith(_ENCAPSULATED):
            native = _BIG if order == ">" else _EXPLICIT if explicit else _IMPLICIT
    elements, end = _dataset(data, at, size, order, explicit, 0)
    if bare and not {0x00080016, 0x0020000D} <= elements.keys():
        raise MalformedError("no DICM prefix")
    if end >= size:
        return Header(preamble, meta, elements, syntax, size, None, start=begins, native=native)
    if end + 12 > len(data):
        raise _IncompleteError
    _, _, start, length = (_explicit if explicit else _implicit)(data, end, order)
    return Header(
        preamble, meta, elements, syntax, size, end, start,
        None if length == _UNDEFINED else length, begins, native,
    )  # fmt: skip


def _detect_encoding(data: bytes, at: int) -> tuple[str, bool] | None:
    """Return byte order and whether VRs are explicit by the first element; None if unclear."""
    head = data[at : at + 8]
    if len(head) < 8:
        return None
    vr = _VRS.get(head[4:6])
    for order in "<>":
        group, low = struct.unpack(order + "HH", head[:4])
        if vr is not None and group <= 0xFF:
            known = _known_vr(group << 16 | low)
            if known == vr or (low == 0 and vr == "UL") or vr == "UN":
                return order, True
    group, _, length = struct.unpack("<HHL", head)
    if group <= 0xFF and length < _FIRST_VALUE and not head[4:6].isalpha():
        return "<", False
    return None


def _begins(data: bytes, at: int, order: str) -> bool:
    """Return whether a data set may begin like this: with group 8, or group 4 of a DICOMDIR."""
    group, low = struct.unpack_from(order + "HH", data, at)
    return bool(group == 4 or (group == 8 and low <= 0x20))


def as_part10(path: Path, header: Header) -> Path | BytesIO:
    """Return a form of the file that other readers accept.

    Parameters
    ----------
    path
        The file.
    header
        Its header.

    Returns
    -------
    Path or BytesIO
        The path itself, or the data set with the file meta information that it lacks.
    """
    if not header.native and header.preamble:
        return path
    syntax = (header.native or header.syntax).encode()
    syntax += b"\0" * (len(syntax) % 2)
    meta = struct.pack("<HH2sH", 2, 0x10, b"UI", len(syntax)) + syntax
    length = struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(meta))
    rest = path.read_bytes()[header.start :]
    return BytesIO(bytes(128) + b"DICM" + length + meta + rest)


def _explicit(data: bytes, at: int, order: str) -> tuple[int, str, int, int]:
    head = data[at : at + 8]
    if len(head) < 8:
        raise _IncompleteError
    group, low, code, short = struct.unpack(order + "HH2sH", head)
    tag = group << 16 | low
    vr = _VRS.get(code)
    if vr is None:
        if group == 0xFFFE or not (code.isalpha() and code.isupper()):
            return _implicit(data, at, order)
        # A VR of a later edition has a 32-bit length (PS3.5 7.1.2).
        vr = "UN"
    elif vr not in _LONG:
        return tag, vr, at + 8, short
    if at + 12 > len(data):
        raise _IncompleteError
    return tag, vr, at + 12, int(struct.unpack_from(order + "L", data, at + 8)[0])


def _implicit(data: bytes, at: int, order: str) -> tuple[int, str, int, int]:
    if at + 8 > len(data):
        raise _IncompleteError
    group, low, length = struct.unpack_from(order + "HHL", data, at)
    tag = group << 16 | low
    return tag, _known_vr(tag), at + 8, length


@lru_cache(maxsize=8192)
def _known_vr(tag: int) -> str:
    if tag >> 16 & 1:
        return "LO" if tag & 0xFF00 == 0 and tag & 0xFF else "UN"
    entry = DicomDictionary.get(tag)
    try:
        vr = str(entry[0]) if entry else str(dictionary_VR(tag))
    except KeyError:
        return "UN"
    return vr[:2]  # both of "US or SS" have the same bytes


def _dataset(
    data: bytes, at: int, end: int, order: str, explicit: bool, depth: int
) -> tuple[Items, int]:
    if depth > _MOST_DEPTH:
        raise MalformedError(f"sequences nest more than {_MOST_DEPTH} deep")
    nested = depth > 0
    found: Items = {}
    read = _explicit if explicit else _implicit
    unpack, have = struct.Struct(order + "HH2sH").unpack_from, min(end, len(data))
    while at < end:
        if explicit and have - at >= 8:
            group, low, code, length = unpack(data, at)
            short = _SHORT.get(code)
            if short is not None:
                # The common case; the rest of the loop handles all others.
                stop = at + 8 + length
                if stop <= have:
                    found[group << 16 | low] = Element(short, data[at + 8 : stop])
                    at = stop
                    continue
        if end - at < 8 and not nested and not data[at:end].strip(b"\0"):
            return found, end  # trailing padding
        tag, vr, start, length = read(data, at, order)
        if nested and tag == _ITEM_END:
            return found, start
        if not nested and tag in _PIXELS:
            return found, at
        if vr == "UN" and length != _UNDEFINED:
            vr = _known_vr(tag)
        if length == _UNDEFINED and tag in _PIXELS:
            # Compressed pixel data of an icon (PS3.5 A.4).
            at = _fragments(data, start)
            found[tag] = Element(vr, data[start:at])
            continue
        if length == _UNDEFINED:
            # UN with an undefined length is implicit VR little endian (PS3.5 6.2.2).
            unknown = explicit and vr == "UN"
            items, at = _items(
                data, start, end, "<" if unknown else order, explicit and not unknown, depth
            )
            found[tag] = Element("SQ", b"", items)
            continue
        at = start + length
        if at > end:
            raise MalformedError("an element is longer than the item or file that holds it")
        if at > len(data):
            raise _IncompleteError
        if vr == "SQ":
            coded = data[start - 4 : start] if explicit else b""
            unknown = explicit and data[start - 8 : start - 6] == b"UN" and len(coded) == 4
            items, _ = _items(
                data, start, at, "<" if unknown else order, explicit and not unknown, depth
            )
            found[tag] = Element("SQ", b"", items)
        else:
            found[tag] = Element(vr, data[start:at])
    return found, at


def _fragments(data: bytes, at: int) -> int:
    """Return where the fragments of compressed pixel data end, their delimiter included."""
    while True:
        tag, _, start, length = _implicit(data, at, "<")
        if tag == _SEQUENCE_END:
            return start
        if tag != _ITEM or length == _UNDEFINED:
            raise MalformedError("compressed pixel data holds an element that is not a fragment")
        at = start + length


def _items(
    data: bytes, at: int, end: int, order: str, explicit: bool, depth: int
) -> tuple[list[Items], int]:
    found: list[Items] = []
    if not explicit:
        explicit = _explicit_all_the_same(data, at, end, order)
    while at < end:
        tag, _, start, length = _implicit(data, at, order)
        if tag == _SEQUENCE_END:
            return found, start
        if tag != _ITEM:
            raise MalformedError("a sequence holds an element that is not an item")
        if length == _UNDEFINED:
            item, at = _dataset(data, start, end, order, explicit, depth + 1)
        else:
            at = start + length
            if at > len(data):
                raise _IncompleteError
            item, _ = _dataset(data, start, at, order, explicit, depth + 1)
        found.append(item)
    return found, at


def _explicit_all_the_same(data: bytes, at: int, end: int, order: str) -> bool:
    """Return whether items have explicit VRs in an implicit VR data set, as some devices write.

    This holds only if the first element, read with implicit VR, would exceed the sequence.
    """
    while at + 16 <= min(end, len(data)):
        tag, _, start, length = _implicit(data, at, order)
        if tag != _ITEM:
            return False
        if length == 0:
            at = start
            continue
        vr = _VRS.get(data[start + 4 : start + 6])
        inner, known, value, size = _implicit(data, start, order)
        fits = size != _UNDEFINED and value + size <= end
        agrees = known in (vr, "UN") or inner >> 16 & 1 or vr == "UN"
        return vr is not None and not fits and bool(agrees)
    if at + 16 > len(data) and len(data) < end:
        raise _IncompleteError
    return False
