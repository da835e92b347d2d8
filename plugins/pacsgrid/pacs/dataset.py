"""A dataset's element headers, walked to its end without decoding (PS3.5 sections 7 and A.4).

What is cut short, or encoded otherwise than its transfer syntax says, is found out at the cost of
the headers alone: values are passed over, in the file where it is long.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Collection
from typing import Protocol

IMPLICIT, EXPLICIT, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
SOP_CLASS, SOP_UID, STUDY_UID, SERIES_UID = 0x00080016, 0x00080018, 0x0020000D, 0x0020000E

MOST_INFLATED = 512 << 20  # the anonymiser holds a dataset as a whole
MOST_DEPTH = 128
MOST_ELEMENTS = 2_000_000  # of sequences of undefined length too; their walk takes seconds
_MOST_VALUE = 1024
_PIECE = 64 << 10
_WINDOW = 8 << 10
_TRAILER = 9  # bytes of a checksum and size as gzip writes them, and padding
_HEADER = 12  # bytes of the longest element header

_NATIVE = {IMPLICIT, EXPLICIT, BIG, DEFLATED}
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xE000, 0xE00D, 0xE0DD
_PIXEL_DATA = 0x7FE00010
_UID = re.compile(r"[0-9A-Za-z]+(\.[0-9A-Za-z]+)*")

# How many bytes each VR's length has (PS3.5 7.1.2).
_SHORT = "AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US"
_LONG = "OB OD OF OL OV OW SQ SV UC UN UR UT UV"
_LENGTHS = {vr.encode(): 2 for vr in _SHORT.split()} | {vr.encode(): 4 for vr in _LONG.split()}
_FRAGMENTED = {b"OB", b"OW", b"OD", b"OF", b"OL", b"OV"}


class Malformed(Exception):
    """A dataset is cut short, or is not encoded as its transfer syntax says."""


class Source(Protocol):
    """Where a dataset's bytes come from; it is asked for rising offsets only."""

    size: int
    """How long the dataset is; final once `load` has given nothing."""

    def load(self, at: int, least: int) -> bytes:
        """Give what follows an offset: at least so many bytes, or fewer at the end."""


def is_uid(text: str) -> bool:
    """Whether a text is built as a UID: components with dots between, 64 characters at most.

    Letters are none of PS3.5 9.1, but some archives hold digests as UIDs. As a file's name it
    would be harmless.
    """
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def text_of(value: bytes) -> str:
    """Give a UID's or code's value without its padding."""
    return value.decode("ascii", "replace").strip("\0 ")


class Stored:
    """A dataset in a file; `head` is its start, as far as it is in memory already."""

    def __init__(self, handle: int, start: int, size: int, head: bytes = b"") -> None:
        self._handle = handle
        self._start = start
        self._head = head[:size]
        self.size = size

    def load(self, at: int, least: int) -> bytes:
        """Give what follows an offset; reads little, since values in between are long."""
        if at + least <= len(self._head) or len(self._head) == self.size:
            return self._head[at:] if at else self._head
        if at >= self.size:
            return b""
        most = min(max(least, _WINDOW), self.size - at)
        return os.pread(self._handle, most, self._start + at)


class Inflating:
    """A deflated dataset (PS3.5 A.5), inflated piece by piece and kept nowhere.

    Raises Malformed from `load` when the stream is damaged, cut short, or longer than `most`.
    """

    def __init__(self, source: Stored, most: int) -> None:
        self._source = source
        self._read = 0
        self._most = most
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._input = b""
        self._held = b""
        self._begin = 0
        self.size = 0

    def load(self, at: int, least: int) -> bytes:
        """Give what follows an offset, which must not be before the last one."""
        while self.size < at + least and self._more():
            pass
        return self._held[at - self._begin :] if at < self.size else b""

    def _more(self) -> bool:
        """Inflate one piece; returns whether there was one."""
        if self._inflater.eof:
            return False
        if not self._input:
            self._input = self._source.load(self._read, 1)
            self._read += len(self._input)
        given = bool(self._input)
        try:
            piece = self._inflater.decompress(self._input, _PIECE)
        except zlib.error:
            raise Malformed("it is not deflated as its transfer syntax says") from None
        self._input = self._inflater.unconsumed_tail
        if not piece and not given and not self._inflater.eof:
            raise Malformed("its deflated bytes are cut short")
        if self._inflater.eof:
            rest = self._inflater.unused_data + self._source.load(self._read, 1)
            if len(rest) > _TRAILER:
                raise Malformed("something follows its deflated bytes")
        if self.size + len(piece) > self._most:
            raise Malformed(f"inflated it has more than {self._most >> 20} MiB")
        if piece:
            # Of what was given before, the end may still be asked for.
            kept = self._held[-_MOST_VALUE:]
            self._begin = self.size - len(kept)
            self._held = kept + piece
            self.size += len(piece)
        return True


