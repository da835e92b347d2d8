"""What identifies a patient in a study's own headers; the search list for text and checker."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

from .inflate import check_inflates
from .parts import cut, parsed
from .quiet import quiet

NAMES = frozenset({0x00100010, 0x00101001, 0x00101005, 0x00101060})
# Every PN is a person of this study; these LO/SH are identifiers of patient, visit or order.
IDS = frozenset(
    {
        0x00080050,
        0x00100020,
        0x00101000,
        0x00101040,
        0x00102154,
        0x00102155,
        0x00101002,
        0x00101090,
        0x00200010,
        0x00380010,
        0x00380060,
        0x00321064,
        0x00401001,
        0x00400009,
        0x00402016,
        0x00402017,
        0x00400253,
        0x00101081,
        0x00120040,
        0x00120042,
    }
)
# Serial number, station name and AE title: they lead to one device, and to who was there.
DEVICES = frozenset({0x00181000, 0x00081010, 0x00400241, 0x00400242})
BIRTH = frozenset({0x00100030})
# Addresses and telephone numbers of the patient, and the institution's name and address.
PLACES = frozenset(
    {
        0x00101040,
        0x00102154,
        0x00102155,
        0x00102299,
        0x00080080,
        0x00080081,
        0x00081040,
        0x00080092,
        0x00080094,
        0x00380300,
        0x00380400,
        0x0040A027,
    }
)


# Explicit VRs of elements that tell nothing unless they are listed above.
_MUTE = frozenset(
    (b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"SH",
     b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US")
)  # fmt: skip
_LISTED = NAMES | IDS | DEVICES | BIRTH | PLACES


# Letters that Unicode does not take apart into a plain one and a mark.
_PLAIN = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i",
     "Ø": "O", "Ł": "L", "Đ": "D", "Ð": "D", "Þ": "Th", "Æ": "Ae", "Œ": "Oe"}
)  # fmt: skip
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe"})
_WORD = re.compile(r"[^\W_]+")
# In names, but no part of them; in half of all texts.
_NO_NAMES = frozenset(
    {"anonymous", "anonymized", "anonymised", "unknown", "none", "dr", "doc", "prof", "mudr",
     "med", "phd", "mrs", "van", "von", "der", "del", "den", "the", "and"}
)  # fmt: skip


def fold(text: str) -> str:
    """Reduce text to lower-case words without diacritics: ``NOVÁK^Jan`` to ``novak jan``."""
    plain = unicodedata.normalize("NFKD", text.translate(_PLAIN))
    plain = "".join(c for c in plain if not unicodedata.combining(c)).casefold()
    return " ".join(_WORD.findall(plain))


def words_in(text: str) -> list[str]:
    """Return the runs of letters and digits in a text, as they stand."""
    return _WORD.findall(text)


@dataclass(frozen=True)
class StudyIdentifiers:
    """The identifying values of one study, as they stood. Identified: memory only."""

    names: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()
    birth_dates: frozenset[str] = frozenset()
    # Addresses, telephone numbers and institutions: looked for in text, word by word in order.
    places: frozenset[str] = frozenset()
    devices: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return f"StudyIdentifiers({len(self.names)} names, {len(self.ids)} ids)"

    def __or__(self, other: StudyIdentifiers) -> StudyIdentifiers:
        return StudyIdentifiers(
            self.names | other.names,
            self.ids | other.ids,
            self.birth_dates | other.birth_dates,
            self.places | other.places,
            self.devices | other.devices,
        )

    @cached_property
    def but_devices(self) -> StudyIdentifiers:
        """The same without devices, for who keeps them."""
        return replace(self, devices=frozenset())

    @cached_property
    def words(self) -> frozenset[str]:
        """Words of names of three letters or more; shorter ones are in half the language."""
        spellings = (s for n in self.names for s in (n, n.casefold().translate(_UMLAUTS)))
        words = {w for s in spellings for w in fold(s).split() if len(w) >= 3}
        return frozenset(words - _NO_NAMES)

    @cached_property
    def compact(self) -> tuple[str, ...]:
        """Identifiers, birth dates and devices without separators, four characters or more."""
        values = {fold(v).replace(" ", "") for v in self.ids | self.birth_dates}
        devices = {fold(v).replace(" ", "") for v in self.devices}
        # A station that is called by a word alone is called as a hundred others.
        values |= {value for value in devices if not value.isalpha()}
        return tuple(sorted(v for v in values if len(v) >= 4))

    @cached_property
    def _long_words(self) -> re.Pattern[str] | None:
        long = sorted((w for w in self.words if len(w) >= 5), key=len, reverse=True)
        return re.compile("|".join(map(re.escape, long))) if long else None

    @cached_property
    def _phrases(self) -> frozenset[tuple[str, ...]]:
        parts = (tuple(fold(p).split()) for v in self.places for p in re.split(r"[,;^\n\r]", v))
        return frozenset(p for p in parts if len("".join(p)) >= 4 and p != ("hospital",))

    @cached_property
    def _compact_places(self) -> tuple[str, ...]:
        parts = (p for v in self.places for p in (v, *re.split(r"[,;^\\\n\r]", v)))
        compact = {fold(part).replace(" ", "") for part in parts}
        return tuple(sorted(c for c in compact if len(c) >= 8 and not c.isdigit()))

    def found_in(self, text: str, places: bool = True) -> bool:
        """Say whether the text holds any of the values; `places` includes addresses."""
        folded = fold(text)
        if not folded:
            return False
        words = folded.split()
        if not self.words.isdisjoint(words):
            return True
        squeezed = "".join(words)
        if self._long_words is not None and self._long_words.search(squeezed):
            return True
        if places and any(place in squeezed for place in self._compact_places):
            return True
        # A short number inside a longer one is chance.
        return any(v in (squeezed if len(v) >= 6 else words) for v in self.compact)

    def spans_in(self, text: str) -> list[tuple[int, int]]:
        """Find where the values stand: names in any form, order and case, with their initials.

        A word that only begins as a long name does is taken for its inflection.
        """
        found: list[tuple[int, int]] = []
        tokens = [(m.start(), m.end(), fold(m[0]).replace(" ", "")) for m in _WORD.finditer(text)]
        named = [self._is_name(word) for _, _, word in tokens]
        for number, (start, end, word) in enumerate(tokens):
            initial = (
                len(word) == 1
                and word.isalpha()
                and any(
                    0 <= n < len(tokens) and named[n] and _close(text, tokens, number, n)
                    for n in (number - 1, number + 1)
                )
            )
            if named[number] or initial:
                found.append((start, end))
        squeezed = "".join(word for _, _, word in tokens)
        owner = [n for n, (_, _, word) in enumerate(tokens) for _ in word]
        values = [v for v in self.compact if len(v) >= 6]
        values += [w for w in self.words if len(w) >= 5]
        values += self._compact_places
        for value in values:
            at = squeezed.find(value)
            while at >= 0:
                found.append((tokens[owner[at]][0], tokens[owner[at + len(value) - 1]][1]))
                at = squeezed.find(value, at + 1)
        short = {v for v in self.compact if len(v) < 6}
        found += [(start, end) for start, end, word in tokens if word in short]
        for phrase in self._phrases:
            for n in range(len(tokens) - len(phrase) + 1):
                if all(tokens[n + k][2] == part for k, part in enumerate(phrase)):
                    found.append((tokens[n][0], tokens[n + len(phrase) - 1][1]))
        return found

    def _is_name(self, word: str) -> bool:
        if word in self.words:
            return True
        if len(word) < 5:
            return False
        return any(
            len(name) >= 5
            and (
                name in word
                or (
                    abs(len(name) - len(word)) <= 2
                    and word.startswith(name[: max(4, len(name) - 2)])
                )
            )
            for name in self.words
        )


def _close(text: str, tokens: list[tuple[int, int, str]], one: int, other: int) -> bool:
    first, second = sorted((one, other))
    return not text[tokens[first][1] : tokens[second][0]].strip(" .,_^'’-")


def _values(value: object) -> Iterator[str]:
    if value is None or isinstance(value, bytes):
        return
    if isinstance(value, (list, tuple)) or type(value).__name__ == "MultiValue":
        for item in value:  # type: ignore[attr-defined]
            yield from _values(item)
        return
    text = str(value).strip(" \0")
    if text:
        yield text


def of_dataset(ds: Dataset) -> StudyIdentifiers:
    """Collect at every depth; an element that cannot be decoded is passed over."""
    names: set[str] = set()
    ids: set[str] = set()
    births: set[str] = set()
    places: set[str] = set()
    devices: set[str] = set()
    stack = [ds]
    while stack:
        current = stack.pop()
        for tag in list(current.keys()):
            try:
                element = current[tag]
                if element.VR == "SQ":
                    stack.extend(element.value or [])
                elif element.VR == "PN":
                    names.update(_values(element.value))
                elif int(tag) in IDS:
                    ids.update(_values(element.value))
                elif int(tag) in BIRTH:
                    births.update(_values(element.value))
                elif int(tag) in DEVICES:
                    devices.update(_values(element.value))
                if int(tag) in PLACES:
                    places.update(_values(element.value))
            except Exception:
                continue
    return StudyIdentifiers(
        frozenset(names), frozenset(ids), frozenset(births), frozenset(places), frozenset(devices)
    )


def collect_identifiers(paths: Iterable[Path]) -> StudyIdentifiers:
    """Collect the identifying values of a study's headers; unreadable files are skipped."""
    total = StudyIdentifiers()
    # What one header says another need not be asked again.
    known: dict[object, set[bytes]] = {}
    for path in paths:
        try:
            with quiet():
                total |= of_dataset(_unknown(path, known))
        except Exception:
            continue
    return total


def _unknown(path: Path, known: dict[object, set[bytes]]) -> Dataset:
    """Read a header, without the elements that stood in another byte for byte."""
    with path.open("rb") as stream:
        parts = cut(stream)
        if parts is None:
            check_inflates(stream)
            stream.seek(0)
            return dcmread(stream, stop_before_pixels=True)
    charset = parts.elements.get(0x00080005)
    new = {0x00080005: charset} if charset is not None else {}
    private: dict[int, bytes] = {}
    for tag, data in parts.elements.items():
        if tag & 0x10000:
            private[tag] = data
        elif not parts.implicit and data[4:6] in _MUTE and tag not in _LISTED:
            continue
        elif data not in (there := known.setdefault((parts.implicit, charset, tag), set())):
            there.add(data)
            new[tag] = data
    # A private element means nothing without the creator in its group (PS3.5 7.8).
    whole = b"".join(private.values())
    if whole not in (there := known.setdefault((parts.implicit, charset), set())):
        there.add(whole)
        new.update(private)
    return parsed(parts, new)
