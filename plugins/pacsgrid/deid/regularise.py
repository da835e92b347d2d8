"""Rewrite irregular files that can be read in one way only.

Devices and old archives write data sets without preamble and file meta information, data sets
encoded otherwise than their transfer syntax says, and sequences whose items are encoded otherwise
than the data set around them. This module follows the lengths of elements to the end of the header.
A file in which they do not fit is held as what it is: truncated, malformed, or no DICOM at all.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from typing import BinaryIO

from pydicom.datadict import dictionary_VR
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from ..errors import HeldError
from .truncation import (
    ITEM_TAG,
    LONG_VRS,
    MAX_SEQUENCE_DEPTH,
    PIXEL_DATA_TAGS,
    SEQUENCE_DELIMITER,
    UNDEFINED_LENGTH,
    too_deep_error,
    truncated_error,
)

_VRS = LONG_VRS | frozenset(
    (b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN",
     b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US")
)  # fmt: skip
_ITEM_DELIMITER = 0xFFFEE00D
_PREFIX = 132
_SYNTAX, _MEDIA_CLASS = 0x00020010, 0x00020002
_SOP_CLASS, _STUDY = 0x00080016, 0x0020000D
# First bytes of other formats, and what to do with such a file.
_OTHER_FORMATS = (
    (b"PK\x03\x04", "a ZIP archive; unpack it and name the folder"),
    (b"\x1f\x8b", "a gzip archive; unpack it and name the folder"),
    (b"7z\xbc\xaf", "a 7z archive; unpack it and name the folder"),
    (b"Rar!", "a RAR archive; unpack it and name the folder"),
)


class _NonconformantError(Exception):
    """The bytes do not follow PS3.5. The text says what is wrong and where, without values."""


class _FileEndsError(Exception):
    """The file ends inside an element that is correct so far."""


@dataclass(frozen=True)
class _Encoding:
    """How the elements of a data set are encoded."""

    implicit: bool
    little: bool = True

    @property
    def order(self) -> str:
        return "<" if self.little else ">"

    @property
    def syntax(self) -> str:
        """The native transfer syntax of this encoding."""
        if not self.little:
            return str(ExplicitVRBigEndian)
        return str(ImplicitVRLittleEndian if self.implicit else ExplicitVRLittleEndian)


class PrefixedStream(io.RawIOBase):
    """A new header followed by the rest of a file, as one stream to read.

    Parameters
    ----------
    head
        The bytes in front.
    rest
        The file.
    start
        Position in the file from which on it is read.
    """

    name = ""  # pydicom reads it

    def __init__(self, head: bytes, rest: BinaryIO, start: int) -> None:
        self._head, self._rest, self._start = head, rest, start
        self._size = len(head) + rest.seek(0, 2) - start
        self._at = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        """Set the position, as a file does.

        Parameters
        ----------
        offset
            Bytes.
        whence
            0 from the start, 1 from the position, 2 from the end.

        Returns
        -------
        int
            The new position.
        """
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def readinto(self, buffer: object) -> int:
        """Read into a buffer, and return the number of bytes."""
        view = memoryview(buffer)  # type: ignore[arg-type]
        if self._at < len(self._head):
            piece = self._head[self._at : self._at + len(view)]
        else:
            self._rest.seek(self._start + self._at - len(self._head))
            piece = self._rest.read(len(view))
        view[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


def regularise(stream: BinaryIO) -> BinaryIO:
    """Return a file with a header that follows PS3.10 and PS3.5; pixel data is not copied.

    Raises
    ------
    HeldError
        ``truncated``: the file ends early. ``malformed``: an element, which the text names, can be
        read in several ways, or in none. ``too-deep``: sequences nest too deep. ``not-dicom``: it
        is something else. ``no-transfer-syntax``, ``unreadable``: the transfer syntax is missing
        or unknown.
    """
    size = stream.seek(0, 2)
    stream.seek(0)
    data = _FileWindow(stream, size)
    if data.take(128, 4) == b"DICM":
        return _regularise_part10(stream, data, size)
    return _regularise_bare(stream, data, size)


class _FileWindow:
    """A file's bytes by position, read as they are needed."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream, self.size = stream, size
        self._data = b""

    def take(self, at: int, count: int) -> bytes:
        """Return bytes, fewer at the end of the file.

        Parameters
        ----------
        at
            Position of the first.
        count
            How many.

        Returns
        -------
        bytes
        """
        if at + count > len(self._data) and len(self._data) < self.size:
            self._stream.seek(len(self._data))
            self._data += self._stream.read(
                max(at + count - len(self._data), len(self._data), 1 << 14)
            )
        return self._data[at : at + count]

    def need(self, at: int, count: int) -> bytes:
        """Return exactly so many bytes.

        Parameters
        ----------
        at
            Position of the first.
        count
            How many.

        Returns
        -------
        bytes

        Raises
        ------
        _FileEndsError
            The file ends before.
        """
        if at + count > self.size:
            raise _FileEndsError
        return self.take(at, count)


