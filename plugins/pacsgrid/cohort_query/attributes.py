"""The attributes that a cohort can be chosen by, and how their values are compared."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from functools import cache

from pydicom.datadict import dictionary_VR

from pacsgrid import manifest_attributes

# One value for each instance, or geometry that no cohort is chosen by.
_LEFT_OUT = {"SOPInstanceUID", "ImagePositionPatient", "ImageOrientationPatient"}
_SEQUENCES = {"ProcedureCodeSequence", "RequestAttributesSequence", "ConceptNameCodeSequence"}
_NUMBERS = {"DS", "IS", "FL", "FD", "US", "SS", "UL", "SL", "SV", "UV"}
# Years in one unit of an Age String (PS3.5 6.2).
_YEARS = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
_AGE = re.compile(r"([0-9]{1,3}(?:\.[0-9]+)?)([YMWD]?)", re.I)
_DATE = re.compile(r"([0-9]{4})(?:-?([0-9]{2})(?:-?([0-9]{2}))?)?")
_DATE_TIME = re.compile(r"[0-9]{10,14}(?:\.[0-9]+)?(?:[+-][0-9]{4})?")  # DT, compared by its day
_TIME = re.compile(r"([0-9]{2})(?::?([0-9]{2})(?::?([0-9]{2})(\.[0-9]{1,6})?)?)?")
_LONGEST = 256


class Kind(StrEnum):
    """How the values of an attribute are compared."""

    TEXT = "text"
    NUMBER = "number"
    AGE = "age"
    DATE = "date"
    TIME = "time"


@dataclass(frozen=True)
class Attribute:
    """An attribute of studies, series or instances.

    Attributes
    ----------
    name
        Its keyword.
    kind
        How its values are compared.
    """

    name: str
    kind: Kind


_COUNTED = {
    "NumberOfSeriesRelatedInstances": Kind.NUMBER,
    "NumberOfStudyRelatedInstances": Kind.NUMBER,
    "NumberOfStudyRelatedSeries": Kind.NUMBER,
    "ModalitiesInStudy": Kind.TEXT,
}
_ALIASES = {
    "age": "PatientAge",
    "bodypart": "BodyPartExamined",
    "body_part": "BodyPartExamined",
    "contrast": "ContrastBolusAgent",
    "date": "StudyDate",
    "description": "StudyDescription",
    "numberofslices": "NumberOfSeriesRelatedInstances",
    "sex": "PatientSex",
    "slices": "NumberOfSeriesRelatedInstances",
    "subject": "PatientID",
    "thickness": "SliceThickness",
}


def _kind(keyword: str) -> Kind:
    if keyword in _SEQUENCES:
        return Kind.TEXT
    vr = dictionary_VR(keyword).split(" ")[0]
    if vr in _NUMBERS:
        return Kind.NUMBER
    return {"AS": Kind.AGE, "DA": Kind.DATE, "DT": Kind.DATE, "TM": Kind.TIME}.get(vr, Kind.TEXT)


@cache
def attributes() -> dict[str, Attribute]:
    """Return every attribute that a query may name, by its keyword."""
    levels = (manifest_attributes.STUDY, manifest_attributes.SERIES, manifest_attributes.INSTANCE)
    words = [word for level in levels for word in level if word not in _LEFT_OUT]
    found = {word: Attribute(word, _kind(word)) for word in words}
    found |= {word: Attribute(word, kind) for word, kind in _COUNTED.items()}
    return dict(sorted(found.items()))


def find_attribute(name: str) -> Attribute | None:
    """Return the attribute of a keyword or a short name, in any case; None if there is none."""
    folded = name.casefold()
    known = {word.casefold(): word for word in attributes()}
    word = _ALIASES.get(folded) or known.get(folded)
    return attributes()[word] if word else None


def similar_attribute(name: str) -> str:
    """Return the keyword or short name that is most like a text; empty if none is."""
    known = {word.casefold(): word for word in (*attributes(), *_ALIASES)}
    found = get_close_matches(name.casefold(), known, 1)
    return known[found[0]] if found else ""


def fold(text: str) -> str:
    """Return a text as it is compared: without its case, outer spaces and the end of a long one."""
    return " ".join(text.strip(" ^\0").casefold().split())[:_LONGEST]


def number_range(kind: Kind, text: str) -> tuple[float, float] | None:
    """Return the numbers that a value stands for.

    Parameters
    ----------
    kind
        How the values of its attribute are compared; not `Kind.TEXT`.
    text
        A number, an age such as ``64``, ``064Y`` or ``18M``, a date such as ``2020-05-17``,
        ``202005`` or ``2020``, or a time such as ``10:15``.

    Returns
    -------
    tuple of float or None
        The least and the greatest, which differ for a part of a date or time; None if the text
        is no such value.
    """
    text = text.strip()
    if kind is Kind.AGE:
        found = _AGE.fullmatch(text)
        if found is None:
            return None
        years = round(float(found[1]) * _YEARS[(found[2] or "Y").upper()], 4)
        return years, years
    if kind is Kind.DATE:
        found = _DATE.match(text) if _DATE_TIME.fullmatch(text) else _DATE.fullmatch(text)
        if found is None:
            return None
        low = f"{found[1]}{found[2] or '00'}{found[3] or '00'}"
        high = f"{found[1]}{found[2] or '99'}{found[3] or '99'}"
        return float(low), float(high)
    if kind is Kind.TIME:
        found = _TIME.fullmatch(text)
        if found is None:
            return None
        rest = found[4] or ""
        low = f"{found[1]}{found[2] or '00'}{found[3] or '00'}{rest}"
        high = f"{found[1]}{found[2] or '99'}{found[3] or '99'}{rest}"
        return float(low), float(high)
    try:
        number = float(re.sub(r"(?i)\s*(mm|kvp?|t|ms|kg|m)\Z", "", text))
    except ValueError:
        return None
    return (number, number) if math.isfinite(number) else None
