"""Comments inside compressed frames: blanked in place, so that nothing else moves.

A JPEG, JPEG-LS or JPEG 2000 stream carries text of whoever wrote it (ITU-T T.81 B.2.4.5 and
B.2.4.6, T.87, T.800 A.9.2); what a decoder needs of these segments stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from .pixels import Span

_CHUNK = 1 << 16
# Segments stand in front of the coded data; more of them than this no writer makes.
_HEAD = 1 << 18
_ITEM = b"\xfe\xff\x00\xe0"
_COMMENTS = (0xFE, 0x64)
_CODED = (0xDA, 0x90, 0x93)  # start of scan, of tile-part, of data
# Application segments that say how to decode: colour transform and profile, not who and when.
_NEEDED = (b"JFIF\0", b"Adobe", b"ICC_PROFILE\0", b"SPIFF\0", b"mrfx")


def copied(stream: BinaryIO, span: Span) -> Iterator[bytes]:
    """Copy an encapsulated pixel data element, its frames' comments blanked (PS3.5 A.4)."""
    stream.seek(span.start)
    yield stream.read(span.value - span.start)
    at = span.value
    while at < span.end:
        stream.seek(at)
        head = stream.read(8)
        yield head
        length = int.from_bytes(head[4:8], "little")
        if head[:4] != _ITEM:
            return
        front = bytearray(stream.read(min(length, _HEAD)))
        for start, end in _texts(front):
            front[start:end] = bytes(end - start)
        yield bytes(front)
        left = length - len(front)
        while left:
            chunk = stream.read(min(_CHUNK, left))
            if not chunk:
                return
            left -= len(chunk)
            yield chunk
        at += 8 + length


def _texts(data: bytearray) -> Iterator[tuple[int, int]]:
    """List where comments and needless application segments of a frame have their contents."""
    if bytes(data[:2]) not in (b"\xff\xd8", b"\xff\x4f"):
        return
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] not in _CODED:
        marker, end = data[at + 1], at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in _COMMENTS:
            # JPEG 2000 says in two bytes what kind of comment it is.
            yield min(at + (6 if marker == 0x64 else 4), end), min(end, len(data))
        elif 0xE0 <= marker <= 0xEF and not data[at + 4 : end].startswith(_NEEDED):
            yield at + 4, min(end, len(data))
        at = end