def _regularise_part10(stream: BinaryIO, data: _FileWindow, size: int) -> BinaryIO:
    try:
        meta, at = _read_file_meta(data, _PREFIX)
    except _FileEndsError:
        raise truncated_error() from None
    syntax = meta.get(_SYNTAX, b"").rstrip(b"\0 ").decode("latin-1")
    if not syntax:
        raise HeldError(
            "no-transfer-syntax",
            "the file meta information has no transfer syntax (0002,0010); have the file's origin "
            "write it anew",
        )
    uid = UID(syntax)
    if not uid.is_transfer_syntax:
        raise HeldError(
            "unreadable",
            "the transfer syntax (0002,0010) is not one of PS3.6; have the file sent in one",
        )
    if uid == DeflatedExplicitVRLittleEndian:
        raise _diagnose_deflate(stream, at)
    declared = _Encoding(uid.is_implicit_VR, uid.is_little_endian)
    encoding = _detect_encoding(data.take(at, 8)) or declared
    if uid.is_encapsulated and (encoding.implicit or not encoding.little):
        raise _malformed_error(
            "compressed pixel data is in a data set that is not explicit VR little endian"
        )
    try:
        return _rewrite_header(stream, data, at, encoding, syntax if encoding == declared else "")
    except _FileEndsError:
        raise truncated_error() from None
    except _NonconformantError as error:
        raise _malformed_error(str(error)) from None


def _diagnose_deflate(stream: BinaryIO, at: int) -> HeldError:
    """Return what is wrong with a deflated data set (PS3.5 A.5), without keeping its contents."""
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    stream.seek(at)
    try:
        while not inflate.eof:
            piece = inflate.unconsumed_tail or stream.read(1 << 16)
            if not piece:
                return truncated_error()
            inflate.decompress(piece, 1 << 20)
    except zlib.error:
        return _malformed_error("the deflated data set cannot be inflated")
    return _malformed_error("the deflated data set cannot be read")


def _regularise_bare(stream: BinaryIO, data: _FileWindow, size: int) -> BinaryIO:
    """Read a data set without preamble: one that begins as they do, and is whole (PS3.10 7.1)."""
    strange = _not_dicom_error(data.take(0, 8), size)
    at, syntax = 0, ""
    try:
        if data.take(0, 2) == b"\2\0":
            meta, at = _read_file_meta(data, 0)
            syntax = meta.get(_SYNTAX, b"").rstrip(b"\0 ").decode("latin-1")
            if syntax and not UID(syntax).is_transfer_syntax:
                raise strange
            if syntax and UID(syntax).is_deflated:
                return _prepend_file_meta(b"", syntax, stream, at)
        head = data.take(at, 8)
        encoding = _detect_encoding(head)
        if encoding is None:
            raise strange
        group, low = struct.unpack(encoding.order + "HH", head[:4])
        # A data set of an instance begins in group 8; a directory has group 4 before.
        if group not in (4, 8) or (low > 0x20 and group == 8):
            raise strange
    except _FileEndsError:
        raise strange from None
    try:
        compressed = bool(syntax) and UID(syntax).is_encapsulated
        made = _rewrite_header(stream, data, at, encoding, syntax if compressed else "", strange)
    except _FileEndsError:
        raise (truncated_error() if _starts_as_dataset(data, at, encoding) else strange) from None
    except _NonconformantError as error:
        raise (
            _malformed_error(str(error)) if _starts_as_dataset(data, at, encoding) else strange
        ) from None
    return made


def _not_dicom_error(head: bytes, size: int) -> HeldError:
    if not size:
        return HeldError(
            "not-dicom",
            "the file is empty; if it should be an image, fetch it from its origin again",
        )
    for start, what in _OTHER_FORMATS:
        if head.startswith(start):
            return HeldError("not-dicom", f"the file is {what}")
    return HeldError(
        "not-dicom",
        "not a DICOM file (PS3.10), nor a data set without preamble; no result was made",
    )


def _malformed_error(what: str) -> HeldError:
    return HeldError(
        "malformed", f"the file does not follow PS3.5: {what}; have its origin write it anew"
    )


def _detect_encoding(head: bytes) -> _Encoding | None:
    """Return how a data set is encoded, by its first element; None when it does not tell."""
    if len(head) < 8:
        return None
    vr = head[4:6]
    for encoding in (_Encoding(False), _Encoding(False, little=False)):
        group, low = struct.unpack(encoding.order + "HH", head[:4])
        if vr in _VRS and group < 0x100 and _is_vr_allowed(group << 16 | low, vr):
            return encoding
    group, low, length = struct.unpack("<HHL", head)
    if group < 0x100 and not (vr.isalpha() and vr.isupper()) and length < 1 << 16:
        return _Encoding(True)
    return None


