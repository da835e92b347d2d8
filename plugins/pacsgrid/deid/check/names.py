"""Search for short names, and for names written together, with initials or without spaces."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import pairwise

from .text_decoding import UNSEEN, fold, fold_spellings

# Titles, particles of names, and placeholders for removed names: these are not names.
NOT_NAMES = frozenset(
    (
        "99pacsgrid", "abu", "and", "anonym", "anonymous", "anonymised", "anonymized", "ben",
        "bin", "bint", "bsc", "csc", "das", "deidentified", "del", "den", "der", "des", "doc",
        "doctor", "dos", "drsc", "ibn", "iii", "ing", "les", "mbchb", "med", "mgr", "mrs", "mudr",
        "mvdr", "none", "null", "patient", "phantom", "phd", "prof", "removed", "rndr", "san",
        "sir", "ten", "ter", "the", "unknown", "unspecified", "van", "vom", "von", "withheld",
        "zum", "zur",
        # two letters
        "af", "al", "ap", "av", "cr", "ct", "da", "de", "di", "do", "dr", "du", "dx", "el", "id",
        "ii", "iv", "jr", "la", "le", "md", "mg", "mr", "ms", "nm", "pt", "qa", "rt", "sr", "st",
        "us", "xa", "zu",
        # one letter
        "d", "e", "i", "o", "v", "y",
    )
)  # fmt: skip
# Units after a number ("5 mg") or before a slash ("mg/kg").
_UNITS = r"(?:[munpk][gms]|[mdcn][lLm]|m[AVT]|kV|Hz|Gy|HU|Bq|Ci|lb)"
_UNIT = re.compile(rf"(?:(?<=\d)|(?<=\d )){_UNITS}(?![^\W_])|(?<![^\W_]){_UNITS}(?=/)")
_CASED = re.compile(r"[A-Z]?[a-z]{2,}|[A-Z]{3,}(?![a-z])")
_WORD = re.compile(r"[^\W_]+")
# Names of more words than this are not searched for in other orders.
_PARTS = 4


@lru_cache(maxsize=4096)
def min_letters_inside(word: str) -> int:
    """Return the least length at which a name is searched for inside other words.

    This is for scripts that write no spaces. The result is 0 for all other scripts.
    """
    kind = unicodedata.name(word[0], "").split(" ")[0]
    return {"CJK": 2, "HANGUL": 2, "KATAKANA": 3, "HIRAGANA": 3, "THAI": 3, "LAO": 3,
            "KHMER": 3, "MYANMAR": 3}.get(kind, 0)  # fmt: skip


class ShortNames:
    """A search for names of two letters, for names in scripts without spaces, and for joined names.

    Parameters
    ----------
    patients
        Names of the patients.
    others
        Names of other persons. Their short names count only next to another of their names.
    """

    def __init__(self, patients: Iterable[str], others: Iterable[str]) -> None:
        self._alone: set[str] = set()
        self._persons: list[tuple[str, ...]] = []
        self._full: set[str] = set()
        self._inside: set[str] = set()
        for own, names in ((True, patients), (False, others)):
            for parts in {parts for name in names for parts in _parts(name)}:
                self._take(parts, own)
        self._letters = {part[0] for person in self._persons for part in person}
        names = {part for person in self._persons for part in person if len(part) >= 3}
        self._names = names - NOT_NAMES

    def _take(self, parts: tuple[str, ...], own: bool) -> None:
        together = [part for part in parts if min_letters_inside(part)]
        for part in together:
            if len(part) >= min_letters_inside(part):
                self._inside.add(part)
            elif own:
                self._alone.add(part)
        if len(together) > 1:
            self._full |= {"".join(together), "".join(reversed(together))}
        apart = tuple(part for part in parts if not min_letters_inside(part))
        if own:
            self._alone |= {part for part in apart if len(part) == 2 and part.isalpha()}
        self._alone -= NOT_NAMES
        if 1 < len(apart) <= _PARTS:
            self._persons.append(apart)

    def holds_unspaced_name(self, words: list[str]) -> bool:
        """Return whether folded words contain a name in a script without spaces."""
        if not self._inside and not self._full:
            return False
        spaced = " ".join(words)
        squeezed = "".join(words)
        return any(name in spaced for name in self._inside) or any(
            name in squeezed for name in self._full
        )

    def holds_name(self, text: str, words: list[str], alone: bool) -> bool:
        """Return whether a text names somebody.

        Parameters
        ----------
        text
            The text as written.
        words
            The words of the text, folded.
        alone
            Whether two letters that stand alone may be a name.
        """
        if alone and not self._alone.isdisjoint(words):
            apart = fold(_UNIT.sub(" ", text)).split()
            if not self._alone.isdisjoint(apart):
                return True
        for word in words:
            if (
                len(word) >= 4
                and word[0] in self._letters
                and any(_spells(word, person) for person in self._persons)
            ):
                return True
        return any(_row(words, person) for person in self._persons) or self._cased(text)

    def _cased(self, text: str) -> bool:
        """Return whether a name follows inside a word with a capital letter: ``KneeKos``."""
        if not self._names or text.isupper() or text.islower():
            return False
        plain = "".join(
            char
            for char in unicodedata.normalize("NFKD", text)
            if unicodedata.category(char) not in UNSEEN
        )
        return any(
            match[0].casefold() in self._names
            for word in _WORD.findall(plain)
            if word.isascii()
            for match in _CASED.finditer(word)
        )


def _parts(name: str) -> Iterator[tuple[str, ...]]:
    """Yield the words of the family, given and middle name, for each representation of a name."""
    for group in unicodedata.normalize("NFKC", name).split("="):
        components = group.split("^")[:3]
        for form in fold_spellings(" ".join(components)):
            words = tuple(w for w in dict.fromkeys(form.split()) if not w.isdigit())
            if words:
                yield words


def _spells(word: str, person: tuple[str, ...]) -> bool:
    """Return whether a word joins two names of a person, or a name and an initial."""
    for number, part in enumerate(person):
        if part in NOT_NAMES:
            continue
        rest = person[:number] + person[number + 1 :]
        if len(part) >= 3 and word.startswith(part):
            if (left := word[len(part) :]) and _continues(left, rest):
                return True
        elif len(part) >= 3 and word.endswith(part) and (left := word[: -len(part)]):
            if _continues(left, rest):
                return True
        elif len(part) == 2 and word.startswith(part) and word[2:] in set(rest) - NOT_NAMES:
            return True
    return False


def _continues(left: str, rest: tuple[str, ...]) -> bool:
    """Return whether the rest of a word is one of the other names, or its first letter."""
    return any(left in (part, part[0]) for part in rest if part not in NOT_NAMES)


def _row(words: list[str], person: tuple[str, ...]) -> bool:
    """Return whether two different names of a person are neighbours."""
    mine = {part for part in person if len(part) >= 2} - NOT_NAMES
    return any(one != other and one in mine and other in mine for one, other in pairwise(words))
