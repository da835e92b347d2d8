"""Uncompressed pixel data, copied: what stands behind the last pixel is zeros."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from pydicom.uid import UID

from ..errors import HeldError
from .pixel_location import PixelLayout, PixelSpan

# Small enough to come from memory that is there already.
CHUNK = 1 << 16


def copy_native(
    stream: BinaryIO, span: PixelSpan, syntax: str, layout: PixelLayout
) -> Iterator[bytes]:
    """Copy a pixel data element of a defined length (PS3.5 8.1.1, A.1 to A.3).

    Raises
    ------
    HeldError
        ``pixels-unreadable``: it should consist of fragments, or holds more frames than the header
        says; ``truncated``: the file became shorter.
    """
    if UID(syntax).is_encapsulated:
        raise HeldError(
            "pixels-unreadable",
            "the pixel data is not in fragments, which its transfer syntax asks for; correct "
            "(0002,0010) at its origin, or have it written anew",
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


def pixel_byte_count(stream: BinaryIO, span: PixelSpan, layout: PixelLayout) -> int:
    """Return how many bytes of a value are pixels.

    Some writers say that colours are subsampled and store them whole.

    Raises
    ------
    HeldError
        ``pixels-unreadable``: behind the frames that the header names there is as much as
        another, which may be one; or the header does not say how much is pixels.
    """
    there, pixels = span.end - span.value, layout.bytes
    # In big endian words the byte of padding stands before the last pixel's.
    pixels += pixels % 2
    if not pixels and _has_nonzero(stream, span, 0):
        raise HeldError(
            "pixels-unreadable",
            "Rows, Columns, BitsAllocated or NumberOfFrames do not say what of the pixel data is "
            "pixels; correct these at its origin",
        )
    if pixels >= there:
        return there
    if layout.subsampled and 0 <= there - pixels * 3 // 2 <= 1:
        return min(there, pixels * 3 // 2)
    if there - pixels >= max(layout.frame_bytes, 2) and _has_nonzero(stream, span, pixels):
        raise HeldError(
            "pixels-unreadable",
            "the pixel data holds more than Rows, Columns and NumberOfFrames say; correct these "
            "at its origin, or cut off what stands behind the last frame",
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
