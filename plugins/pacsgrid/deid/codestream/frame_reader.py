"""Pieces of a file read as one run of bytes, through a window of bounded size."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from typing import BinaryIO, NamedTuple

from ...errors import HeldError

_WINDOW = 1 << 18
# Patches of one frame: more of them than this no writer makes.
_MOST = 200_000


class Patch(NamedTuple):
    """Bytes that go: `put` stands in their place, and zeros behind it up to `end`."""

    start: int
    end: int
    put: bytes = b""


class Patches(list[Patch]):
    """The patches of one frame, in any order; `samples` is how many it says it decodes to."""

    samples = 0

    def take_out(self, start: int, end: int, put: bytes = b"") -> None:
        """Take out bytes from `start` up to `end`, if there are any.

        Raises
        ------
        HeldError
            ``pixels-unreadable``: there are more of them than any writer makes.
        """
        if start >= end:
            return
        if len(self) >= _MOST:
            raise unreadable("it has more comments than can be taken out")
        self.append(Patch(start, end, put))


class FrameReader:
    """A frame's bytes, which may stand in several fragments.

    Parameters
    ----------
    pieces
        Position in the file and length of each.
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
        """Return bytes; fewer than `count` only at the end."""
        offset = at - self._at
        if offset < 0 or offset + count > len(self._window):
            self._load(at, max(count, _WINDOW))
            offset = 0
        return self._window[offset : offset + count]

    def read_int(self, at: int, count: int = 2, order: str = "big") -> int:
        """Return the whole number at a place; what is behind the end counts as zeros."""
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
                    raise HeldError("truncated", "the file became shorter while it was read")
                parts.append(part)
                at += wanted
                count -= wanted
            number += 1
        self._window = parts[0] if len(parts) == 1 else b"".join(parts)

    def search(self, pattern: re.Pattern[bytes], at: int, longest: int, end: int = -1) -> int:
        """Return where a pattern first stands at or behind `at`; -1 when it does not.

        Parameters
        ----------
        longest
            Length in bytes of the longest match.
        end
            Where to stop; the end of the data by default.
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
    """Return the reason for pixel data that its own grammar cannot read."""
    return HeldError(
        "pixels-unreadable",
        f"the compressed pixel data cannot be read as its transfer syntax says: {why}; "
        "have it written anew at its origin, or decompress it there",
    )
