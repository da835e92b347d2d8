"""Coded entries (PS3.3 8.8): standard codes stay with their dictionary's meaning, others go."""

from __future__ import annotations

import re
from functools import lru_cache

from pydicom.dataset import Dataset
from pydicom.sr._concepts_dict import concepts

from .pseudonyms import Pseudonyms

# Public schemes, and the shape each gives to its codes; a value of another scheme may be anything.
_SHAPES = {
    "SCT": r"\d{6,18}",
    "DCM": r"\d{6}",
    "SRT": r"[A-Z]-[0-9A-F]{4,6}",
    "SNM3": r"[A-Z]-[0-9A-F]{4,6}",
    "LN": r"\d{1,6}-\d",
    "RADLEX": r"RID\d{1,6}",
}


@lru_cache(maxsize=1)
def _meanings() -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    for scheme, names in concepts.items():
        for codes in names.values():
            for value, entry in codes.items():
                found[scheme, value] = entry[0]
    return found


def clean_code(ds: Dataset, pseudonyms: Pseudonyms) -> None:
    """Put a code sequence item right, in place; a dataset without a code is left alone.

    A meaning is free text as far as a sender is concerned: only the one that the dictionary
    gives for the value is written.
    """
    if "CodeMeaning" not in ds and "CodeValue" not in ds and "CodingSchemeDesignator" not in ds:
        return
    scheme = str(ds.get("CodingSchemeDesignator", "") or "")
    value = str(ds.get("CodeValue", "") or "")
    meaning = _meanings().get((scheme, value))
    shape = _SHAPES.get(scheme)
    if meaning is not None or (shape and re.fullmatch(shape, value)):
        ds.CodeMeaning = (meaning or "not stated")[:64]
        return
    ds.CodeValue = pseudonyms.code(scheme, value)
    ds.CodingSchemeDesignator = "99PACSGRID"
    ds.CodeMeaning = "removed"
