"""What identifies a patient in a study's own headers; the search list for text and checker."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

from .quiet import quiet

NAMES = frozenset({0x00100010, 0x00101001, 0x00101005, 0x00101060})
# Every PN is a person of this study; these LO/SH are identifiers of patient, visit or order.
IDS = frozenset(
    {
        0x00080050,
        0x00100020,
        0x00101000,
        0x00101002,
        0x00101090,
        0x00102154,
        0x00102155,
        0x00200010,
        0x00380010,
        0x00380060,
        0x00321064,
        0x00401001,
        0x00400009,
        0x00402016,
        0x00402017,
        0x00400253,
        0x00101040,
        0x00101081,
        0x00181000,
    }
)
BIRTH = frozenset({0x00100030})


def fold(text: str) -> str:
    """Reduce text to lower-case words without diacritics: ``NOVÁK^Jan`` to ``novak jan``."""
    plain = unicodedata.normalize("NFKD", text)
    plain = "".join(c for c in plain if not unicodedata.combining(c)).casefold()
    return " ".join(re.findall(r"[^\W_]+", plain))


@dataclass(frozen=True)
class StudyIdentifiers:
    """The identifying values of one study, as they stood. Identified: memory only."""

    names: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()
    birth_dates: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return f"StudyIdentifiers({len(self.names)} names, {len(self.ids)} ids)"

    def __or__(self, other: StudyIdentifiers) -> StudyIdentifiers:
        return StudyIdentifiers(
            self.names | other.names, self.ids | other.ids, self.birth_dates | other.birth_dates
        )

    @cached_property
    def words(self) -> frozenset[str]:
        """Words of names of three letters or more; shorter ones are in half the language."""
        return frozenset(w for n in self.names for w in fold(n).split() if len(w) >= 3)

    @cached_property
    def compact(self) -> tuple[str, ...]:
        """Identifiers and birth dates without separators, four characters or more."""
        values = {fold(v).replace(" ", "") for v in self.ids | self.birth_dates}
        return tuple(sorted(v for v in values if len(v) >= 4))

    def found_in(self, text: str) -> bool:
        """Say whether the text holds any of the values."""
        folded = fold(text)
        if not folded:
            return False
        squeezed = folded.replace(" ", "")
        if not self.words.isdisjoint(folded.split()):
            return True
        if any(len(w) >= 5 and w in squeezed for w in self.words):
            return True
        return any(v in squeezed for v in self.compact)


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
            except Exception:
                continue
    return StudyIdentifiers(frozenset(names), frozenset(ids), frozenset(births))


def collect_identifiers(paths: Iterable[Path]) -> StudyIdentifiers:
    """Collect the identifying values of a study's headers; unreadable files are skipped."""
    total = StudyIdentifiers()
    for path in paths:
        try:
            with quiet():
                total |= of_dataset(dcmread(path, stop_before_pixels=True))
        except Exception:
            continue
    return total
