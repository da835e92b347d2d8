"""Patient characteristics made coarse, so that a group and not a person has them."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any

from pydicom.datadict import keyword_for_tag

from .profile import Profile

_OLDEST = 90


def binned(tag: int, value: Any, profile: Profile) -> Any:
    """Round a value to the profile's width; ages above 89 years all become 90.

    Ages in years are rounded down, so that a minor never becomes an adult.
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
