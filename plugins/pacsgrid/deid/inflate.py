"""Deflated data sets (PS3.5 A.5): inflated in pieces first, so that none takes the memory."""

from __future__ import annotations

import zlib
from typing import BinaryIO

from pydicom.uid import DeflatedExplicitVRLittleEndian

from ..errors import HeldError
from .truncation import ElementWalker, IrregularError, truncated_error

# Bytes of a data set: reading it takes several times as many.
LARGEST = 1 << 26
_CHUNK, _PIECE = 1 << 16, 1 << 20
_PREAMBLE = 132
_SYNTAX = 0x00020010


def check_inflates(stream: BinaryIO) -> None:
    """Refuse a deflated data set that is larger than can be taken in whole, or not whole.

    Of other files nothing is read but the file meta; the stream is left where it happens to be.
    pydicom takes the white space off a transfer syntax, so that is no way past.

    Raises
    ------
    IrregularError
        The file meta cannot be walked, and pydicom might see another transfer syntax in it.
    HeldError
        ``unreadable``: it inflates to more than `LARGEST`, or is not deflated; ``truncated``.
    """
    stream.seek(_PREAMBLE - 4)
    if stream.read(4) != b"DICM":
        return
    walker, at, syntax = ElementWalker(stream), _PREAMBLE, ""
    while at < walker.size:
        stream.seek(at)
        if stream.read(2) != b"\x02\0":
            break
        tag, vr, value, length = walker.read_element(at, little=True, implicit=False)
        if tag == _SYNTAX:
            stream.seek(value)
            syntax = stream.read(length).decode("latin-1").rstrip("\0 ").strip()
        if value + length > walker.size or (not vr and b"AA" <= walker.read_vr(at) <= b"ZZ"):
            raise IrregularError
        at = value + length
    if syntax != DeflatedExplicitVRLittleEndian:
        return
    stream.seek(at)
    inflate, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    try:
        while not inflate.eof:
            chunk = stream.read(_CHUNK)
            if not chunk:
                raise truncated_error()
            while chunk and not inflate.eof:
                size += len(inflate.decompress(chunk, _PIECE))
                if size > LARGEST:
                    raise HeldError(
                        "unreadable",
                        f"the deflated data set inflates to more than {LARGEST >> 20} MiB; "
                        "have it sent in another transfer syntax",
                    )
                chunk = inflate.unconsumed_tail
    except zlib.error:
        raise HeldError("unreadable", "the data set is not deflated") from None
