"""Search long runs of bytes for a study's identifying values.

In binary data a few letters occur by chance. A hit is therefore weighed by its improbability, in
bits: 7 for a letter (upper and lower case both match), 8 for any other character, and about 1.4
for each readable byte around it. Hits below a threshold are ignored.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from functools import cached_property

from .identity import Identity
from .text_decoding import fold

# A hit counts if random bytes of the same length would give one in 2**24 files at most.
_CHANCE = 24.0
_LETTER, _OTHER = 7.0, 8.0
_READABLE_BYTE = math.log2(256 / 95)
_ENCODINGS = ("utf-8", "cp1250", "cp1252", "iso8859-5", "cp932", "gb18030", "utf-16-le")
# Zero bytes are deleted as well, so that UTF-16 reads like ASCII.
_LOWER = bytes.maketrans(bytes(range(65, 91)), bytes(range(97, 123)))
# Maps each byte to "p" (printable ASCII) or zero.
_KINDS = bytes(ord("p") if 32 <= byte < 127 else 0 for byte in range(256))
# Up to _FEW bytes are searched only if they hold a run of readable characters.
_FEW, _READABLE = 256, re.compile(rb"[ -~]{6}")
_SHORTEST = 4
_CARRIED = 1024
_PIECE = 1 << 18
_WORD = re.compile(r"[^\W_]+")


class ByteSearch:
    """A search for identifying values in bytes of any length.

    Parameters
    ----------
    identity
        The study's identifying values. They are held in memory only.
    dates
        Whole dates, as ``YYYYMMDD``, that must not occur.
    """

    def __init__(self, identity: Identity, dates: Iterable[str]) -> None:
        self._identity, self._dates = identity, tuple(dates)

    @cached_property
    def _found(self) -> dict[bytes, str]:
        """The kind of value by its encoded bytes; built on first use, as most files need none."""
        found: dict[bytes, str] = {}
        for kind, text in _texts(self._identity, self._dates):
            for needle in _encoded(text):
                if len(needle) >= _SHORTEST:
                    found.setdefault(needle, kind)
        return found

    @cached_property
    def _plain(self) -> tuple[bytes, ...]:
        return tuple(needle for needle in self._found if needle.isascii())

    @cached_property
    def _others(self) -> tuple[bytes, ...]:
        return tuple(needle for needle in self._found if not needle.isascii())

    def __repr__(self) -> str:
        """Return a text that holds no identifying value."""
        return f"Raw({len(self._dates)} dates)"

    def search_value(self, value: bytes) -> str | None:
        """Return the kind of identifying value that `value` holds, or None."""
        if len(value) <= _FEW and not _READABLE.search(value.translate(None, b"\0")):
            return None
        pieces = (value[at : at + _PIECE] for at in range(0, len(value), _PIECE))
        return self.search_stream(pieces, len(value))

    def search_stream(self, chunks: Iterable[bytes], size: int) -> str | None:
        """Return the kind of identifying value that a stream holds, or None.

        Values that cross a chunk's border are found too.

        Parameters
        ----------
        chunks
            The stream's bytes, in order.
        size
            The length of the whole stream in bytes.
        """
        if not self._found:
            return None
        wanted = _CHANCE + math.log2(max(size, 1) * len(self._found))
        others = [needle for needle in self._others if _bits(needle) >= wanted]
        shortest = max(_SHORTEST, math.ceil(wanted / _OTHER))
        carried = b""
        for chunk in chunks:
            data = carried + chunk.translate(_LOWER, b"\0")
            for needle in others:
                if needle in data:
                    return self._found[needle]
            runs = list(printable_runs(data, shortest))
            together = b"\n".join(runs)
            hits = [needle for needle in self._plain if needle in together]
            for run in runs if hits else ():
                if (found := self._in_run(run, hits, wanted)) is not None:
                    return found
            carried = data[-_CARRIED:]
        return None

    def _in_run(self, run: bytes, needles: list[bytes], wanted: float) -> str | None:
        for needle in needles:
            at = run.find(needle)
            while at >= 0:
                around = _READABLE_BYTE * (len(run) - len(needle))
                if _bits(needle) + around >= wanted and _whole(run, at, needle):
                    return self._found[needle]
                at = run.find(needle, at + 1)
        return None


def printable_runs(data: bytes, shortest: int) -> Iterator[bytes]:
    """Yield the runs of printable ASCII.

    Parameters
    ----------
    data
        The bytes to search.
    shortest
        The length in bytes below which a run is left out.
    """
    kinds = data.translate(_KINDS)
    wanted = b"p" * shortest
    start = kinds.find(wanted)
    while start >= 0:
        end = kinds.find(b"\0", start + shortest)
        if end < 0:
            end = len(data)
        yield data[start:end]
        start = kinds.find(wanted, end)


def _bits(needle: bytes) -> float:
    letters = sum(97 <= byte <= 122 for byte in needle)
    return _LETTER * letters + _OTHER * (len(needle) - letters)


def _whole(run: bytes, at: int, needle: bytes) -> bool:
    """Return whether a short word stands alone: `thorakal` does not name Mr Horák."""
    if len(needle) >= 7:
        return True
    before, behind = run[at - 1 : at], run[at + len(needle) : at + len(needle) + 1]
    return not before.isalnum() and not behind.isalnum()


def _texts(identity: Identity, dates: Iterable[str]) -> Iterator[tuple[str, str]]:
    for name in identity.names:
        for word in (*_WORD.findall(name), *fold(name).split()):
            if not word.isdigit():
                yield "a name", word
    for value in identity.ids:
        if any(c.isdigit() for c in value):
            yield "an identifier", value.strip()
            yield "an identifier", re.sub(r"[\W_]", "", value)
    for place in identity.places:
        for part in re.split(r"[\r\n,;\\^]", place):
            if len(part.strip()) >= 8:
                yield "an address", part.strip()
    for phone in identity.phones:
        if len(digits := re.sub(r"\D", "", phone)) >= 7:
            yield "a phone number", digits
            yield "a phone number", phone.strip()
    for day in dates:
        year, month, number = day[:4], day[4:6], day[6:8]
        for text in (
            day, f"{year}-{month}-{number}", f"{year}/{month}/{number}",
            f"{number}.{month}.{year}", f"{number}/{month}/{year}", f"{number}-{month}-{year}",
        ):  # fmt: skip
            yield "a full date", text


def _encoded(text: str) -> Iterator[bytes]:
    for form in {text, text.lower(), text.upper(), text.title()}:
        for encoding in _ENCODINGS:
            try:
                yield form.encode(encoding).translate(_LOWER, b"\0")
            except UnicodeEncodeError:
                continue
