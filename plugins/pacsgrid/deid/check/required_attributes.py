"""The attributes that the IOD of a SOP class requires (PS3.3, PS3.4 B.5)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

_DICOM = "1.2.840.10008."


class RequiredAttributes(NamedTuple):
    """Attributes that an object must have (PS3.5 7.4).

    Conditional ones (1C, 2C) are included: if the source has them, their condition holds.

    Attributes
    ----------
    type1
        Tags of attributes that need a value.
    type2
        Tags of attributes that may be empty.
    """

    type1: frozenset[int]
    type2: frozenset[int]

    def __or__(self, other: RequiredAttributes) -> RequiredAttributes:
        """Return the attributes of both."""
        return RequiredAttributes(self.type1 | other.type1, self.type2 | other.type2)


_NOTHING = RequiredAttributes(frozenset(), frozenset())
# For a SOP class that no table lists: the attributes common to images and reports.
_COMMON = RequiredAttributes(
    frozenset(
        (
            0x00080016, 0x00080018,  # SOP Common, C.12.1
            0x0020000D, 0x0020000E, 0x00080060,  # General Study and Series, C.7.2.1, C.7.3.1
            0x00280002, 0x00280004, 0x00280010, 0x00280011,  # Image Pixel, C.7.6.3
            0x00280100, 0x00280101, 0x00280102, 0x00280103,
            0x0040A040, 0x0040A491, 0x0040A493,  # SR Document, C.17.2, C.17.3
        )
    ),
    frozenset(
        (
            0x00100010, 0x00100020, 0x00100030, 0x00100040,  # Patient, C.7.1.1
            0x00080020, 0x00080030, 0x00080050, 0x00080090, 0x00200010,  # General Study, C.7.2.1
        )
    ),
)  # fmt: skip
# The UIDs that every object needs.
_ALWAYS = RequiredAttributes(
    frozenset((0x00080016, 0x00080018, 0x0020000D, 0x0020000E)), frozenset()
)


@lru_cache(maxsize=1)
def _tables() -> tuple[dict[str, RequiredAttributes], dict[int, RequiredAttributes]]:
    """Read the attributes required by SOP class, and in items by sequence, from `iods.csv`."""
    modules: dict[str, RequiredAttributes] = {}
    classes: dict[str, RequiredAttributes] = {}
    items: dict[int, RequiredAttributes] = {}
    for line in Path(__file__).with_name("iods.csv").read_text("ascii").splitlines():
        if line.startswith("#"):
            continue
        kind, key, *rest = line.split(";")
        if kind == "iod":
            required = _ALWAYS
            for number in rest[0].split():
                required |= modules[number]
            classes.update((_DICOM + uid, required) for uid in key.split())
            continue
        first, second = (frozenset(int(tag, 16) for tag in part.split()) for part in rest)
        if kind == "module":
            modules[key] = RequiredAttributes(first, second)
        else:
            items[int(key, 16)] = RequiredAttributes(first, second)
    return classes, items


def required_at_top_level(sop_class: str) -> RequiredAttributes:
    """Return the attributes that a SOP class requires outside sequences."""
    return _tables()[0].get(sop_class, _COMMON)


def required_in_items(sequence: int) -> RequiredAttributes:
    """Return the attributes that each item of a sequence requires, by the sequence's tag."""
    return _tables()[1].get(sequence, _NOTHING)
