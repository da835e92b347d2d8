"""Read the tables of acquisition elements: `elements.csv`, `fields.csv` and `words.csv`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..safe_private import same_creator

LETTERS = re.compile(r"[A-Za-z]+")
# Values of any of these VRs are text; devices and archives exchange them.
_TEXT = frozenset({"CS", "LO", "SH", "ST", "LT", "UT"})


@dataclass(frozen=True)
class ValueRule:
    """What a value may be.

    Attributes
    ----------
    kind
        ``number``, ``words``, ``rewrite`` or ``items``.
    name
        The name of the list of words, or of the header that is written anew.
    words
        Runs of letters that a value may hold; empty for numbers.
    short
        Runs of up to so many letters may stand too, as in the labels of coil elements, as long as
        nobody in the study is called so.
    """

    kind: str
    name: str = ""
    words: frozenset[str] = frozenset()
    short: int = 0


@dataclass(frozen=True)
class AcquisitionElement:
    """One row of `elements.csv`."""

    vr: str
    rule: ValueRule

    def accepts(self, vr: str) -> bool:
        """Return whether a file may write the element with a VR."""
        return vr == self.vr or (vr in _TEXT and self.vr in _TEXT)


@dataclass(frozen=True)
class HeaderField:
    """One row of `fields.csv`; `vr` is empty for a key of a protocol."""

    vr: str
    rule: ValueRule


def _rows(name: str) -> Iterator[list[str]]:
    for line in Path(__file__).with_name(name).read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            yield line.split(";")


@lru_cache(maxsize=1)
def _word_lists() -> dict[str, frozenset[str]]:
    return {name: frozenset(LETTERS.findall(words)) for name, words in _rows("words.csv")}


# Labels of coil elements, and abbreviations in the names of sequences.
_SHORT = {"coil": 2, "sequence": 4}


@lru_cache(maxsize=256)
def _rule(values: str) -> ValueRule:
    kind, _, name = values.partition(" ")
    if kind == "words":
        return ValueRule(kind, name, _word_lists()[name], _SHORT.get(name, 0))
    return ValueRule(kind, name)


@lru_cache(maxsize=1)
def elements() -> dict[tuple[str, int, int], AcquisitionElement]:
    """Return the elements by creator (as `same_creator` returns it), group, number in the block."""
    return {
        (same_creator(creator), int(group, 16), int(low, 16)): AcquisitionElement(vr, _rule(values))
        for creator, group, low, vr, values, _meaning, _source in _rows("elements.csv")
    }


@lru_cache(maxsize=8)
def fields(header: str) -> dict[str, HeaderField]:
    """Return the fields of a header that is written anew, by name; ``[]`` stands for an index."""
    return {
        field: HeaderField(vr, _rule(values))
        for name, field, vr, values, _meaning in _rows("fields.csv")
        if name == header
    }
