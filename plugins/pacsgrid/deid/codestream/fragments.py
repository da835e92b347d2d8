"""Read and copy an encapsulated pixel data element (PS3.5 A.4), fragment by fragment."""

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
# The most fragments, since their positions and lengths are held in memory.
_MOST = 1 << 20
_STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")
_RLE = "1.2.840.10008.1.2.5"
Pieces = Sequence[tuple[int, int]]


class Fragments:
    """The items of an encapsulated pixel data element.

    Parameters
    ----------
    stream
        The file.
    span
        The position of the element in the file.

    Attributes
    ----------
    positions, lengths
        Position in the file and length in bytes of each item's value. The first item is the
        basic offset table.

    Raises
    ------
    HeldError
        ``pixels-unreadable``: the element has more fragments than any real image.
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
                raise unreadable(f"there are more than {_MOST} fragments")
            length = int.from_bytes(head[4:], "little")
            self.positions.append(at + 8)
            self.lengths.append(length)
            at += 8 + length

    def __len__(self) -> int:
        """Return the number of fragments, without the offset table."""
        return max(0, len(self.positions) - 1)

    def pieces(self, first: int, end: int) -> list[tuple[int, int]]:
        """Return position in the file and length in bytes of some fragments.

        Parameters
        ----------
        first
            The number of the first fragment, from 0.
        end
            The number after the last.
        """
        return [
            (self.positions[n + 1], self.lengths[n + 1]) for n in range(first, min(end, len(self)))
        ]

    def offsets(self) -> array[int]:
        """Return the basic offset table, empty when it does not match the fragments."""
        found = array("I")
        if not self.positions or self.lengths[0] % 4 or self.lengths[0] > 4 * len(self):
            return found
        self._stream.seek(self.positions[0])
        found.frombytes(self._stream.read(self.lengths[0]))
        return found if self._lead(found, [0] * 0) else array("I")

    def _lead(self, offsets: Sequence[int], lengths: Sequence[int]) -> bool:
        """Return whether offsets ascend from 0, and each is the start of a fragment."""
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
        """Return whether an extended offset table matches the fragments (PS3.3 C.7.6.3.1.8).

        Parameters
        ----------
        offsets
            The value of Extended Offset Table (7FE0,0001).
        lengths
            The value of Extended Offset Table Lengths (7FE0,0002).
        """
        if len(offsets) % 8 or len(offsets) != len(lengths):
            return False
        return self._lead(array("Q", offsets), array("Q", lengths))

    def frames(self, count: int, syntax: str) -> Iterator[tuple[int, int]]:
        """Yield for each frame the numbers of its first fragment and of the one after its last.

        Parameters
        ----------
        count
            NumberOfFrames (0028,0008).
        syntax
            The transfer syntax UID.

        Raises
        ------
        HeldError
            ``pixels-unreadable``: there are fewer fragments than frames.
        """
        there = len(self)
        if not there:
            return
        if count == 1 or is_video(syntax):
            yield 0, there
            return
        if there < count:
            raise unreadable(f"there are only {there} fragments for {count} frames")
        offsets = self.offsets()
        if len(offsets) == count and syntax != _RLE:
            yield from self._by_offsets(offsets)
        elif there == count or syntax == _RLE:
            yield from ((n, n + 1) for n in range(count))
        else:
            yield from self._by_starts()

    def check_count(self, count: int, syntax: str) -> None:
        """Refuse more images than the header declares.

        Parameters
        ----------
        count
            NumberOfFrames (0028,0008).
        syntax
            The transfer syntax UID.

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
                f"the pixel data holds {images} images, but NumberOfFrames (0028,0008) is {count}; "
                "correct that at its origin, or remove the images after the last frame there",
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
    """Copy an encapsulated pixel data element, with zeros for what the image does not need.

    An offset table that does not match the fragments becomes an empty one. Fragments after the
    last frame become zeros.

    Parameters
    ----------
    stream
        The file.
    span
        The position of the element in the file.
    syntax
        The transfer syntax UID.
    layout
        The size and the number of the frames, from the header.

    Yields
    ------
    bytes
        The new element, in pieces.

    Raises
    ------
    HeldError
        ``pixels-unreadable``: a frame cannot be parsed, or frames are missing. ``truncated``:
        the file became shorter.
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
        raise unreadable("there are no fragments")
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
        raise unreadable(f"there are only {frames} of {layout.frames} frames")
    yield _END


def check_frames(stream: BinaryIO, span: PixelSpan, syntax: str, layout: PixelLayout) -> None:
    """Refuse frames that contradict the header, before a decoder reads them.

    Parameters
    ----------
    stream
        The file.
    span
        The position of the pixel data element in the file.
    syntax
        The transfer syntax UID.
    layout
        The size and the number of the frames, from the header.

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
    """Yield the fragments of a frame with the patches applied."""
    patches.sort()
    at = number = 0
    for _, length in pieces:
        yield _ITEM + struct.pack("<L", length)
        end = at + length
        while at < end:
            stop = min(at + _CHUNK, end)
            part = bytearray(data.read(at, stop - at))
            if len(part) < stop - at:
                raise HeldError(
                    "truncated", "the file became shorter while it was read; send the study again"
                )
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
