"""Read pieces of a file as one run of bytes, through a window of bounded size."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from typing import BinaryIO, NamedTuple

from ...errors import HeldError

_WINDOW = 1 << 18
# The most patches of one frame; real images need far fewer.
_MOST = 200_000


class Patch(NamedTuple):
    """Bytes of a frame to overwrite, with `put` and then zeros.

    Attributes
    ----------
    start, end
        The offset of the first byte in the frame, and the offset after the last.
    put
        The bytes to write first.
    """

    start: int
    end: int
    put: bytes = b""


class Patches(list[Patch]):
    """The patches of one frame, in any order.

    Attributes
    ----------
    samples
        How many samples the frame's own header declares; 0 if unknown.
    """

    samples = 0

    def take_out(self, start: int, end: int, put: bytes = b"") -> None:
        """Add a patch, unless it is empty.

        Parameters
        ----------
        start, end
            The offset of the first byte in the frame, and the offset after the last.
        put
            The bytes to write first; zeros follow.

        Raises
        ------
        HeldError
            ``pixels-unreadable``: there are too many patches.
        """
        if start >= end:
            return
        if len(self) >= _MOST:
            raise unreadable(f"a frame has more than {_MOST} comments or other parts to remove")
        self.append(Patch(start, end, put))


class FrameReader:
    """A frame's bytes, which may be spread over several fragments.

    Parameters
    ----------
    stream
        The file.
    pieces
        Position in the file and length in bytes of each fragment.

    Attributes
    ----------
    size
        The length of the frame in bytes.
    """

    def __init__(self, stream: BinaryIO, pieces: Sequence[tuple[int, int]]) -> None:
        self._stream = stream
        self._pieces = pieces
        self._starts: list[int] = []
        self.size = 0
        for _, length in pieces:
            self._starts.append(self.size)
            self.size += length
        self._window, self._at = b"", 0

    def read(self, at: int, count: int) -> bytes:
        """Return bytes of the frame.

        Parameters
        ----------
        at
            The offset of the first byte in the frame.
        count
            How many bytes; fewer are returned at the end of the frame.

        Raises
        ------
        HeldError
            ``truncated``: the file became shorter.
        """
        offset = at - self._at
        if offset < 0 or offset + count > len(self._window):
            self._load(at, max(count, _WINDOW))
            offset = 0
        return self._window[offset : offset + count]

    def read_int(self, at: int, count: int = 2, order: str = "big") -> int:
        """Return an unsigned integer. Bytes after the end of the frame count as zeros.

        Parameters
        ----------
        at
            The offset of its first byte in the frame.
        count
            Its length in bytes.
        order
            The byte order, ``big`` or ``little``.
        """
        data = self.read(at, count).ljust(count, b"\0")
        return int.from_bytes(data, "big" if order == "big" else "little")

    def _load(self, at: int, count: int) -> None:
        self._at = at
        parts: list[bytes] = []
        number = bisect_right(self._starts, at) - 1
        while count > 0 and 0 <= number < len(self._pieces) and at < self.size:
            inside = at - self._starts[number]
            position, length = self._pieces[number]
            wanted = min(count, length - inside)
            if wanted > 0:
                self._stream.seek(position + inside)
                part = self._stream.read(wanted)
                if len(part) < wanted:
                    raise HeldError(
                        "truncated",
                        "the file became shorter while it was read; send the study again",
                    )
                parts.append(part)
                at += wanted
                count -= wanted
            number += 1
        self._window = parts[0] if len(parts) == 1 else b"".join(parts)

    def search(self, pattern: re.Pattern[bytes], at: int, longest: int, end: int = -1) -> int:
        """Return the offset of the first match of a pattern, or -1.

        Parameters
        ----------
        pattern
            The pattern.
        at
            The offset in the frame to start from.
        longest
            The length in bytes of the longest match.
        end
            The offset to stop at, by default the end of the frame.
        """
        stop = self.size if end < 0 else min(end, self.size)
        while at < stop:
            offset = at - self._at
            if offset < 0 or len(self._window) - offset < longest:
                self._load(at, _WINDOW)
                offset = 0
            until = min(len(self._window), stop - self._at)
            found = pattern.search(self._window, offset, until)
            if found:
                return self._at + found.start()
            if self._at + until >= stop:
                return -1
            at = max(at + 1, self._at + until - longest + 1)
        return -1


def unreadable(why: str) -> HeldError:
    """Return the refusal of pixel data that does not follow its format.

    Its code is ``pixels-unreadable``.
    """
    return HeldError(
        "pixels-unreadable",
        f"the compressed pixel data does not follow its format: {why}; "
        "have the file written anew at its origin, or decompress it there",
    )
