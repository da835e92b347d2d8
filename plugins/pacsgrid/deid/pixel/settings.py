"""The part `pixels` of a profile: which images are searched for text, and which are held."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from ...errors import ConfigError
from ...validation import StrictModel, describe_errors
from .boxes import Box

Hold = Literal["secondary_capture", "document", "photograph", "label", "face"]


def _read_pattern(value: object) -> re.Pattern[str]:
    if isinstance(value, re.Pattern):
        return value
    try:
        return re.compile(str(value), re.IGNORECASE)
    except re.error:
        raise ValueError("is not a regular expression in Python's syntax") from None


def _read_box(value: Box | Iterable[Any]) -> Box:
    if isinstance(value, Box):
        return value
    try:
        left, top, right, bottom = (int(number) for number in value)
    except (TypeError, ValueError):
        raise ValueError("write a rectangle as [left, top, right, bottom], in pixels") from None
    if left >= right or top >= bottom:
        raise ValueError("right must be greater than left, and bottom greater than top")
    return Box(left, top, right, bottom)


_Pattern = Annotated[re.Pattern[str], BeforeValidator(_read_pattern)]


class RegionRule(StrictModel):
    """One entry of `pixels.regions`: the areas where a device model burns in text."""

    modality: Annotated[str, BeforeValidator(str)] = Field(
        default="", description="Modality (0008,0060) of the images; by default any."
    )
    manufacturer: _Pattern = Field(
        default=re.compile("", re.IGNORECASE),
        description="Regular expression that is searched in Manufacturer (0008,0070), in any case.",
    )
    model: _Pattern = Field(
        default=re.compile("", re.IGNORECASE),
        description="Regular expression that is searched in ManufacturerModelName (0008,1090), in "
        "any case.",
    )
    rows: int = Field(default=0, description="Rows of the images; 0 for any number.")
    columns: int = Field(default=0, description="Columns of the images; 0 for any number.")
    blank: tuple[Annotated[Box, BeforeValidator(_read_box)], ...] = Field(
        min_length=1,
        description="The rectangles that are blanked, each as [left, top, right, bottom] in "
        "pixels from the upper left corner; right and bottom are excluded.",
    )


class PixelSettings(StrictModel):
    """The part `pixels` of a profile."""

    look: Literal["none", "risky", "all"] = Field(
        default="risky",
        description="Which images are searched for text and cleaned: `none`, `risky` (those that "
        "commonly carry burned-in text, such as ultrasound) or `all`.",
    )
    outside_ultrasound_regions: Literal["look", "blank"] = Field(
        default="blank",
        description="What is done outside the calibrated regions (PS3.3 C.8.5.5) of ultrasound "
        "images that are searched: `look` for text as elsewhere, or `blank` everything.",
    )
    hold: frozenset[Hold] = Field(
        default=frozenset({"secondary_capture", "document", "photograph", "label", "face"}),
        description="Which instances wait for a steward: `secondary_capture`, `document`, "
        "`photograph`, `label` (of a slide), `face` (that can be drawn from CT or MR voxels).",
    )
    regions: tuple[RegionRule, ...] = Field(
        default=(),
        description="Where the site's own devices burn in text. The rules that come with pacsgrid "
        "(`regions.yaml`) apply after them.",
    )


_RULES = TypeAdapter(tuple[RegionRule, ...])


def parse_rules(raw: object, where: str) -> tuple[RegionRule, ...]:
    """Return the region rules of a YAML list.

    Parameters
    ----------
    raw
        The list, as YAML reads it.
    where
        The name of the file, for the error message.

    Raises
    ------
    ConfigError
        An entry is invalid. The message names its number and the key.
    """
    try:
        return _RULES.validate_python(raw)
    except ValidationError as error:
        raise ConfigError(f"{where}: {describe_errors(error)}") from None
