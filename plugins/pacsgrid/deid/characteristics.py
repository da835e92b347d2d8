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
# Below these sizes (m) and weights (kg), a fixed width would be too coarse: SUV is proportional to
# the weight (PS3.3 C.8.9.4), so that a child of 12 kg rounded to 10 kg would lose 17 % of it.
_SMALL = {"PatientSize": Decimal("0.5"), "PatientWeight": Decimal(50)}


def bin_value(tag: int, value: Any, profile: Profile) -> Any:
    """Round a value to the width that the profile gives; all ages above 89 years become 90.

    Ages in years are rounded down, so that a minor never becomes an adult. An age below the width
    stays. Weights below 50 kg and sizes below 0.5 m keep a relative precision of 5 % or better.
    No value is rounded to 0.

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
        return f"{_round_down(Decimal(years), Decimal(int(width))):03.0f}Y" if width >= 1 else value
    if not width:
        return value
    try:
        number = Decimal(str(value))
        if number and abs(number) < _SMALL[keyword_for_tag(tag)]:
            width = min(width, _relative_step(number))
        rounded = _round_to(number, width)
        if number and not rounded:
            rounded = _round_to(number, _relative_step(number))
    except (InvalidOperation, KeyError, TypeError, ValueError):
        return value
    return f"{rounded.normalize():f}"


def _round_to(number: Decimal, width: Decimal) -> Decimal:
    return (number / width).quantize(Decimal(1), ROUND_HALF_EVEN) * width


def _round_down(years: Decimal, width: Decimal) -> Decimal:
    """Round an age down; one below the width becomes whole years, as 0 would be another age."""
    return years // width * width or years // 1


def _relative_step(number: Decimal) -> Decimal:
    """Return 1, 2 or 5 times a power of ten, a tenth of a number at most."""
    tenth = abs(number) / 10
    power = Decimal(1).scaleb(tenth.adjusted())
    return max(digit * power for digit in (1, 2, 5) if digit * power <= tenth)


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
        rounded = min(_round_down(years, width), Decimal(_OLDEST)) * unit
        measured.NumericValue = f"{rounded.normalize():f}"
    return True