def open_stored(handle: int, start: int, size: int, syntax: str, head: bytes = b"") -> Source:
    """Give the source of a dataset that stands in a file, `head` its first bytes if known."""
    stored = Stored(handle, start, size, head)
    return Inflating(stored, MOST_INFLATED) if syntax == DEFLATED else stored


class _Level:
    """A sequence, an item or encapsulated pixel data of undefined length that is open."""

    __slots__ = ("explicit", "kind")

    def __init__(self, kind: str, explicit: bool | None = None) -> None:
        self.kind = kind
        self.explicit = explicit


_TOO_SHORT = "it is cut short"
_OTHER_SYNTAX = "it is not encoded in the transfer syntax that was agreed on"
_DISORDER = "its items and delimiters do not fit together"


def walk(
    source: Source, syntax: str, wanted: Collection[int], until: int | None = None
) -> dict[int, bytes]:
    """Walk a dataset's elements and give values of its top level.

    Parameters
    ----------
    wanted
        Tags of the short values that are given, as they stand, where they are.
    until
        The walk ends behind this tag; None walks, and proves, the whole dataset.

    Raises
    ------
    Malformed
        The dataset is cut short, or not encoded in its transfer syntax.
    """
    order = ">" if syntax == BIG else "<"
    header, long = struct.Struct(order + "HH2sH"), struct.Struct(order + "I")
    unpack = header.unpack_from
    explicit_top = syntax != IMPLICIT
    found: dict[int, bytes] = {}
    levels: list[_Level] = []
    at = begin = count = 0
    window = source.load(0, _HEADER)
    if len(window) >= 8:
        _check_first(window, syntax)
    while True:
        i = at - begin
        if i + _HEADER > len(window):
            window, begin, i = source.load(at, _HEADER), at, 0
            if len(window) < 8:
                break
        count += 1
        if count > MOST_ELEMENTS:
            raise Malformed(f"it has more than {MOST_ELEMENTS} elements")
        group, number, vr, length = unpack(window, i)
        if group == 0xFFFE:
            (length,) = long.unpack_from(window, i + 4)
            at += 8 + _delimit(levels, number, length)
            continue
        explicit = explicit_top
        if levels:
            level = levels[-1]
            if level.kind != "item":
                raise Malformed(_DISORDER)
            if level.explicit is None:
                # Items of UN, and some writers' sequences, are encoded otherwise (PS3.5 6.2.2).
                level.explicit = vr in _LENGTHS
            explicit = level.explicit
        elif group < 4:
            raise Malformed("it holds elements that belong in no dataset")
        size = _LENGTHS.get(vr) if explicit else None
        if size == 2:
            value = 8
        elif size == 4 or (explicit and vr.isalpha() and vr.isupper()):
            if i + 12 > len(window):
                raise Malformed(_TOO_SHORT)
            (length,) = long.unpack_from(window, i + 8)
            value = 12
        else:
            # Implicit; where explicit was agreed on too, as some writers mix both.
            (length,) = long.unpack_from(window, i + 4)
            vr, value = b"", 8
        tag = group << 16 | number
        if not levels:
            if until is not None and tag > until:
                return found
            if tag == _PIXEL_DATA and length and (length == _UNDEFINED) is (syntax in _NATIVE):
                raise Malformed(_OTHER_SYNTAX)
            if tag in wanted and length <= _MOST_VALUE:
                start = i + value
                if start + length > len(window):
                    data = source.load(at + value, length)[:length]
                else:
                    data = window[start : start + length]
                if found.setdefault(tag, data) != data:
                    raise Malformed("an element that is to be unique comes twice")
        if length == _UNDEFINED:
            if vr not in (b"", b"SQ", b"UN") and vr not in _FRAGMENTED:
                raise Malformed(_OTHER_SYNTAX)
            levels.append(_Level("fragments" if vr in _FRAGMENTED else "sequence"))
            if len(levels) > MOST_DEPTH:
                raise Malformed("its sequences are nested too deeply")
            length = 0
        at += value + length
    if at > source.size or levels or window not in (b"", b"\0"):
        raise Malformed(_TOO_SHORT)
    return found


def _delimit(levels: list[_Level], number: int, length: int) -> int:
    """Take an item's start or a delimiter; returns how much of it to pass over."""
    inner = levels[-1].kind if levels else ""
    if number == _ITEM and inner in ("sequence", "fragments"):
        if length != _UNDEFINED:
            return length
        if inner == "sequence":
            levels.append(_Level("item"))
            return 0
    elif (number == _ITEM_END and inner == "item") or (
        number == _SEQUENCE_END and inner in ("sequence", "fragments")
    ):
        levels.pop()
        return 0
    raise Malformed(_DISORDER)


def _check_first(window: bytes, syntax: str) -> None:
    """Tell by a dataset's first element whether it is encoded otherwise than was agreed on."""
    vr = window[4:6]
    known = vr in _LENGTHS or (vr.isalpha() and vr.isupper())
    swapped = window[0] == 0 if syntax != BIG else window[1] == 0
    if (syntax == IMPLICIT) == known or (swapped and window[0] != window[1]):
        raise Malformed(_OTHER_SYNTAX)
