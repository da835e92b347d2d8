"""Check that a value holds numbers and words of its own vocabulary only, and no identifier."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable

from .table import LETTERS, ValueRule

# Returns whether a number of six or more digits, or a run of two letters, identifies the patient or
# an examination.
Identifies = Callable[[str], bool]

_NUMBER = re.compile(r"[+-]?(\d{1,16}(\.\d{0,16})?|\.\d{1,16})([eE][+-]?\d{1,3})?")
_HEX = re.compile(r"0x[0-9A-Fa-f]{1,8}")
_PRINTABLE = re.compile(r"[ -~]*")
_LONG = re.compile(r"(?<![.\d])\d{6,}")
_DIGITS = re.compile(r"\d{9,}")
# What a run of letters that may not stay becomes, where the value holds a known word.
_UNKNOWN_WORD = "X"
_FORMATS = {"FL": "f", "FD": "d", "SL": "l", "SS": "h", "UL": "L", "US": "H"}
# The largest plausible number: what is larger may be letters read as a number.
_LARGEST = 1e10
# Philips writes 1.7e38 for a number that is not known.
_NOT_KNOWN = (1e38, 4e38)


def holds_long_number(text: str, identifies: Identifies) -> bool:
    """Return whether a text holds a number of six or more digits that identifies somebody.

    Parameters
    ----------
    text
        The text. Digits behind a decimal point do not count.
    identifies
        Says which numbers identify.
    """
    return any(identifies(number) for number in _LONG.findall(text))


def is_number(text: str) -> bool:
    """Return whether a text is one decimal number, or empty."""
    text = text.strip(" \0")
    return not text or _NUMBER.fullmatch(text) is not None


def is_protocol_number(text: str) -> bool:
    """Return whether a text is a number as Siemens' protocols write it, hexadecimal too."""
    text = text.strip()
    return bool(_NUMBER.fullmatch(text) or _HEX.fullmatch(text))


def clean_words(text: str, rule: ValueRule, identifies: Identifies) -> str | None:
    """Return a text of numbers, punctuation and the rule's words, or None when it may not stay.

    Parameters
    ----------
    text
        The text.
    rule
        Its words. Some rules allow other short runs of letters, as long as nobody is called so.
    identifies
        Says which of these may not stay.
    """
    stripped = text.rstrip(" \0")
    if not _PRINTABLE.fullmatch(stripped) or _DIGITS.search(stripped):
        return None
    if holds_long_number(stripped, identifies):
        return None
    runs = LETTERS.findall(stripped)
    known = rule.words | {_UNKNOWN_WORD}
    others = {run for run in runs if run not in known and _is_strange(run, rule, identifies)}
    if not others:
        return text
    # Converters search names of sequences, and of coils, for the parts that they know.
    if rule.words.isdisjoint(runs):
        return None
    return LETTERS.sub(lambda run: _UNKNOWN_WORD if run[0] in others else run[0], stripped)


def _is_strange(run: str, rule: ValueRule, identifies: Identifies) -> bool:
    return len(run) > rule.short or identifies(run)


def clean_text(text: str, rule: ValueRule, identifies: Identifies) -> str | None:
    """Return what may stay of an element's text, of one or several values; None if nothing may.

    Parameters
    ----------
    text
        The element's values, separated by backslashes.
    rule
        What they may be.
    identifies
        Says which long numbers may not stay.
    """
    if rule.kind != "number":
        return clean_words(text, rule, identifies)
    allowed = all(is_number(part) for part in text.split("\\"))
    return text if allowed and not holds_long_number(text, identifies) else None


def numbers_in(value: bytes, vr: str, little: bool) -> list[float] | None:
    """Return the numbers of a binary value; None for a length that does not fit the VR.

    Parameters
    ----------
    value, vr
        The value's bytes, and its VR.
    little
        Whether it is little endian.
    """
    code = _FORMATS[vr]
    width = struct.calcsize("<" + code)
    if len(value) % width:
        return None
    order = "<" if little else ">"
    return list(struct.unpack(f"{order}{len(value) // width}{code}", value))


def are_plausible(numbers: list[float], identifies: Identifies) -> bool:
    """Return whether binary numbers are finite, of a plausible size, and identify nobody.

    Parameters
    ----------
    numbers
        The numbers of one value.
    identifies
        Says which whole numbers of six or more digits identify.
    """
    for number in numbers:
        size = abs(number)
        unknown = _NOT_KNOWN[0] < size < _NOT_KNOWN[1]
        if not math.isfinite(number) or (size > _LARGEST and not unknown):
            return False
        if 1e5 <= size <= _LARGEST and size == int(size) and identifies(str(int(size))):
            return False
    return True
