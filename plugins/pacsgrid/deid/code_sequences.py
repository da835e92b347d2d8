"""Clean coded entries (PS3.3 8.8): standard codes stay, with the meaning of their dictionary."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from pydicom.dataset import Dataset

from .pseudonyms import Pseudonyms

# A coding scheme designator (PS3.3 8.2).
_DESIGNATOR = re.compile(r"[A-Za-z0-9_.-]{1,16}")
# Public schemes with the shape of their codes; a value of another scheme may be anything.
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
    from pydicom.sr._concepts_dict import concepts  # large: see worker_context

    found: dict[tuple[str, str], str] = {}
    for scheme, names in concepts.items():
        for codes in names.values():
            for value, entry in codes.items():
                found[scheme, value] = entry[0]
    return found


def clean_code(
    ds: Dataset,
    pseudonyms: Pseudonyms,
    clean: Callable[[str], str],
    local: Callable[[str], bool] = lambda _scheme: False,
) -> None:
    """Clean a code sequence item, in place; a dataset without a code is left alone.

    The code of a public scheme stays. Its meaning is free text of the sender: where that may
    identify, the dictionary's meaning replaces it. Other codes are replaced by pseudonyms unless
    nothing in them identifies.

    Parameters
    ----------
    ds
        The item.
    pseudonyms
        The project's pseudonym space.
    clean
        Removes what identifies from a text; returns an empty one when nothing may stay.
    local
        Returns whether a scheme is named after an institution of the study.
    """
    scheme = str(ds.get("CodingSchemeDesignator", "") or "")
    if "CodeMeaning" not in ds and "CodeValue" not in ds:
        # An item that describes a scheme (PS3.3 C.12.1), or a long or URN code value.
        known = scheme in _SHAPES or (
            _DESIGNATOR.fullmatch(scheme) and not local(scheme) and clean(scheme) == scheme
        )
        if scheme and not known:
            ds.CodingSchemeDesignator = "99PACSGRID"
        return
    value = str(ds.get("CodeValue", "") or "")
    stated = str(ds.get("CodeMeaning", "") or "")
    meaning = _meanings().get((scheme, value))
    shape = _SHAPES.get(scheme)
    public = meaning is not None or bool(shape and re.fullmatch(shape, value))
    # Anything but ASCII may have been read with the wrong character set.
    known = (not scheme or _DESIGNATOR.fullmatch(scheme)) and value.isascii()
    known = known and not local(scheme)
    if public or (value and known and clean(value) == value and clean(scheme) == scheme):
        harmless = stated if stated == meaning or clean(stated) == stated else ""
        ds.CodeMeaning = (harmless or meaning or clean(stated) or "not stated")[:64]
        return
    if value:
        # With the standard's VR, whatever the source has.
        ds.add_new(0x00080100, "SH", pseudonyms.code(scheme, value))
        ds.CodingSchemeDesignator = "99PACSGRID"
    elif scheme and (
        local(scheme) or not (_DESIGNATOR.fullmatch(scheme) and clean(scheme) == scheme)
    ):
        ds.CodingSchemeDesignator = "99PACSGRID"
    ds.CodeMeaning = clean(stated) or "removed"
