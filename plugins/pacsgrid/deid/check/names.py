"""Names as the checker looks for them: a word that the letters of a person's names make up."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import pairwise

from .text_decoding import UNSEEN, fold, fold_spellings

# Titles, words beside names in many languages, and what stands where a name was taken out before.
NOT_NAMES = frozenset(
    (
        "99pacsgrid", "abu", "and", "anonym", "anonymous", "anonymised", "anonymized", "ben",
        "bin", "bint", "bsc", "csc", "das", "deidentified", "del", "den", "der", "des", "doc",
        "doctor", "dos", "drsc", "ibn", "iii", "ing", "les", "mbchb", "med", "mgr", "mrs", "mudr",
        "mvdr", "none", "null", "patient", "phantom", "phd", "prof", "removed", "rndr", "san",
        "sir", "ten", "ter", "the", "unknown", "unspecified", "van", "vom", "von", "withheld",
        "zum", "zur",
        # of two letters
        "af", "al", "ap", "av", "cr", "ct", "da", "de", "di", "do", "dr", "du", "dx", "el", "id",
        "ii", "iv", "jr", "la", "le", "md", "mg", "mr", "ms", "nm", "pt", "qa", "rt", "sr", "st",
        "us", "xa", "zu",
        # and of one
        "d", "e", "i", "o", "v", "y",
    )
)  # fmt: skip
# As they are written behind a number, or in front of what they are divided by.
_UNITS = r"(?:[munpk][gms]|[mdcn][lLm]|m[AVT]|kV|Hz|Gy|HU|Bq|Ci|lb)"
_UNIT = re.compile(rf"(?:(?<=\d)|(?<=\d )){_UNITS}(?![^\W_])|(?<![^\W_]){_UNITS}(?=/)")
_CASED = re.compile(r"[A-Z]?[a-z]{2,}|[A-Z]{3,}(?![a-z])")
_WORD = re.compile(r"[^\W_]+")
# Names put together of more words than that are not looked for in other orders.
_PARTS = 4


@lru_cache(maxsize=4096)
def min_letters_inside(word: str) -> int:
    """Return from how many letters a word of a script without spaces is looked for inside others.

    0 for scripts whose words stand apart.
    """
    kind = unicodedata.name(word[0], "").split(" ")[0]
    return {"CJK": 2, "HANGUL": 2, "KATAKANA": 3, "HIRAGANA": 3, "THAI": 3, "LAO": 3,
            "KHMER": 3, "MYANMAR": 3}.get(kind, 0)  # fmt: skip


class ShortNames:
    """Names of two letters or few characters, and names written together.

    Parameters
    ----------
    patients
        Names of whom the study is of.
    others
        Names of other persons: short ones are looked for beside each other only.
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
        """Say whether folded words hold a name of a script without spaces."""
        if not self._inside and not self._full:
            return False
        spaced = " ".join(words)
        squeezed = "".join(words)
        return any(name in spaced for name in self._inside) or any(
            name in squeezed for name in self._full
        )

    def holds_name(self, text: str, words: list[str], alone: bool) -> bool:
        """Say whether a text names somebody.

        Parameters
        ----------
        words
            The text folded, as words.
        alone
            Whether two letters that stand alone are a name there.
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
        """Say whether a name begins with a capital in the midst of a word: ``KneeKos``."""
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
    """List the representations of a name as words of family, given and middle names."""
    for group in unicodedata.normalize("NFKC", name).split("="):
        components = group.split("^")[:3]
        for form in fold_spellings(" ".join(components)):
            words = tuple(w for w in dict.fromkeys(form.split()) if not w.isdigit())
            if words:
                yield words


def _spells(word: str, person: tuple[str, ...]) -> bool:
    """Say whether a word is two or more of a person's names, or a name and initials."""
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
    """Say whether what is left of a word is one of the other names, or its first letter."""
    return any(left in (part, part[0]) for part in rest if part not in NOT_NAMES)


def _row(words: list[str], person: tuple[str, ...]) -> bool:
    """Say whether two names of a person stand beside each other, of four letters together."""
    mine = {part for part in person if len(part) >= 2} - NOT_NAMES
    return any(one != other and one in mine and other in mine for one, other in pairwise(words))
