"""Deflated image frames (PS3.5 A.4.14): nothing may stand behind the end of the deflated bytes."""

from __future__ import annotations

import zlib

from .data import Data, Patches, unreadable

_CHUNK, _PIECE = 1 << 16, 1 << 20


def needless(data: Data, frame_bytes: int) -> Patches:
    """Find what stands behind a frame's deflated bytes.

    Raises
    ------
    HeldError
        ``pixels-unreadable``: they are not deflated, or are more than one frame.
    """
    patches, inflate = Patches(), zlib.decompressobj(-zlib.MAX_WBITS)
    at = made = 0
    try:
        while at < data.size and not inflate.eof:
            chunk = data.read(at, min(_CHUNK, data.size - at))
            at += len(chunk)
            while chunk and not inflate.eof:
                made += len(inflate.decompress(chunk, _PIECE))
                if frame_bytes and made > frame_bytes + 1:
                    raise unreadable("a frame inflates to more than the header says")
                chunk = inflate.unconsumed_tail
    except zlib.error:
        raise unreadable("a frame is not deflated") from None
    if not inflate.eof:
        raise unreadable("a deflated frame is cut short")
    patches.zero(at - len(inflate.unused_data), data.size)
    return patches
