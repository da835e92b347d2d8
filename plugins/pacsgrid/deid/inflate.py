"""Check deflated data sets (PS3.5 A.5) in pieces, before pydicom inflates them in memory."""

from __future__ import annotations

import zlib
from typing import BinaryIO

from pydicom.uid import DeflatedExplicitVRLittleEndian

from ..errors import HeldError
from .truncation import ElementWalker, IrregularError, truncated_error

# Largest inflated data set in bytes; reading it takes several times as much memory.
LARGEST = 1 << 26
_CHUNK, _PIECE = 1 << 16, 1 << 20
_PREAMBLE = 132
_SYNTAX = 0x00020010


def check_inflates(stream: BinaryIO) -> None:
    """Check that a deflated data set is complete, and small enough to be read in memory.

    In other files only the file meta information is read. White space around the transfer syntax is
    ignored, as pydicom does. The position of the stream afterwards is undefined.

    Parameters
    ----------
    stream
        The file.

    Raises
    ------
    IrregularError
        The file meta information is malformed: pydicom might find another transfer syntax in it.
    HeldError
        ``unreadable``: it inflates to more than `LARGEST` bytes, or is not deflated.
        ``truncated``: the file ends early.
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
        raise HeldError(
            "unreadable",
            "the data set is not deflated, which its transfer syntax (0002,0010) says; have the "
            "file sent in another transfer syntax",
        ) from None