def _is_vr_allowed(tag: int, vr: bytes) -> bool:
    """Return whether PS3.6 allows the VR for an element."""
    try:
        return vr == b"UN" or vr.decode() in dictionary_VR(tag).split(" or ")
    except KeyError:
        return bool(tag & 0x10000) or tag & 0xFFFF == 0


def _read_file_meta(data: _FileWindow, at: int) -> tuple[dict[int, bytes], int]:
    found: dict[int, bytes] = {}
    while data.take(at, 2) == b"\2\0":
        tag, _, value, length = _read_element(data, at, _Encoding(False))
        found[tag] = data.need(value, length)
        at = value + length
    return found, at


def _read_element(data: _FileWindow, at: int, how: _Encoding) -> tuple[int, bytes, int, int]:
    """Return tag, VR (empty when there is none), the value's position and its length."""
    head = data.need(at, 8)
    group, low = struct.unpack(how.order + "HH", head[:4])
    tag, vr = group << 16 | low, head[4:6]
    if how.implicit or group == 0xFFFE or not (vr.isalpha() and vr.isupper()):
        return tag, b"", at + 8, struct.unpack(how.order + "L", head[4:])[0]
    if vr in LONG_VRS or vr not in _VRS:
        return tag, vr, at + 12, struct.unpack(how.order + "L", data.need(at + 8, 4))[0]
    return tag, vr, at + 8, struct.unpack(how.order + "H", head[6:])[0]


def _starts_as_dataset(data: _FileWindow, at: int, how: _Encoding) -> bool:
    """Return whether the first elements are those of a data set, whatever follows."""
    try:
        last = 0
        for _ in range(4):
            tag, vr, value, length = _read_element(data, at, how)
            known = _is_vr_allowed(tag, vr) if vr else _dictionary_vr(tag)
            if tag <= last or tag >> 16 != 8 or not known or length > 1 << 12:
                return False
            data.need(value, length)
            last, at = tag, value + length
    except _FileEndsError:
        return False
    return True


def _dictionary_vr(tag: int) -> str:
    try:
        return str(dictionary_VR(tag))
    except KeyError:
        return ""


def _rewrite_header(
    stream: BinaryIO,
    data: _FileWindow,
    at: int,
    how: _Encoding,
    syntax: str,
    strange: HeldError | None = None,
) -> BinaryIO:
    """Rewrite a file's header; raise `strange` if it lacks SOP class or StudyInstanceUID."""
    out = bytearray()
    end, found = _copy_dataset(data, at, data.size, how, how, out, 0)
    directory = any(tag >> 16 == 4 for tag in found)
    if strange is not None and not directory and not {_SOP_CLASS, _STUDY} <= found:
        raise strange
    return _prepend_file_meta(bytes(out), syntax or how.syntax, stream, end)


def _prepend_file_meta(header: bytes, syntax: str, stream: BinaryIO, end: int) -> BinaryIO:
    """Put preamble, file meta information and header in front of the rest of the file."""
    text = syntax.encode()
    text += b"\0" * (len(text) % 2)
    meta = struct.pack("<HH2sH", 2, 0x10, b"UI", len(text)) + text
    length = struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(meta))
    head = b"\0" * 128 + b"DICM" + length + meta + header
    return io.BufferedReader(PrefixedStream(head, stream, end))  # type: ignore[type-var, return-value]


