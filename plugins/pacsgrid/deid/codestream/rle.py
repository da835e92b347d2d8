"""Find what decoders of RLE do not need (PS3.5 Annex G)."""

from __future__ import annotations

from itertools import pairwise

from .frame_reader import FrameReader, Patches, unreadable

_HEADER = 64
_CHUNK = 1 << 16


def find_removable(data: FrameReader, segments: int, pixels: int) -> Patches:
    """Find what a frame holds beside its image.

    Parameters
    ----------
    data
        The frame.
    segments
        How many segments a frame has, 0 if unknown.
    pixels
        How many bytes a segment decodes to, 0 if unknown.

    Returns
    -------
    Patches
        The bytes to overwrite.

    Raises
    ------
    HeldError
        ``pixels-unreadable``: the frame has no valid RLE header (PS3.5 G.5).
    """
    patches = Patches()
    count = data.read_int(0, 4, "little")
    offsets = [data.read_int(4 + 4 * n, 4, "little") for n in range(min(count, 15))]
    ascending = all(one < other for one, other in pairwise(offsets))
    if not 1 <= count <= 15 or not ascending or offsets[0] < _HEADER or offsets[-1] > data.size:
        raise unreadable("a frame has no valid RLE header")
    patches.take_out(4 + 4 * count, _HEADER)
    patches.take_out(_HEADER, offsets[0])
    for number, (start, end) in enumerate(zip(offsets, [*offsets[1:], data.size], strict=True)):
        if segments and number >= segments:
            patches.take_out(start, end)
        elif pixels:
            patches.take_out(_end(data, start, end, pixels), end)
    return patches


def _end(data: FrameReader, start: int, end: int, pixels: int) -> int:
    """Return the offset after the bytes that decode to a segment's pixels (PS3.5 G.3.2)."""
    at, made = start, 0
    while at < end and made < pixels:
        chunk = data.read(at, min(_CHUNK, end - at))
        inside, have = 0, len(chunk)
        while inside < have and made < pixels:
            code = chunk[inside]
            if code < 128:
                inside += code + 2
                made += code + 1
            elif code > 128:
                inside += 2
                made += 257 - code
            else:
                inside += 1
        at += inside
    return min(at, end)
