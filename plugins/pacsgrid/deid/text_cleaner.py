"""Clean free text: remove what identifies, keep what research needs (PS3.15 E.3.5)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from .identifiers import StudyIdentifiers
from .identifying_patterns import AGE, CLINICAL, FOUR_NUMBERS, IDENTIFYING, PERSONS, UID
from .pseudonyms import Pseudonyms
from .text_folding import fold, split_words, to_nfc, undo_mojibake
from .vocabulary import STANDARD_UIDS
from .written_dates import find_dates, write_date

PLACEHOLDER = "***"
_LIMITS = {"AE": 16, "SH": 16, "LO": 64, "ST": 1024, "LT": 10240}


@dataclass(frozen=True)
class TextCleaner:
    """Cleans the texts of one study.

    Parameters
    ----------
    identifiers
        Identifying values of the study's headers. They are removed in any order, case and spelling.
    pseudonyms
        The project's pseudonym space: a UID in a text gets the pseudonym that it has elsewhere.
    days
        Shift in days for dates in texts; 0 keeps them, None removes them.
    keep_uids
        Whether UIDs stay.
    """

    identifiers: StudyIdentifiers
    pseudonyms: Pseudonyms
    days: int | None
    keep_uids: bool = False

    def clean(
        self,
        text: str,
        vr: str = "UT",
        own: frozenset[str] = frozenset(),
        versions: bool = False,
    ) -> str:
        """Remove what identifies from a text.

        Parameters
        ----------
        text
            The text.
        vr
            Its VR: the result is cut to the length that it allows (PS3.5 6.2).
        own
            Words of the attribute's own vocabulary, in capitals. They stay even if a person is
            called so, as long as nothing else of a name is in the text.
        versions
            Whether the text holds versions of software: four numbers are no network address then.

        Returns
        -------
        str
            The text with `PLACEHOLDER` for what was removed; empty when something that identifies
            would be left.
        """
        original, text = text, to_nfc(text)
        if (read := undo_mojibake(original)) and self.identifiers.occur_in(read, short=True):
            text = to_nfc(read)
        spans: list[tuple[int, int, str]] = []

        def take(start: int, end: int, becomes: str) -> None:
            if start < end and not any(start < b and a < end for a, b, _ in spans):
                spans.append((start, end, becomes))

        for match in UID.finditer(text):
            uid = match[0]
            kept = self.keep_uids and not self.identifiers.occur_in_uid(uid)
            standard = uid in STANDARD_UIDS or kept
            take(*match.span(), uid if standard else self.pseudonyms.uid(uid))
        for start, end, becomes in self._dates(text):
            take(start, end, becomes)
        known = self._known(text, own)
        dated = list(spans)
        for start, end in known:
            # A known value inside a replaced date or UID is replaced with it.
            if not any(a <= start and end <= b and text[a:b] != c for a, b, c in dated):
                spans[:] = [s for s in spans if s[1] <= start or end <= s[0]]
                spans.append((start, end, PLACEHOLDER))
        for pattern in PERSONS:
            for match in pattern.finditer(text):
                if CLINICAL.isdisjoint(fold(match[0].replace("_", " ")).split()):
                    start, end = match.span(match.lastindex or 0)
                    # One placeholder for a name of which some part was known already.
                    beside = [
                        s for s in spans if s[2] == PLACEHOLDER and start < s[1] and s[0] < end
                    ]
                    if beside:
                        spans[:] = [s for s in spans if s not in beside]
                        start = min(start, *(s[0] for s in beside))
                        end = max(end, *(s[1] for s in beside))
                    take(start, end, PLACEHOLDER)
        for pattern in IDENTIFYING:
            for match in () if versions and pattern is FOUR_NUMBERS else pattern.finditer(text):
                take(*match.span(match.lastindex or 0), PLACEHOLDER)
        for match in AGE.finditer(text):
            take(*match.span(1), "90+")
        if not spans and len(original) <= _LIMITS.get(vr, len(original)):
            return original
        cleaned = _replace(text, spans)
        # After the text is cut: its last word may be another one now.
        cleaned = cleaned[: _LIMITS.get(vr, len(cleaned))]
        days = self.identifiers.birth_days if self.days == 0 else self.identifiers.known_days
        left = self.identifiers.occur_in(cleaned, short=True) and (
            not own or bool(self._known(cleaned, own))
        )
        return "" if left or _days_in(cleaned, days) & days else cleaned

    def _known(self, text: str, own: frozenset[str]) -> list[tuple[int, int]]:
        """Find the study's values, unless all that is found are words of the vocabulary."""
        known = _merge(self.identifiers.find_spans(text))
        if not known or not own:
            return known
        if any(word.upper() not in own for a, b in known for word in split_words(text[a:b])):
            return known
        # A title in front makes it a name: Dr. Head.
        called = [match.span() for pattern in PERSONS[1:] for match in pattern.finditer(text)]
        return known if any(a < d and c < b for a, b in known for c, d in called) else []

    def _dates(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Yield start and end of each date in a text, and its replacement."""
        known, births = self.identifiers.known_days, self.identifiers.birth_days
        for found in find_dates(text, known):
            days = {f"{day:%Y%m%d}" for day in found.days}
            becomes = PLACEHOLDER
            if self.days == 0 and not days & births:
                becomes = text[found.start : found.end]
            elif self.days and found.form and not days & births:
                moved = min(found.days).toordinal() + self.days
                if moved > 0:
                    becomes = write_date(date.fromordinal(moved), found.form)
            if becomes != PLACEHOLDER and (
                self.identifiers.occur_in(becomes)
                or (self.days and _days_in(becomes, known) & known)
            ):
                # The patient is called May, or the shifted day is another day of the study.
                becomes = PLACEHOLDER
            yield found.start, found.end, becomes


def _days_in(text: str, known: frozenset[str]) -> set[str]:
    return {f"{day:%Y%m%d}" for found in find_dates(text, known) for day in found.days}


def _merge(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _replace(text: str, spans: list[tuple[int, int, str]]) -> str:
    pieces: list[str] = []
    offset = 0
    for start, end, becomes in sorted(spans):
        between = text[offset:start]
        # One placeholder for all words of a name.
        if not (
            becomes == PLACEHOLDER
            and pieces
            and pieces[-1] == PLACEHOLDER
            and not split_words(between)
        ):
            pieces += [between, becomes]
        offset = end
    return "".join([*pieces, text[offset:]])
