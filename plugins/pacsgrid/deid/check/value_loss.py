"""Find numbers, dates and times that were lost or changed. The checker's own parsers."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal

from pydicom.datadict import DicomDictionary

from ...errors import HeldError
from ..profile import Profile
from .element_dates import days_with_rest
from .findings import format_tag
from .identity import Identity
from .reader import Element
from .text_decoding import fold

_NUMBERS, _TIMES = frozenset(("DS", "IS")), frozenset(("DA", "DT", "TM"))
_AGE, _SIZE, _WEIGHT = 0x00101010, 0x00101020, 0x00101030
# Elements that PS3.15 Table E.1-1 always removes: places of acquisition and birth dates.
_NEVER = frozenset((0x00100030, 0x00100032, 0x0016004E, 0x0072005F, *range(0x00160070, 0x00160090)))
# Dates and times of content items, which PS3.15 Table E.3.4-1 judges by their concept.
_CONTENT = frozenset((0x0040A120, 0x0040A121, 0x0040A122))
_CLOCK = re.compile(r"\D*(\d\d?)(?:[:. ]?(\d\d))?(?:[:. ]?(\d\d))?(?:[.,:](\d*))?(\s*[ap]\.?m)?")
_DUMMY = "19000101"
# Placeholders for a removed birth date.
_DUMMIES = frozenset((_DUMMY, "000000"))


def _clock(text: str) -> tuple[int, int, int, str] | None:
    match = _CLOCK.match(text.lower())
    if match is None:
        return None
    hour, minute, second = (int(part or 0) for part in match.group(1, 2, 3))
    if match[5]:
        hour = hour % 12 + (12 if "p" in match[5] else 0)
    return hour, minute, second, (match[4] or "")[:6].rstrip("0")


def _plain(text: str) -> str:
    """Return a text with ASCII minus signs and blanks for those of other character sets."""
    for odd, usual in (("â\x88\x92", "-"), ("\u2212", "-"), ("\u2013", "-"), ("Â\xa0", " ")):
        text = text.replace(odd, usual)
    return text


def _readings(text: str) -> list[Decimal]:
    """Return the numbers that a text may mean: a comma may be decimal or separate thousands."""
    text = _plain(text)
    text = re.sub(r"(?<=[\d.,])\s*[A-Za-z°Â]{1,3}$", "", text.strip())
    text = re.sub(r"[\s'’\xa0]", "", text)
    text = re.sub(r"(?<=\d)[dD](?=[+-]?\d)", "e", text)
    forms = [text, text.replace(",", ".")]
    if re.match(r"[+-]?\d{1,3}(,\d{3})+(\D|$)", text):
        forms.append(text.replace(",", ""))
    if re.match(r"[+-]?\d{1,3}(\.\d{3})+(,|$)", text):
        forms.append(text.replace(".", "").replace(",", "."))
    return [
        Decimal(f) for f in forms if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", f, re.I)
    ]


class LossCheck:
    """A check that numbers, dates and times which the profile keeps are not lost or changed.

    Parameters
    ----------
    profile
        The profile that the results were made with.
    identity
        The study's identifying values. An integer that contains one may be removed.
    """

    def __init__(self, profile: Profile, identity: Identity) -> None:
        self._profile = profile
        values = (*identity.ids, *identity.births, *identity.names, *identity.phones)
        self._births = identity.births - identity.examined
        compact = {fold(value).replace(" ", "") for value in values}
        self._identifiers = {c for value in values for c in fold(value).split()} | compact
        self._shifts = range(-365, 0) if "modified" in profile.options else range(1)

    def _concerns(self, tag: int, vr: str) -> bool:
        group = tag >> 16
        entry = DicomDictionary.get(tag)
        if group & 1 or group in (0, 2) or entry is None or tag in _NEVER:
            return False
        if group >> 8 in (0x50, 0x60) or tag in self._profile.overrides or not entry[0]:
            return False
        if tag in (_AGE, _SIZE, _WEIGHT):
            return "patient" in self._profile.options and entry[0] == vr
        if vr in _NUMBERS:
            return entry[0] in _NUMBERS
        kept = not self._profile.options.isdisjoint(("modified", "full"))
        return kept and vr in _TIMES and entry[0] in _TIMES

    def check(self, tag: int, old: Element, new: Element | None) -> None:
        """Refuse a result that lacks a value of its source, or has another number or time.

        Parameters
        ----------
        tag
            The element's tag.
        old
            The source's element.
        new
            The result's element, None if it has none.

        Raises
        ------
        HeldError
            ``value-lost``.
        """
        if new is None and old.vr not in _TIMES:
            return  # the check of required attributes covers this
        if (new is not None and new.value == old.value) or not self._concerns(tag, old.vr):
            return
        was = [part.decode("latin-1").strip("\0 \t\r\n") for part in old.value.split(b"\\")]
        text = new.value if new is not None else b""
        now = [part.decode("latin-1").strip("\0 \t\r\n") for part in text.split(b"\\")]
        dummies = all(not part or part[:8] in _DUMMIES for part in now)
        if not any(was) or (tag in _CONTENT and dummies):
            return
        if any(now):
            kept = len(was) == len(now) and all(
                self._same(tag, old.vr, *pair) for pair in zip(was, now, strict=True)
            )
        elif old.vr == "IS":
            kept = any(
                len(value) >= 4 and value in part for value in self._identifiers for part in was
            )
        else:
            kept = old.vr not in _NUMBERS and not any(
                _tells(part) and part[:8] not in self._births for part in was
            )
        if not kept:
            raise HeldError(
                "value-lost",
                f"{format_tag(tag)} has a value in the source that the result lacks or changed; "
                "the result was not passed on; report it to pacsgrid's authors",
            )

    def _same(self, tag: int, vr: str, was: str, now: str) -> bool:
        if was == now:
            return True
        if tag in (_AGE, _SIZE, _WEIGHT):
            return bool(was) == bool(now) and _rounded(tag, was, now)
        if vr in _NUMBERS:
            return _plain(was).strip() == now or any(
                a == b for a in _readings(was) for b in _readings(now)
            )
        if (not now or now[:8] in _DUMMIES) and was[:8] in self._births:
            return True  # a birth date is always removed
        if not was or not now:
            return not _tells(was) and not now
        if vr == "TM":
            rests = [was, *(rest.lstrip("t ") for _, rest in days_with_rest(was))]
            return any(_clock(rest) == _clock(now) for rest in rests)
        return self._moved(was, now)

    def _moved(self, was: str, now: str) -> bool:
        """Return whether a date was moved by an allowed shift, with the time of day unchanged."""
        found = list(days_with_rest(was))
        if not found or not re.match(r"\d{8}", now):
            return now != _DUMMY  # not a whole date, but a month or a year
        made = date(int(now[:4]), int(now[4:6]), int(now[6:8])).toordinal()
        for day, rest in found:
            source = date(int(day[:4]), int(day[4:6]), int(day[6:8])).toordinal()
            if made - source in self._shifts and (
                len(now) == 8 or now[8] == "-" or _clock(rest.lstrip("t ")) == _clock(now[8:])
            ):
                return True
        return False


def _rounded(tag: int, was: str, now: str) -> bool:
    """Return whether a rounded age, size or weight says enough.

    None becomes 0. Small sizes (m) and weights (kg) differ by 5 % at most: SUV is proportional to
    the weight.
    """
    if tag == _AGE:
        return now[:3] != "000" or was[:3] == "000" or not was[:3].isdigit()
    made = _readings(now)
    small = Decimal("0.5") if tag == _SIZE else Decimal(50)
    return not made or any(
        a == b == 0 or (b and (a >= small or abs(a - b) <= a / 20))
        for a in _readings(was)
        for b in made
    )


def _tells(text: str) -> bool:
    """Return whether a date or time has content; 0000-00-00 and 0001-01-01 have none."""
    return bool(re.search(r"[1-9]", re.sub(r"^0001[-/.]?01[-/.]?01.*|[+-]\d\d:?\d\d$", "", text)))
