"""Attribute matching (PS3.4 C.2.2.2) on attributes in the DICOM JSON model (PS3.18 F.2)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import translate
from functools import lru_cache
from typing import Any

_WILD = {"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"}
NUMBERS = {"DS", "IS", "FL", "FD", "SL", "SS", "UL", "US", "SV", "UV"}
_DECIMAL = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
# In these a backslash is a character; in the others it separates values (PS3.5 6.2).
_ONE_VALUE = {"LT", "ST", "UR", "UT"}
_RANGES = {"DA", "TM", "DT"}
_ZONED = re.compile(r"^([\d.]*(?:[+-]\d{4})?)?-([\d.]*(?:[+-]\d{4})?)$")
_SINGLE_ZONED = re.compile(r"^[\d.]+[+-](?:0\d|1[0-4])[0-5]\d$")


def matches(path: str, wanted: str, attributes: Mapping[str, Any]) -> bool:
    """Return whether attributes match one key.

    Parameters
    ----------
    path
        The key's tag in 8 hex digits; in a sequence, the tags from the outermost, with dots.
    wanted
        The value to match; empty or ``*`` for any.
    attributes
        The attributes by tag.

    Returns
    -------
    bool
        Whether any of the attribute's values matches.
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
    return any(fits(vr, wanted, value) for value in _values(vr, element))


def _values(vr: str, element: Mapping[str, Any]) -> Iterator[str]:
    for value in element.get("Value", ()):
        if isinstance(value, dict):
            if vr == "PN":
                yield from (str(group) for group in value.values())
        elif value is not None:
            yield str(value)


def fits(vr: str, wanted: str, value: str) -> bool:
    """Return whether one value matches a key (PS3.4 C.2.2.2).

    Parameters
    ----------
    vr
        The value representation.
    wanted
        The value to match; not empty.
    value
        One value of the attribute, as text.

    Returns
    -------
    bool
        Whether it matches.
    """
    if vr == "UI":
        return value in _uids(wanted)
    keys = (wanted,) if vr in _ONE_VALUE else _listed(wanted)
    if vr in _RANGES:
        return any(in_range(vr, key, value) for key in keys)
    if vr in NUMBERS:
        number = number_of(value)
        return number is not None and any(number_of(key) == number for key in keys)
    value = value.strip()
    if vr in _WILD and ("*" in wanted or "?" in wanted) and _pattern(keys, vr == "PN")(value):
        return True
    if vr == "PN":
        return any(value.strip(" ^").casefold() == key.strip(" ^").casefold() for key in keys)
    return any(value == key.strip() for key in keys)


def number_of(text: str) -> float | None:
    """Return the number that a DS or IS holds; None if it is not one (PS3.5 6.2)."""
    return float(text) if _DECIMAL.fullmatch(text) else None


@lru_cache(maxsize=16)
def _uids(wanted: str) -> frozenset[str]:
    return frozenset(re.split(r"[\\,]", wanted))


@lru_cache(maxsize=16)
def _listed(wanted: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(wanted.split("\\")))


@lru_cache(maxsize=64)
def _pattern(keys: Sequence[str], either_case: bool) -> Callable[[str], object]:
    # Brackets are wild cards of fnmatch but not of DICOM.
    wild = [key.strip().replace("[", "[[]") for key in keys if "*" in key or "?" in key]
    return re.compile("|".join(map(translate, wild)), re.IGNORECASE if either_case else 0).match


def bounds(vr: str, wanted: str) -> tuple[str, str]:
    """Return the ends of a range (PS3.4 C.2.2.2.5).

    Parameters
    ----------
    vr
        ``DA``, ``TM`` or ``DT``.
    wanted
        A value or a range, ``low-high``, open at either end.

    Returns
    -------
    tuple of str
        First and last value; empty for an open end.
    """
    text = wanted.strip().replace(":", "") if vr == "TM" else wanted.strip()
    if vr == "DA":
        text = text.replace(".", "")
    if vr == "DT" and _SINGLE_ZONED.match(text):
        return text, text
    if vr == "DT" and (match := _ZONED.match(text)):
        return match[1] or "", match[2] or ""
    low, dash, high = text.partition("-")
    return (low.strip(), high.strip()) if dash else (low, low)


def in_range(vr: str, wanted: str, value: str) -> bool:
    """Return whether a date or time lies in a range, ends included (PS3.4 C.2.2.2.5).

    The less precise of two times stands for its whole span.

    Parameters
    ----------
    vr
        ``DA``, ``TM`` or ``DT``.
    wanted
        A value or a range.
    value
        The date or time.

    Returns
    -------
    bool
        Whether it lies in the range.
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
