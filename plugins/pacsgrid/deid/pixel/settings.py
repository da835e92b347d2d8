"""What a profile says of pixels; everything else about them follows from the file itself."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from ...errors import ConfigError
from .boxes import Box

LOOK = ("none", "risky", "all")
OUTSIDE = ("look", "blank")
HOLD = ("secondary_capture", "document", "photograph", "label", "face")
_RULE = frozenset({"modality", "manufacturer", "model", "rows", "columns", "blank"})


@dataclass(frozen=True)
class RegionRule:
    """Where a model of device burns in its text; an empty pattern or 0 stands for any."""

    modality: str
    manufacturer: re.Pattern[str]
    model: re.Pattern[str]
    rows: int
    columns: int
    blank: tuple[Box, ...]


@dataclass(frozen=True)
class PixelSettings:
    """The part `pixels` of a profile.

    Attributes
    ----------
    look
        Whose pixels are searched for text and cleaned: ``none``, ``risky`` (what commonly carries
        burned-in text) or ``all``.
    outside_ultrasound_regions
        What becomes of pixels outside the calibrated regions (PS3.3 C.8.5.5) of images that are
        looked at: ``look`` for text as elsewhere, or ``blank`` all.
    hold
        What waits for a steward: ``secondary_capture``, ``document``, ``photograph``,
        ``label``, ``face``.
    regions
        The site's own rules; the ready ones of `regions.yaml` come after them.
    """

    look: str = "risky"
    outside_ultrasound_regions: str = "blank"
    hold: frozenset[str] = frozenset(HOLD)
    regions: tuple[RegionRule, ...] = field(default=())


def parse_settings(raw: Any, where: str) -> PixelSettings:
    """Validate the mapping `pixels` of a profile.

    Raises
    ------
    ConfigError
        Names the key that is not known or has a value that is not.
    """
    if not isinstance(raw, dict):
        raise ConfigError(f"{where}: pixels must be a mapping")
    known = {"look", "outside_ultrasound_regions", "hold", "regions"}
    if unknown := set(map(str, raw)) - known:
        raise ConfigError(f"{where}: unknown keys {sorted(unknown)}; known are {sorted(known)}")
    look = _one_of(raw, "look", LOOK, "risky", where)
    outside = _one_of(raw, "outside_ultrasound_regions", OUTSIDE, "blank", where)
    hold = raw.get("hold", list(HOLD))
    if not isinstance(hold, list) or set(map(str, hold)) - set(HOLD):
        raise ConfigError(f"{where}: hold must be a list of {list(HOLD)}")
    return PixelSettings(
        look, outside, frozenset(hold), parse_rules(raw.get("regions") or [], where)
    )


def parse_rules(raw: Any, where: str) -> tuple[RegionRule, ...]:
    """Validate a list of region rules; raises `ConfigError` naming the entry's number."""
    if not isinstance(raw, list):
        raise ConfigError(f"{where}: regions must be a list")
    rules = []
    for number, item in enumerate(raw, 1):
        try:
            if set(item) - _RULE:
                raise ValueError
            blank = tuple(Box(*(int(v) for v in corners)) for corners in item["blank"])
            if not blank or any(b.left >= b.right or b.top >= b.bottom for b in blank):
                raise ValueError
            rules.append(
                RegionRule(
                    str(item.get("modality", "")),
                    re.compile(str(item.get("manufacturer", "")), re.IGNORECASE),
                    re.compile(str(item.get("model", "")), re.IGNORECASE),
                    int(item.get("rows", 0)),
                    int(item.get("columns", 0)),
                    blank,
                )
            )
        except (AttributeError, KeyError, TypeError, ValueError, re.error):
            raise ConfigError(
                f"{where}: region {number} needs blank: [[left, top, right, bottom], ...] and may "
                "have modality, manufacturer, model (regular expressions), rows and columns"
            ) from None
    return tuple(rules)


def _one_of(raw: dict[str, Any], key: str, known: tuple[str, ...], default: str, where: str) -> str:
    value = raw.get(key, default)
    if value not in known:
        raise ConfigError(f"{where}: {key} must be one of {list(known)}")
    return str(value)
