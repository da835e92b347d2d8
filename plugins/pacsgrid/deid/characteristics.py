"""Round patient characteristics, so that a value is shared by many people."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any

from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset

from .profile import Profile

_OLDEST = 90
# Subject Age (PS3.16 CID 3627), and its units in a year.
_SUBJECT_AGE = ("DCM", "121033")
_IN_A_YEAR = {"a": Decimal(1), "mo": Decimal(12), "wk": Decimal("52.18"), "d": Decimal("365.25")}
# Below this age in years, days and weeks matter, and are kept.
_INFANT = 2


def bin_value(tag: int, value: Any, profile: Profile) -> Any:
    """Round a value to the width that the profile gives; all ages above 89 years become 90.

    Ages in years are rounded down, so that a minor never becomes an adult.

    Parameters
    ----------
    tag
        PatientAge, PatientSize or PatientWeight.
    value
        Its value.
    profile
        Gives the width (`bins`): years, metres or kilograms.

    Returns
    -------
    object
        `value` itself where the profile gives no width or the value is no number.
    """
    width = Decimal(str(profile.bins.get(keyword_for_tag(tag), 0)))
    age = re.fullmatch(r"(\d{3})([DWMY])", str(value))
    if age is not None:
        years = int(age[1])
        if age[2] != "Y":
            return value
        if years >= _OLDEST:
            return f"{_OLDEST:03d}Y"
        return f"{years // int(width) * int(width):03d}Y" if width >= 1 else value
    if not width:
        return value
    try:
        number = Decimal(str(value))
        steps = (number / width).quantize(Decimal(1), ROUND_HALF_EVEN)
    except (InvalidOperation, TypeError, ValueError):
        return value
    return f"{(steps * width).normalize():f}"


def bin_measured_age(item: Dataset, profile: Profile) -> bool:
    """Round the age that a content item measures, in place, as PatientAge is rounded.

    Parameters
    ----------
    item
        A content item of value type NUM.
    profile
        Gives the width in years.

    Returns
    -------
    bool
        False for an age that cannot be rounded, which then may not stay.
    """
    width = Decimal(str(profile.bins.get("PatientAge", 0)))
    concept = item.ConceptNameCodeSequence[0]
    of_age = (concept.get("CodingSchemeDesignator"), concept.get("CodeValue")) == _SUBJECT_AGE
    if not width or not of_age:
        return True
    for measured in item.MeasuredValueSequence:
        for exact in ("FloatingPointValue", "RationalNumeratorValue", "RationalDenominatorValue"):
            measured.pop(exact, None)
        try:
            unit = _IN_A_YEAR[measured.MeasurementUnitsCodeSequence[0].CodeValue]
            value = Decimal(str(measured.NumericValue))
        except (AttributeError, IndexError, InvalidOperation, KeyError, TypeError, ValueError):
            return False
        years = value / unit
        if unit > 1 and years < _INFANT:
            continue
        rounded = min(years // width * width, Decimal(_OLDEST)) * unit
        measured.NumericValue = f"{rounded.normalize():f}"
    return True
