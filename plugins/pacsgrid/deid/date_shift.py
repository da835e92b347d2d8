"""Shift dates and times by whole days (PS3.15 E.3.6)."""

from __future__ import annotations

import re
from datetime import date, timedelta

_DA = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})")
_TM = re.compile(r"\d{2}(:?\d{2}(:?\d{2}(\.\d{1,6})?)?)?")
_AS = re.compile(r"\d{3}[DWMY]")
# Each part needs the one before it: in 2024031010.5, the rest must not be read as a time.
_DT = re.compile(
    r"(\d{4})(?:(\d{2})(?:(\d{2})(\d{2}(?:\d{2}(?:\d{2}(?:\.\d{1,6})?)?)?)?)?)?([+-]\d{4})?"
)

_LONG = [
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
]  # fmt: skip
_NAMES = [name[:3] for name in _LONG]


def shift_date(value: str, vr: str, days: int) -> str:
    """Shift a DA or DT by whole days; check a TM or AS (PS3.5 6.2).

    Time of day and offset from UTC stay. Of a DT without day or month, the middle of the period is
    shifted, and written with the same precision.

    Parameters
    ----------
    value
        The value, padding allowed.
    vr
        DA, DT, TM or AS.
    days
        Days to add.

    Returns
    -------
    str
        Empty when the value is not valid for its VR.
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


def month_number(name: str) -> int | None:
    """Return the number of a month, from 1, by its English name or first three letters."""
    for names in (_LONG, _NAMES):
        if name.lower() in names:
            return names.index(name.lower()) + 1
    return None