def _format_tag(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _copy_dataset(
    data: _FileWindow,
    at: int,
    end: int,
    how: _Encoding,
    target: _Encoding,
    out: bytearray,
    depth: int,
) -> tuple[int, set[int]]:
    """Copy a data set to `out`; return where it ends, and its tags.

    One at the top level ends at its pixel data, or with the file.
    """
    if depth > MAX_SEQUENCE_DEPTH:
        raise too_deep_error()
    if how.little != target.little:
        raise _NonconformantError("the items of a sequence have another byte order than the rest")
    found: set[int] = set()
    last = 0
    while at < end:
        if not depth and end - at < 8 and not data.take(at, end - at).strip(b"\0"):
            return end, found  # some writers pad a file to an even or round length
        tag, vr, value, length = _read_element(data, at, how)
        if depth and tag == _ITEM_DELIMITER:
            return value, found
        if not depth and tag in PIXEL_DATA_TAGS:
            return at, found
        if tag <= last:
            raise _NonconformantError(f"{_format_tag(tag)} is not in the order of tags")
        if (
            vr
            and not _is_vr_allowed(tag, vr)
            and length != UNDEFINED_LENGTH
            and value + length > end
        ):
            raise _NonconformantError(f"the VR or length of {_format_tag(tag)} cannot be right")
        last = tag
        found.add(tag)
        at = _copy_element(data, tag, vr, value, length, end, how, target, out, depth)
    return at, found


def _copy_element(
    data: _FileWindow,
    tag: int,
    vr: bytes,
    value: int,
    length: int,
    end: int,
    how: _Encoding,
    target: _Encoding,
    out: bytearray,
    depth: int,
) -> int:
    """Copy one element to `out`; return where it ends."""
    sequence = length == UNDEFINED_LENGTH or (vr == b"SQ" if vr else _dictionary_vr(tag) == "SQ")
    if not sequence:
        if value + length > end:
            # A short VR cannot have such a length: it is wrong, and the file need not be cut.
            short = length > 0xFFFF and _dictionary_vr(tag).encode() in _VRS - LONG_VRS
            if short or end < data.size or not (vr in _VRS if vr else how.implicit):
                raise _NonconformantError(
                    f"{_format_tag(tag)} does not fit into the sequence or file around it"
                )
            raise _FileEndsError
        _write_element_head(out, tag, vr, length, target)
        out += data.need(value, length)
        return value + length
    _write_element_head(out, tag, b"SQ", UNDEFINED_LENGTH, target)
    stop = end if length == UNDEFINED_LENGTH else value + length
    if stop > end:
        if end < data.size:
            raise _NonconformantError(
                f"{_format_tag(tag)} does not fit into the sequence or file around it"
            )
        raise _FileEndsError
    inner = _item_encoding(data, value, stop, how, vr)
    at = _copy_items(data, tag, value, stop, length == UNDEFINED_LENGTH, inner, target, out, depth)
    out += struct.pack(target.order + "HHL", 0xFFFE, 0xE0DD, 0)
    return at


def _write_element_head(
    out: bytearray, tag: int, vr: bytes, length: int, target: _Encoding
) -> None:
    out += struct.pack(target.order + "HH", tag >> 16, tag & 0xFFFF)
    if target.implicit:
        out += struct.pack("<L", length)
        return
    vr = vr or _dictionary_vr(tag)[:2].encode() or b"UN"
    if vr in LONG_VRS or vr not in _VRS or length > 0xFFFF:
        vr = vr if vr in LONG_VRS or vr not in _VRS else b"UN"
        out += vr + b"\0\0" + struct.pack(target.order + "L", length)
    else:
        out += vr + struct.pack(target.order + "H", length)


def _item_encoding(data: _FileWindow, at: int, end: int, how: _Encoding, vr: bytes) -> _Encoding:
    """Return how the items of a sequence are encoded, by their first element.

    By the standard they are implicit VR little endian in UN (PS3.5 6.2.2), and like the data set
    around them otherwise.
    """
    ruled = _Encoding(True) if vr == b"UN" or how.implicit else how
    while at + 16 <= end:
        head = data.need(at, 16)
        tag, length = struct.unpack(ruled.order + "HHL", head[:8])[:2], head[4:8]
        if tag != (0xFFFE, 0xE000):
            break
        if length == b"\0\0\0\0":
            at += 8
            continue
        first = head[8:16]
        said = _detect_encoding(first)
        if said is None or said == ruled:
            break
        as_ruled = struct.unpack(ruled.order + "L", first[4:8])[0]
        # By the standard, the first element would not fit: only the other encoding is possible.
        if not ruled.implicit or as_ruled == UNDEFINED_LENGTH or at + 16 + as_ruled > end:
            return said
        break
    return ruled


def _copy_items(
    data: _FileWindow,
    owner: int,
    at: int,
    end: int,
    delimited: bool,
    how: _Encoding,
    target: _Encoding,
    out: bytearray,
    depth: int,
) -> int:
    while delimited or at < end:
        tag, _, value, length = _read_element(data, at, how)
        if delimited and tag == SEQUENCE_DELIMITER:
            return value
        if tag != ITEM_TAG:
            raise _NonconformantError(
                f"the sequence {_format_tag(owner)} holds something other than items"
            )
        out += struct.pack(target.order + "HHL", 0xFFFE, 0xE000, UNDEFINED_LENGTH)
        stop = end if length == UNDEFINED_LENGTH else value + length
        if stop > end:
            if end < data.size:
                raise _NonconformantError(
                    f"an item of {_format_tag(owner)} does not fit into its sequence or the file"
                )
            raise _FileEndsError
        at, _ = _copy_dataset(data, value, stop, how, target, out, depth + 1)
        out += struct.pack(target.order + "HHL", 0xFFFE, 0xE00D, 0)
    return at
