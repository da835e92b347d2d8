"""Walk the element headers of a dataset without decoding it (PS3.5 sections 7 and A.4).

This detects datasets that are truncated, or encoded in another transfer syntax than declared, at
the cost of the headers alone: values are skipped, and long ones are not read from the file.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Collection
from typing import Protocol

from pacsgrid.dimse.presentation_contexts import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT

SOP_CLASS, SOP_UID, STUDY_UID, SERIES_UID = 0x00080016, 0x00080018, 0x0020000D, 0x0020000E

MOST_INFLATED = 512 << 20  # the anonymiser holds a dataset as a whole
MOST_DEPTH = 128
MOST_ELEMENTS = 2_000_000  # items of undefined length included; to walk these takes seconds
_MOST_VALUE = 1024
_PIECE = 64 << 10
_WINDOW = 8 << 10
_TRAILER = 9  # bytes of a checksum and size as gzip writes them, and padding
_HEADER = 12  # bytes of the longest element header

_NATIVE = {IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED}
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xE000, 0xE00D, 0xE0DD
_PIXEL_DATA = 0x7FE00010

# How many bytes the length of each VR has (PS3.5 section 7.1.2).
_SHORT = "AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US"
_LONG = "OB OD OF OL OV OW SQ SV UC UN UR UT UV"
_LENGTHS = {vr.encode(): 2 for vr in _SHORT.split()} | {vr.encode(): 4 for vr in _LONG.split()}
_FRAGMENTED = {b"OB", b"OW", b"OD", b"OF", b"OL", b"OV"}


class MalformedDatasetError(Exception):
    """A dataset is truncated, or is not encoded in its transfer syntax."""


class DatasetBytes(Protocol):
    """The bytes of a dataset, read at ascending offsets only.

    Attributes
    ----------
    size
        The dataset's length in bytes; final once `load` has returned nothing.
    """

    size: int

    def load(self, at: int, least: int) -> bytes:
        """Return what follows an offset.

        Parameters
        ----------
        at
            The offset, not lower than in earlier calls.
        least
            How many bytes to return at least; there are fewer at the end.
        """


def decode_text(value: bytes) -> str:
    """Return the value of a UID or code string without its padding."""
    return value.decode("ascii", "replace").strip("\0 ")


class StoredDataset:
    """A dataset in a file.

    Parameters
    ----------
    handle
        The open file's descriptor.
    start, size
        Where the dataset starts, and its length in bytes.
    head
        The start of the dataset, if it is in memory already.
    """

    def __init__(self, handle: int, start: int, size: int, head: bytes = b"") -> None:
        self._handle = handle
        self._start = start
        self._head = head[:size]
        self.size = size

    def load(self, at: int, least: int) -> bytes:
        """Return the bytes that follow an offset; values are long, so few are read.

        Parameters
        ----------
        at
            Offset from the start of the dataset.
        least
            How many bytes are needed, if there are as many.
        """
        if at + least <= len(self._head) or len(self._head) == self.size:
            return self._head[at:] if at else self._head
        if at >= self.size:
            return b""
        most = min(max(least, _WINDOW), self.size - at)
        return os.pread(self._handle, most, self._start + at)


class InflatedDataset:
    """A deflated dataset (PS3.5 section A.5), inflated piece by piece and kept nowhere.

    Parameters
    ----------
    source
        The deflated bytes.
    most
        How many bytes it may inflate to.
    """

    def __init__(self, source: StoredDataset, most: int) -> None:
        self._source = source
        self._read = 0
        self._most = most
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._input = b""
        self._held = b""
        self._begin = 0
        self.size = 0

    def load(self, at: int, least: int) -> bytes:
        """Return what follows an offset, see `DatasetBytes.load`.

        Raises
        ------
        MalformedDatasetError
            The deflated bytes are damaged or truncated, or inflate to too much.
        """
        while self.size < at + least and self._more():
            pass
        return self._held[at - self._begin :] if at < self.size else b""

    def _more(self) -> bool:
        """Inflate one piece; return whether there was one."""
        if self._inflater.eof:
            return False
        if not self._input:
            self._input = self._source.load(self._read, 1)
            self._read += len(self._input)
        given = bool(self._input)
        try:
            piece = self._inflater.decompress(self._input, _PIECE)
        except zlib.error:
            raise MalformedDatasetError("it is not deflated as its transfer syntax says") from None
        self._input = self._inflater.unconsumed_tail
        if not piece and not given and not self._inflater.eof:
            raise MalformedDatasetError("its deflated bytes are truncated")
        if self._inflater.eof:
            rest = self._inflater.unused_data + self._source.load(self._read, 1)
            if len(rest) > _TRAILER:
                raise MalformedDatasetError("something follows its deflated bytes")
        if self.size + len(piece) > self._most:
            raise MalformedDatasetError(f"it inflates to more than {self._most >> 20} MiB")
        if piece:
            # A caller may still ask for the end of what was returned before.
            kept = self._held[-_MOST_VALUE:]
            self._begin = self.size - len(kept)
            self._held = kept + piece
            self.size += len(piece)
        return True


def open_stored(handle: int, start: int, size: int, syntax: str, head: bytes = b"") -> DatasetBytes:
    """Return the bytes of a dataset in a file, inflated if it is deflated.

    Parameters
    ----------
    handle
        The open file's descriptor.
    start, size
        Where the dataset starts, and its length in bytes.
    syntax
        Transfer syntax UID.
    head
        The start of the dataset, if it is in memory already.
    """
    stored = StoredDataset(handle, start, size, head)
    return InflatedDataset(stored, MOST_INFLATED) if syntax == DEFLATED else stored


class _Level:
    """An open sequence, item or encapsulated pixel data of undefined length."""

    __slots__ = ("explicit", "kind")

    def __init__(self, kind: str, explicit: bool | None = None) -> None:
        self.kind = kind
        self.explicit = explicit


_TRUNCATED = "it is truncated"
_OTHER_SYNTAX = "it is not encoded in its transfer syntax"
_DISORDER = "its items and delimiters do not fit together"


def walk(
    source: DatasetBytes, syntax: str, wanted: Collection[int], until: int | None = None
) -> dict[int, bytes]:
    """Walk a dataset's elements and return values of its top level.

    Parameters
    ----------
    source
        The dataset's bytes.
    syntax
        Transfer syntax UID.
    wanted
        Tags of the values to return, as integers. Values over 1024 bytes are left out.
    until
        The walk ends after this tag; None walks the whole dataset, and so validates it.

    Returns
    -------
    dict
        Raw values by tag, with their padding.

    Raises
    ------
    MalformedDatasetError
        The dataset is truncated, or not encoded in its transfer syntax.
    """
    order = ">" if syntax == BIG_ENDIAN else "<"
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
            raise MalformedDatasetError(f"it has more than {MOST_ELEMENTS} elements")
        group, number, vr, length = unpack(window, i)
        if group == 0xFFFE:
            (length,) = long.unpack_from(window, i + 4)
            at += 8 + _delimit(levels, number, length)
            continue
        explicit = explicit_top
        if levels:
            level = levels[-1]
            if level.kind != "item":
                raise MalformedDatasetError(_DISORDER)
            if level.explicit is None:
                # Items of UN are implicit (PS3.5 section 6.2.2), and some writers' sequences too.
                level.explicit = vr in _LENGTHS
            explicit = level.explicit
        elif group < 4:
            raise MalformedDatasetError("it holds elements of group 0000 or 0002")
        size = _LENGTHS.get(vr) if explicit else None
        if size == 2:
            value = 8
        elif size == 4 or (explicit and vr.isalpha() and vr.isupper()):
            if i + 12 > len(window):
                raise MalformedDatasetError(_TRUNCATED)
            (length,) = long.unpack_from(window, i + 8)
            value = 12
        else:
            # Implicit, also within explicit datasets: some writers mix both.
            (length,) = long.unpack_from(window, i + 4)
            vr, value = b"", 8
        tag = group << 16 | number
        if not levels:
            if until is not None and tag > until:
                return found
            if tag == _PIXEL_DATA and length and (length == _UNDEFINED) is (syntax in _NATIVE):
                raise MalformedDatasetError(_OTHER_SYNTAX)
            if tag in wanted and length <= _MOST_VALUE:
                start = i + value
                if start + length > len(window):
                    data = source.load(at + value, length)[:length]
                else:
                    data = window[start : start + length]
                if found.setdefault(tag, data) != data:
                    raise MalformedDatasetError("a unique element comes twice")
        if length == _UNDEFINED:
            if vr not in (b"", b"SQ", b"UN") and vr not in _FRAGMENTED:
                raise MalformedDatasetError(_OTHER_SYNTAX)
            levels.append(_Level("fragments" if vr in _FRAGMENTED else "sequence"))
            if len(levels) > MOST_DEPTH:
                raise MalformedDatasetError("its sequences are nested too deeply")
            length = 0
        at += value + length
    if at > source.size or levels or window not in (b"", b"\0"):
        raise MalformedDatasetError(_TRUNCATED)
    return found


def _delimit(levels: list[_Level], number: int, length: int) -> int:
    """Enter an item or leave a level at a delimiter; return how many bytes to skip after it."""
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
    raise MalformedDatasetError(_DISORDER)


def _check_first(window: bytes, syntax: str) -> None:
    """Raise MalformedDatasetError if the first element shows another encoding than declared."""
    vr = window[4:6]
    known = vr in _LENGTHS or (vr.isalpha() and vr.isupper())
    swapped = window[0] == 0 if syntax != BIG_ENDIAN else window[1] == 0
    if (syntax == IMPLICIT) == known or (swapped and window[0] != window[1]):
        raise MalformedDatasetError(_OTHER_SYNTAX)
