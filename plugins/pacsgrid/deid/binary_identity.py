"""Find names and numbers of a study in binary values of any length.

A word of five letters in a few thousand random bytes is no coincidence; in millions of bytes it is,
unless the bytes around it are readable as well. A match is weighed by its improbability in bits.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache

from .identifiers import StudyIdentifiers
from .text_folding import fold

# Bits. One in 2**20 values is emptied by coincidence.
_CHANCE = 20.0
_READABLE_BYTE = 1.4
_ENCODINGS = ("utf-8", "cp1250", "cp1252", "iso8859-5", "cp932", "gb18030", "utf-16-le")
_LOWER = bytes.maketrans(bytes(range(65, 91)), bytes(range(97, 123)))
_READABLE = re.compile(rb"[ -~]*")
_READABLE_BACK = re.compile(rb"[ -~]*\Z")
_WORD = re.compile(r"[^\W_]+")
_AROUND = 64


def holds_identity(value: bytes, identifiers: StudyIdentifiers) -> bool:
    """Return whether a binary value holds a name, identifier, birth date or address of the study.

    Zero bytes and the case of letters are ignored, so that text in UTF-16 is found as well.

    Parameters
    ----------
    value
        The value.
    identifiers
        Identifying values of the study.

    Returns
    -------
    bool
    """
    pattern, count = _pattern(identifiers)
    if pattern is None:
        return False
    data = value.translate(_LOWER, b"\0")
    wanted = _CHANCE + math.log2(max(1, len(data)) * count)
    at = 0
    while (match := pattern.search(data, at)) is not None:
        start, end = match.span()
        at = start + 1
        found = match[0]
        before = _READABLE_BACK.search(data[max(0, start - _AROUND) : start])
        behind = _READABLE.match(data, end, end + _AROUND)
        around = (len(before[0]) if before else 0) + (len(behind[0]) if behind else 0)
        bits = sum(7 if 97 <= byte <= 122 else 8 for byte in found)
        if bits + _READABLE_BYTE * around >= wanted and (
            len(found) >= 7
            or not (data[start - 1 : start].isalnum() or data[end : end + 1].isalnum())
        ):
            return True
    return False


@lru_cache(maxsize=16)
def _pattern(identifiers: StudyIdentifiers) -> tuple[re.Pattern[bytes] | None, int]:
    texts = {word for name in identifiers.names for word in _WORD.findall(name)}
    texts |= {word for name in identifiers.names for word in fold(name).split()}
    texts = {text for text in texts if not text.isdigit()}
    for value in identifiers.ids | identifiers.birth_dates | identifiers.devices:
        if any(c.isdigit() for c in value):
            texts |= {value.strip(), re.sub(r"[\W_]", "", value)}
    for day in identifiers.birth_dates:
        year, month, number = day[:4], day[4:6], day[6:8]
        for mark in "-/.":
            texts |= {mark.join((year, month, number)), mark.join((number, month, year))}
    for place in identifiers.places:
        texts |= {part.strip() for part in re.split(r"[\r\n,;\\^]", place) if len(part) >= 8}
    found = {needle for text in texts for needle in _encoded(text) if len(needle) >= 4}
    if not found:
        return None, 0
    longest_first = sorted(found, key=lambda needle: (-len(needle), needle))
    return re.compile(b"|".join(map(re.escape, longest_first))), len(found)


def _encoded(text: str) -> set[bytes]:
    found = set()
    for form in (text, text.lower(), text.upper(), text.title()):
        for encoding in _ENCODINGS:
            try:
                found.add(form.encode(encoding).translate(_LOWER, b"\0"))
            except UnicodeEncodeError:
                continue
    return found
