"""An encapsulated pixel data element (PS3.5 A.4): its fragments, its frames, its copy."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from ...errors import HeldError
from ..pixel_location import PixelLayout, PixelSpan
from .dispatch import find_removable, is_video
from .frame_reader import FrameReader, Patches, unreadable

_ITEM = b"\xfe\xff\x00\xe0"
_END = b"\xfe\xff\xdd\xe0\0\0\0\0"
_CHUNK = 1 << 18
# Positions and lengths are kept in memory.
_MOST = 1 << 20
_STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")
_RLE = "1.2.840.10008.1.2.5"
Pieces = Sequence[tuple[int, int]]


class Fragments:
    """Where the items of an encapsulated pixel data element stand in a file.

    Raises
    ------
    HeldError
        ``pixels-unreadable``: it has more fragments than anything written on purpose;
        ``truncated``: the file ends inside.
    """

    def __init__(self, stream: BinaryIO, span: PixelSpan) -> None:
        self._stream = stream
        self.positions, self.lengths = array("Q"), array("L")
        at = span.value
        while at + 8 <= span.end:
            stream.seek(at)
            head = stream.read(8)
            if head[:4] != _ITEM:
                break
            if len(self.positions) > _MOST:
                raise unreadable(f"it has more than {_MOST} fragments")
            length = int.from_bytes(head[4:], "little")
            self.positions.append(at + 8)
            self.lengths.append(length)
            at += 8 + length

    def __len__(self) -> int:
        """Return the number of fragments, the offset table not among them."""
        return max(0, len(self.positions) - 1)

    def pieces(self, first: int, end: int) -> list[tuple[int, int]]:
        """Return position and length of fragments, counted from 0."""
        return [
            (self.positions[n + 1], self.lengths[n + 1]) for n in range(first, min(end, len(self)))
        ]

    def offsets(self) -> array[int]:
        """Return the basic offset table, empty when it does not lead to fragments."""
        found = array("I")
        if not self.positions or self.lengths[0] % 4 or self.lengths[0] > 4 * len(self):
            return found
        self._stream.seek(self.positions[0])
        found.frombytes(self._stream.read(self.lengths[0]))
        return found if self._lead(found, [0] * 0) else array("I")

    def _lead(self, offsets: Sequence[int], lengths: Sequence[int]) -> bool:
        """Tell whether offsets ascend from the first fragment, each to the start of one."""
        if not len(self) or not offsets or offsets[0] != 0:
            return False
        first, number = self.positions[1], 0
        for n, offset in enumerate(offsets):
            while number < len(self) and self.positions[number + 1] - first < offset:
                number += 1
            if number >= len(self) or self.positions[number + 1] - first != offset:
                return False
            if n < len(lengths) and not 0 <= self.lengths[number + 1] - lengths[n] <= 1:
                return False
            if n and offset <= offsets[n - 1]:
                return False
        return True

    def extended(self, offsets: bytes, lengths: bytes) -> bool:
        """Tell whether an extended offset table is one (PS3.3 C.7.6.3.1.8)."""
        if len(offsets) % 8 or len(offsets) != len(lengths):
            return False
        return self._lead(array("Q", offsets), array("Q", lengths))

    def frames(self, count: int, syntax: str) -> Iterator[tuple[int, int]]:
        """Yield of each frame its first fragment and the one behind its last.

        Raises
        ------
        HeldError
            ``pixels-unreadable``: it has fewer fragments than frames.
        """
        there = len(self)
        if not there:
            return
        if count == 1 or is_video(syntax):
            yield 0, there
            return
        if there < count:
            raise unreadable(f"it has {there} fragments for {count} frames")
        offsets = self.offsets()
        if len(offsets) == count and syntax != _RLE:
            yield from self._by_offsets(offsets)
        elif there == count or syntax == _RLE:
            yield from ((n, n + 1) for n in range(count))
        else:
            yield from self._by_starts()

    def check_count(self, count: int, syntax: str) -> None:
        """Refuse further images behind the frames that the header counts; nobody knows of them.

        Raises
        ------
        HeldError
            ``pixels-unreadable``.
        """
        if len(self) <= count or is_video(syntax):
            return
        images = 0
        for position, length in zip(self.positions[1:], self.lengths[1:], strict=True):
            self._stream.seek(position)
            images += self._stream.read(min(8, length)).startswith(_STARTS)
        if images > count:
            raise HeldError(
                "pixels-unreadable",
                f"the pixel data holds {images} images where NumberOfFrames says {count}; correct "
                "it at its origin, or take out what stands behind the last frame",
            )

    def _by_offsets(self, offsets: Sequence[int]) -> Iterator[tuple[int, int]]:
        first, number, start = self.positions[1], 0, 0
        for offset in offsets[1:]:
            while self.positions[number + 1] - first < offset:
                number += 1
            yield start, number
            start = number
        yield start, len(self)

    def _by_starts(self) -> Iterator[tuple[int, int]]:
        start = 0
        for number in range(1, len(self)):
            self._stream.seek(self.positions[number + 1])
            if self._stream.read(min(8, self.lengths[number + 1])).startswith(_STARTS):
                yield start, number
                start = number
        yield start, len(self)


def copy_fragments(
    stream: BinaryIO, span: PixelSpan, syntax: str, layout: PixelLayout
) -> Iterator[bytes]:
    """Copy an encapsulated pixel data element without what its image does not need.

    An offset table that does not lead to the fragments becomes an empty one; fragments behind
    the last frame become zeros.

    Raises
    ------
    HeldError
        ``pixels-unreadable`` or ``truncated``.
    """
    if layout.rows < 1 or layout.columns < 1:
        # No search for text looks at it, but viewers show what the codestream says.
        raise HeldError(
            "pixels-unreadable",
            "the image is compressed, but Rows or Columns is missing or 0; correct it at the "
            "file's origin",
        )
    fragments = Fragments(stream, span)
    stream.seek(span.start)
    yield stream.read(span.value - span.start)
    if not fragments.positions:
        raise unreadable("it has no fragments")
    fragments.check_count(layout.frames, syntax)
    offsets = fragments.offsets().tobytes()
    yield _ITEM + struct.pack("<L", len(offsets)) + offsets
    done = frames = 0
    for first, end in fragments.frames(layout.frames, syntax):
        pieces = fragments.pieces(first, end)
        data = FrameReader(stream, pieces)
        frames += 1
        patches = find_removable(data, syntax, layout) if frames <= layout.frames else _all(data)
        yield from _written(data, pieces, patches)
        done = end
    for number in range(done, len(fragments)):
        pieces = fragments.pieces(number, number + 1)
        data = FrameReader(stream, pieces)
        yield from _written(data, pieces, _all(data))
    if 0 < frames < layout.frames and not is_video(syntax):
        raise unreadable(f"it has {frames} of {layout.frames} frames")
    yield _END


def check_frames(stream: BinaryIO, span: PixelSpan, syntax: str, layout: PixelLayout) -> None:
    """Refuse frames that are not what the header says, before a decoder trusts them.

    Raises
    ------
    HeldError
        ``pixels-unreadable``.
    """
    fragments = Fragments(stream, span)
    for first, end in fragments.frames(layout.frames, syntax):
        find_removable(FrameReader(stream, fragments.pieces(first, end)), syntax, layout)


def _all(data: FrameReader) -> Patches:
    patches = Patches()
    patches.take_out(0, data.size)
    return patches


def _written(data: FrameReader, pieces: Pieces, patches: Patches) -> Iterator[bytes]:
    """Yield the fragments of a frame, patched."""
    patches.sort()
    at = number = 0
    for _, length in pieces:
        yield _ITEM + struct.pack("<L", length)
        end = at + length
        while at < end:
            stop = min(at + _CHUNK, end)
            part = bytearray(data.read(at, stop - at))
            if len(part) < stop - at:
                raise HeldError("truncated", "the file became shorter while it was read")
            for patch in patches[number:]:
                if patch.start >= stop:
                    break
                first, last = max(patch.start, at), min(patch.end, stop)
                put = patch.put.ljust(patch.end - patch.start, b"\0") if patch.put else b""
                part[first - at : last - at] = (
                    put[first - patch.start : last - patch.start] if put else bytes(last - first)
                )
                if patch.end <= stop:
                    number += 1
            yield bytes(part)
            at = stop
