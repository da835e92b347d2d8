"""Copy uncompressed pixel data; bytes behind the last pixel become zeros."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from pydicom.uid import UID

from ..errors import HeldError
from .pixel_location import PixelLayout, PixelSpan

# Bytes. Small enough that Python takes the buffer from memory that it has.
CHUNK = 1 << 16


def copy_native(
    stream: BinaryIO, span: PixelSpan, syntax: str, layout: PixelLayout
) -> Iterator[bytes]:
    """Copy a pixel data element of defined length (PS3.5 8.1.1, A.1 to A.3).

    Parameters
    ----------
    stream
        The source file.
    span
        Where the element is.
    syntax
        Transfer syntax UID.
    layout
        What the header says of the pixels.

    Yields
    ------
    bytes
        The element, head included, in pieces.

    Raises
    ------
    HeldError
        ``pixels-unreadable``: the transfer syntax asks for fragments, or there is more pixel data
        than the header says. ``truncated``: the file became shorter.
    """
    if UID(syntax).is_encapsulated:
        raise HeldError(
            "pixels-unreadable",
            "the pixel data is not in fragments, as its transfer syntax (0002,0010) asks for; "
            "have the file's origin write it anew",
        )
    end = span.value + pixel_byte_count(stream, span, layout)
    stream.seek(span.start)
    left = end - span.start
    while left:
        chunk = stream.read(min(CHUNK, left))
        if not chunk:
            raise HeldError("truncated", "the file became shorter while it was read")
        left -= len(chunk)
        yield chunk
    left = span.end - end
    while left:
        yield bytes(min(CHUNK, left))
        left -= min(CHUNK, left)


def size_unknown_error() -> HeldError:
    """Return the reason for an image whose header does not say how large it is."""
    return HeldError(
        "pixels-unreadable",
        "Rows, Columns, BitsAllocated or NumberOfFrames do not tell how much of the pixel data "
        "is pixels; correct them at the file's origin",
    )


def pixel_byte_count(stream: BinaryIO, span: PixelSpan, layout: PixelLayout) -> int:
    """Return how many bytes of a pixel data value are pixels; the rest is padding.

    Some writers declare subsampled colours (YBR_FULL_422) but store all of them.

    Parameters
    ----------
    stream
        The source file.
    span
        Where the element is.
    layout
        What the header says of the pixels.

    Returns
    -------
    int
        Bytes from the beginning of the value.

    Raises
    ------
    HeldError
        ``pixels-unreadable``: behind the frames that the header counts there may be another one,
        or the header does not say how many bytes are pixels.
    """
    there, pixels = span.end - span.value, layout.bytes
    # In big endian words, the padding byte is in front of the last pixel's byte.
    pixels += pixels % 2
    if not pixels and _has_nonzero(stream, span, 0):
        raise size_unknown_error()
    if pixels >= there:
        return there
    if layout.subsampled and 0 <= there - pixels * 3 // 2 <= 1:
        return min(there, pixels * 3 // 2)
    if there - pixels >= max(layout.frame_bytes, 2) and _has_nonzero(stream, span, pixels):
        raise HeldError(
            "pixels-unreadable",
            "there is more pixel data than Rows, Columns and NumberOfFrames say; correct them at "
            "the file's origin, or remove what follows the last frame",
        )
    return pixels


def _has_nonzero(stream: BinaryIO, span: PixelSpan, behind: int) -> bool:
    stream.seek(span.value + behind)
    left = span.end - span.value - behind
    while left > 0:
        chunk = stream.read(min(CHUNK, left))
        if not chunk or chunk.strip(b"\0"):
            return bool(chunk)
        left -= len(chunk)
    return False
