"""Coded entries (PS3.3 8.8): standard codes stay with their dictionary's meaning, others go."""

from __future__ import annotations

import re
from functools import lru_cache

from pydicom.dataset import Dataset
from pydicom.sr._concepts_dict import concepts

from .pseudonyms import Pseudonyms

# Schemes whose values are public terms; a value of any other scheme may be anything.
PUBLIC = frozenset({"DCM", "SCT", "SRT", "SNM3", "UCUM", "LN", "RADLEX", "FMA", "NCIt", "99SDM"})


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
    if meaning is not None or (scheme in PUBLIC and _public(scheme, value)):
        ds.CodeMeaning = (meaning or "not stated")[:64]
        return
    ds.CodeValue = pseudonyms.code(scheme, value)
    ds.CodingSchemeDesignator = "99PACSGRID"
    ds.CodeMeaning = "removed"


def _public(scheme: str, value: str) -> bool:
    """Whether an unlisted value at least has the shape that its scheme gives to codes."""
    shapes = {
        "SCT": r"\d{6,18}",
        "DCM": r"\d{6}",
        "SRT": r"[A-Z]-[0-9A-F]{4,6}",
        "SNM3": r"[A-Z]-[0-9A-F]{4,6}",
        "LN": r"\d{1,6}-\d",
        "RADLEX": r"RID\d{1,6}",
    }
    return scheme in shapes and re.fullmatch(shapes[scheme], value) is not None
