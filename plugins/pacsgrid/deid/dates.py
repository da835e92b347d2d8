"""Dates and times, as values and inside text, moved by a patient's whole days (PS3.15 E.3.6)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta

_DA = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})")
_TM = re.compile(r"\d{2}(:?\d{2}(:?\d{2}(\.\d{1,6})?)?)?")
_AS = re.compile(r"\d{3}[DWMY]")
# Each part only behind the one before it: of 2024031010.5 the rest must not read as a time.
_DT = re.compile(
    r"(\d{4})(?:(\d{2})(?:(\d{2})(\d{2}(?:\d{2}(?:\d{2}(?:\.\d{1,6})?)?)?)?)?)?([+-]\d{4})?"
)

_LONG = [
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
]  # fmt: skip
_NAMES = [name[:3] for name in _LONG]
_MONTH = r"(?P<name>[A-Za-z]{3,9})"
_YEAR = r"(?P<year>(?:19|20)\d{2})"
# Groups d, m, year, name; the order of the first two of 1/2/2020 is guessed in `_parts`.
_WRITTEN = [
    re.compile(
        rf"(?<![\d.]){_YEAR}(?P<sep>[-/.])(?P<m>\d{{1,2}})(?P=sep)(?P<d>\d{{1,2}})(?![\d.]*\d)"
    ),
    re.compile(rf"(?<![\d.])(?P<d>\d{{1,2}})(?P<sep>\. ?|-)(?P<m>\d{{1,2}})(?P=sep){_YEAR}(?!\d)"),
    re.compile(rf"(?<![\d/])(?P<m>\d{{1,2}})/(?P<d>\d{{1,2}})/{_YEAR}(?!\d)"),
    re.compile(rf"(?<!\d){_YEAR}(?P<m>\d{{2}})(?P<d>\d{{2}})(?!\d)"),
    re.compile(rf"(?<!\d)(?P<d>\d{{1,2}})(?:st|nd|rd|th)?[ -]{_MONTH}\.?,?[ -]{_YEAR}(?!\d)"),
    re.compile(rf"\b{_MONTH}\.? (?P<d>\d{{1,2}})(?:st|nd|rd|th)?,? {_YEAR}(?!\d)"),
]


def shift(value: str, vr: str, days: int) -> str:
    """Move a DA or DT by whole days; return what is no date, time or age as empty (PS3.5 6.2).

    Time of day and offset from UTC stay. Of a partial DT the middle of its span is moved and
    written as exactly as before: a month or year is off by less than its own length.
    """
    text = value.strip(" \0")
    if vr == "TM":
        return text if _TM.fullmatch(text) else ""
    if vr == "AS":
        return text if _AS.fullmatch(text) else ""
    match = (_DA if vr == "DA" else _DT).fullmatch(text)
    if match is None:
        return ""
    year, month, day = match[1], match[2], match[3]
    try:
        middle = date(int(year), int(month or 7), int(day or (15 if month else 2)))
        moved = middle + timedelta(days=days)
    except (ValueError, OverflowError):
        return ""
    if vr == "DA":
        return f"{moved:%Y%m%d}"
    exact = "%Y%m%d" if day else "%Y%m" if month else "%Y"
    return f"{moved:{exact}}{match[4] or ''}{match[5] or ''}"


def month_of(name: str) -> int | None:
    """Return the number of a month by its English name, whole or of three letters."""
    for names in (_LONG, _NAMES):
        if name.lower() in names:
            return names.index(name.lower()) + 1
    return None


def dates_in(text: str) -> Iterator[tuple[int, int, date, str]]:
    """Find the dates in a text: start, end, the day, and how it is written.

    The way of writing is what `write` takes. Of 3/4/2020 the first number is the month, unless
    only the other order gives a day.
    """
    taken: list[tuple[int, int]] = []
    for pattern in _WRITTEN:
        for match in pattern.finditer(text):
            start, end = match.span()
            if any(start < b and a < end for a, b in taken):
                continue
            found = _parts(match)
            if found is not None:
                taken.append((start, end))
                yield start, end, *found


def _parts(match: re.Match[str]) -> tuple[date, str] | None:
    groups = match.groupdict()
    name, text = groups.get("name"), match[0]
    d, m = groups["d"], groups.get("m")
    if name is not None:
        if name.lower() in _LONG:
            month = _LONG.index(name.lower()) + 1
        elif name.lower() in _NAMES:
            month = _NAMES.index(name.lower()) + 1
        else:
            return None
    else:
        month = int(m or 0)
    swapped = month > 12 and "/" in text
    day_number = month if swapped else int(d)
    month = int(d) if swapped else month
    try:
        day = date(int(groups["year"]), month, day_number)
    except ValueError:
        return None
    # 3. 4. 2020 is written without zeros, 03.04.2020 with; of 13. 12. 2020 the spaces tell.
    padded = all(len(part) == 2 for part in (d, m or "00")) and (
        bool(name) or "0" in (d[0], (m or "0")[0]) or ". " not in text
    )
    zeros = ":02d" if padded else ""
    first, second = ("m", "d") if swapped else ("d", "m")
    pieces = [(*match.span("d"), f"{{{first}{zeros}}}"), (*match.span("year"), "{y}")]
    if name is None:
        pieces.append((*match.span("m"), f"{{{second}{zeros}}}"))
    else:
        # May is short and long; a month before its day is mostly written out.
        short = len(name) == 3 and (name.lower() != "may" or text[0].isdigit())
        directive = f"{{{'n' if short else 'N'}{'U' if name.isupper() else ''}}}"
        pieces.append((*match.span("name"), directive))
    form, offset = "", match.start()
    for start, end, directive in sorted(pieces):
        form += match.string[offset:start] + directive
        offset = end
    return day, form + match.string[offset : match.end()]


def write(day: date, form: str) -> str:
    """Write a day in a way that `dates_in` found."""
    short, long = _NAMES[day.month - 1].capitalize(), _LONG[day.month - 1].capitalize()
    return form.format(
        d=day.day, m=day.month, y=f"{day.year:04d}",
        n=short, N=long, nU=short.upper(), NU=long.upper(),
    )  # fmt: skip
