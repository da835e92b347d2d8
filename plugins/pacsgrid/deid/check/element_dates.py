"""Read days from DA and DT values, including malformed ones. The checker's own parser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_YEAR_FIRST = re.compile(
    r"(?<!\d)(\d{4})([-/.: ]?)(\d\d)\2(\d\d)|(?<!\d)(\d{4})[-/.: ](\d\d?)[-/.: ](\d\d?)"
)
_YEAR_LAST = re.compile(r"(?<!\d)(\d\d?)[-/. ]{1,2}(\d\d?)[-/. ]{1,2}(\d{4})")
_SPELLED = re.compile(
    r"(\d{1,4})[-. /,]*([a-z]{3})[a-z]*[-. /,]*(\d{1,4})"
    r"|([a-z]{3})[a-z]*[. ]+(\d\d?),? +(\d{4})"
)


def days_in_value(text: str) -> set[str]:
    """Return the days that a value may mean, as ``YYYYMMDD``; 3/4/2024 gives two."""
    return {day for day, _ in days_with_rest(text)}


def days_with_rest(text: str) -> Iterator[tuple[str, str]]:
    """Yield each day in a text, as ``YYYYMMDD``, and the text that follows it."""
    text = text.lower()
    for match in _YEAR_FIRST.finditer(text):
        year, month, day = match.group(1, 3, 4) if match[1] else match.group(5, 6, 7)
        yield from _valid(year, month, day, text[match.end() :])
    for match in _YEAR_LAST.finditer(text):
        one, other, year = match.groups()
        yield from _valid(year, other, one, text[match.end() :])
        yield from _valid(year, one, other, text[match.end() :])
    for match in _SPELLED.finditer(text):
        month = match[2] or match[4]
        if month in _MONTHS:
            one, other = match.group(1, 3) if match[2] else match.group(5, 6)
            number = str(_MONTHS.index(month) + 1)
            yield from _valid(one, number, other, text[match.end() :])
            yield from _valid(other, number, one, text[match.end() :])


def _valid(year: str, month: str, day: str, rest: str) -> Iterator[tuple[str, str]]:
    try:
        found = date(int(year), int(month), int(day))
    except ValueError:
        return
    if 1800 <= found.year < 2200:
        yield f"{found:%Y%m%d}", rest
