"""Attribute matching (PS3.4 C.2.2.2), on attributes in the DICOM JSON model."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fnmatch import translate
from functools import lru_cache
from typing import Any

_WILD = {"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"}
_NUMBERS = {"DS", "IS", "FL", "FD", "SL", "SS", "UL", "US", "SV", "UV"}
_RANGES = {"DA", "TM", "DT"}
_ZONED = re.compile(r"^([\d.]*(?:[+-]\d{4})?)?-([\d.]*(?:[+-]\d{4})?)$")
_SINGLE_ZONED = re.compile(r"^[\d.]+[+-](?:0\d|1[0-4])[0-5]\d$")


def matches(path: str, wanted: str, attributes: Mapping[str, Any]) -> bool:
    """Whether attributes match one key.

    Parameters
    ----------
    path
        The key's tag in 8 hex digits; in a sequence, the tags from the outermost, with dots.
    wanted
        The value to match; empty, or of ``*`` only, for anything.
    """
    if not wanted.strip("*"):
        return True
    tag, _, rest = path.partition(".")
    element = attributes.get(tag)
    if not element:
        return False
    if rest:
        items = (item for item in element.get("Value", ()) if isinstance(item, dict))
        return any(matches(rest, wanted, item) for item in items)
    vr = element.get("vr", "")
    return any(_fits(vr, wanted, value) for value in _values(vr, element))


def _values(vr: str, element: Mapping[str, Any]) -> Iterator[str]:
    for value in element.get("Value", ()):
        if isinstance(value, dict):
            if vr == "PN":
                yield from (str(one) for one in value.values())
        elif value is not None:
            yield str(value)


def _fits(vr: str, wanted: str, value: str) -> bool:
    if vr == "UI":
        return value in re.split(r"[\\,]", wanted)
    if vr in _RANGES:
        return in_range(vr, wanted, value)
    if vr in _NUMBERS:
        try:
            return any(float(one) == float(value) for one in wanted.split("\\"))
        except ValueError:
            return False
    if vr in _WILD and ("*" in wanted or "?" in wanted):
        return bool(_pattern(wanted, vr == "PN").match(value.strip()))
    if vr == "PN":
        return value.strip(" ^").casefold() == wanted.strip(" ^").casefold()
    return value.strip() == wanted.strip() or value.strip() in wanted.split("\\")


@lru_cache(maxsize=256)
def _pattern(wanted: str, either_case: bool) -> re.Pattern[str]:
    # Brackets mean something to fnmatch and nothing to DICOM.
    quoted = wanted.strip().replace("[", "[[]")
    return re.compile(translate(quoted), re.IGNORECASE if either_case else 0)


def bounds(vr: str, wanted: str) -> tuple[str, str]:
    """Return the first and last value of a date, time or range; empty where it is open."""
    text = wanted.strip().replace(":", "") if vr == "TM" else wanted.strip()
    if vr == "DA":
        text = text.replace(".", "")
    if vr == "DT" and _SINGLE_ZONED.match(text):
        return text, text
    if vr == "DT" and (told := _ZONED.match(text)):
        return told[1] or "", told[2] or ""
    low, dash, high = text.partition("-")
    return (low.strip(), high.strip()) if dash else (low, low)


def in_range(vr: str, wanted: str, value: str) -> bool:
    """Whether a date or time lies in a range, ends included (PS3.4 C.2.2.2.5).

    A time that is less precise than the other stands for all of its span.
    """
    low, high = bounds(vr, wanted)
    value = _plain(vr, value)
    low, high = _plain(vr, low), _plain(vr, high)
    return (not low or value[: len(low)].ljust(len(low), "9") >= low) and (
        not high or value[: len(high)] <= high
    )


def _plain(vr: str, value: str) -> str:
    text = value.strip()
    if vr == "DA":
        return text.replace(".", "")
    text = text.replace(":", "") if vr == "TM" else re.sub(r"[+-]\d{4}$", "", text)
    whole, dot, fraction = text.partition(".")
    return whole + fraction.rstrip("0") if dot else whole
