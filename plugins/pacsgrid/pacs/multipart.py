"""Read multipart/related as it arrives, never whole in memory (RFC 2046 5.1, PS3.18 8.6.1.2)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from email.message import Message

MOST_HEADER = 64 * 1024  # bytes of one part's header lines, or of a preamble


class MultipartError(ValueError):
    """The body is not well-formed multipart."""


class MultipartTruncatedError(MultipartError):
    """The body ended before its closing boundary; a second request may bring all of it."""


def boundary_of(content_type: str) -> bytes:
    """Return the boundary that a Content-Type names; raise MultipartError if it names none."""
    message = Message()
    message["Content-Type"] = content_type
    boundary = message.get_boundary()
    if message.get_content_maintype() != "multipart" or not boundary:
        raise MultipartError("the answer is not multipart with a boundary")
    return boundary.encode("ascii", "replace")


class MultipartReader:
    """Splits a body that arrives in pieces of any size into its parts.

    Parameters
    ----------
    pieces
        The body as it arrives. At most one piece and a boundary's length are kept in memory.
    boundary
        See `boundary_of`.
    """

    def __init__(self, pieces: Iterable[bytes], boundary: bytes) -> None:
        self._pieces = iter(pieces)
        self._mark = b"\r\n--" + boundary
        # The first boundary may be at the very start, without a line end before it.
        self._held = b"\r\n"
        self._at = 0  # everything before is consumed; removing it would copy the rest

    def parts(self) -> Iterator[tuple[dict[str, str], Iterator[memoryview]]]:
        """Yield the parts.

        A part that was not read to its end is skipped when the next one is asked for.

        Yields
        ------
        headers : dict
            The part's header fields, names in lower case.
        content : iterator of memoryview
            The part's content, piece by piece.

        Raises
        ------
        MultipartTruncatedError
            The body ended early; the last part is not complete.
        MultipartError
            Header lines are too long or malformed.
        """
        self._skip_preamble()
        while self._next():
            headers = self._headers()
            content = self._content(headers)
            yield headers, content
            for _ in content:
                pass

    def _more(self) -> None:
        try:
            piece = next(self._pieces)
        except StopIteration:
            raise MultipartTruncatedError("the answer ended before its closing boundary") from None
        rest = self._held[self._at :]
        self._held = rest + piece if rest else piece
        self._at = 0

    def _skip_preamble(self) -> None:
        while (at := self._held.find(self._mark)) < 0:
            if len(self._held) > MOST_HEADER:
                raise MultipartError("no boundary where the first part should start")
            self._more()
        self._at = at + len(self._mark)

    def _next(self) -> bool:
        """Return, after a boundary, whether a part follows; ``--`` closes the body."""
        while len(self._held) - self._at < 2:
            self._more()
        return not self._held.startswith(b"--", self._at)

    def _headers(self) -> dict[str, str]:
        # The boundary's own line end serves as the one before the first header line.
        while (end := self._held.find(b"\r\n\r\n", self._at, self._at + MOST_HEADER)) < 0:
            if len(self._held) - self._at > MOST_HEADER:
                raise MultipartError("a part's header lines are too long")
            self._more()
        headers: dict[str, str] = {}
        for line in self._held[self._at : end].split(b"\r\n"):
            if line.strip(b" \t"):
                name, colon, value = line.decode("latin-1").partition(":")
                if not colon:
                    raise MultipartError("a part has a malformed header line")
                headers[name.strip().lower()] = value.strip()
        # The end of the empty line may belong to the boundary of a part without content.
        self._at = end + 2
        return headers

    def _content(self, headers: dict[str, str]) -> Iterator[memoryview]:
        """Yield what precedes the next boundary.

        A part's Content-Length is used to skip content quickly, but not trusted: the boundary must
        follow it.
        """
        text = headers.get("content-length", "")
        # Including the end of the empty line.
        told = int(text) + 2 if re.fullmatch("[0-9]{1,15}", text) else 0
        skip = 2
        passed = 0
        while True:
            held, start = self._held, self._at
            if told - passed > len(held) - start:
                found, end = -1, len(held)
            else:
                found = held.find(self._mark, start + max(0, told - passed))
                end = found if found >= 0 else max(start, len(held) - len(self._mark) + 1)
            if end - start > skip:
                yield memoryview(held)[start + skip : end]
            skip = max(0, skip - (end - start))
            passed += end - start
            self._at = end
            if found >= 0:
                if told and passed != told:
                    raise MultipartError("a part is not as long as its header says")
                self._at += len(self._mark)
                return
            self._more()
