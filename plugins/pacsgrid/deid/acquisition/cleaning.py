"""Keep, write anew or drop the value of one acquisition element."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset

from ..identifiers import StudyIdentifiers
from .ge import rewrite_protocol_block, rewrite_user_data
from .siemens import rewrite_csa, rewrite_xprotocol
from .table import AcquisitionElement, fields
from .values import Identifies, are_plausible, clean_text, numbers_in

_BINARY = frozenset({"FL", "FD", "SL", "SS", "UL", "US"})
_TEXT = frozenset({"CS", "DS", "IS", "LO", "LT", "SH", "ST", "UT"})
# A header of more bytes is dropped.
_LARGEST_HEADER = 1 << 22
_Rewriter = Callable[[bytes, Identifies], bytes | None]
_REWRITERS: dict[str, _Rewriter] = {
    "csa-image": lambda value, known: rewrite_csa(value, fields("csa-image"), known),
    "csa-series": lambda value, known: rewrite_csa(value, fields("csa-series"), known),
    "xprotocol": rewrite_xprotocol,
    "ge-protocol": rewrite_protocol_block,
    "ge-user-data": rewrite_user_data,
}


def clean_value(
    ds: Dataset, tag: int, element: AcquisitionElement, identifiers: StudyIdentifiers
) -> bool:
    """Keep an acquisition element in place, or say that its value may not stay.

    Parameters
    ----------
    ds
        The dataset.
    tag
        The element. If it is undecoded its VR is that of the table, or one that the table accepts.
    element
        Its row of the table; not a sequence.
    identifiers
        What identifies in the headers of the study.

    Returns
    -------
    bool
        Whether the element may stay as `ds` has it now.
    """
    held = ds.get_item(tag)
    value = held.value
    if not value and value != 0:
        return True
    vr = str(held.VR)
    known = _number_check(identifiers)
    if element.rule.kind == "rewrite":
        if not isinstance(value, bytes) or len(value) > _LARGEST_HEADER:
            return False
        made = _rewritten(element.rule.name, value, identifiers)
        if made is None:
            return False
        ds[tag] = DataElement(tag, "OB", made)
        return True
    if vr in _BINARY:
        numbers = _numbers(held, vr)
        return numbers is not None and are_plausible(numbers, known)
    if vr not in _TEXT:
        return False
    text = _text(held)
    made_text = clean_text(text, element.rule, known)
    if made_text is not None and made_text != text:
        values = made_text.split("\\")
        ds[tag] = DataElement(tag, vr, values if len(values) > 1 else values[0])
    return made_text is not None


@lru_cache(maxsize=64)
def _rewritten(name: str, value: bytes, identifiers: StudyIdentifiers) -> bytes | None:
    """Write a header anew; the images of a series repeat their series header."""
    return _REWRITERS[name](value, _number_check(identifiers))


@lru_cache(maxsize=16)
def _number_check(identifiers: StudyIdentifiers) -> Identifies:
    days = identifiers.known_days | identifiers.birth_dates

    @lru_cache(maxsize=4096)
    def identifies(text: str) -> bool:
        return text in days or identifiers.occur_in(text, short=True)

    return identifies


def _numbers(held: Any, vr: str) -> list[float] | None:
    if isinstance(held, RawDataElement):
        return numbers_in(held.value, vr, held.is_little_endian)
    value = held.value
    many = value if hasattr(value, "__iter__") else [value]
    return [number for number in many if isinstance(number, int | float)]


def _text(held: Any) -> str:
    if isinstance(held.value, bytes):
        return held.value.decode("latin-1")
    value = held.value
    many = [value] if isinstance(value, str) or not hasattr(value, "__iter__") else value
    return "\\".join(str(getattr(one, "original_string", one)) for one in many)
