"""Profiles: a base, options, overrides with a reason, safe private elements; hashed."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydicom.datadict import tag_for_keyword

from ..errors import ConfigError
from .pixel.settings import PixelSettings, parse_settings
from .safe_private import same_creator, standard_list

OPTIONS = frozenset(
    {
        "uids",
        "device",
        "institution",
        "patient",
        "full",
        "modified",
        "descriptors",
        "structured",
        "private",
        "graphics",
    }
)
_KEYS = frozenset(
    {
        "name",
        "version",
        "description",
        "options",
        "overrides",
        "safe_private",
        "held_modalities",
        "hold_burned_in",
        "hold_patient_conflicts",
        "pixels",
        "text",
        "bins",
    }
)


_TEXT_MODES = ("drop", "harmless", "clean")
_BINNED = ("PatientAge", "PatientSize", "PatientWeight")


@dataclass(frozen=True)
class Profile:
    """A validated profile; `hash` changes when anything that matters does."""

    name: str
    version: str
    hash: str
    options: frozenset[str]
    overrides: dict[int, str]
    # Creators as `same_creator` gives them.
    safe_private: frozenset[tuple[str, int, int]]
    held_modalities: frozenset[str]
    hold_burned_in: bool = True
    hold_patient_conflicts: bool = True
    pixels: PixelSettings = field(default_factory=PixelSettings)
    # Texts without a row in the table: ``drop``, ``harmless`` (kept when nothing in them
    # identifies) or ``clean``.
    text: str = "harmless"
    # Widths to which patient characteristics are rounded, by keyword.
    bins: dict[str, float] = field(default_factory=dict)


def _tag(text: str) -> int:
    if re.fullmatch(r"[0-9A-Fa-f]{8}", text):
        return int(text, 16)
    tag = tag_for_keyword(text)
    if tag is None:
        raise ConfigError(f"profile: {text!r} is neither a keyword nor eight hex digits")
    return int(tag)


def _quoted(profile: str, what: str, value: Any) -> str:
    if isinstance(value, str):
        return value.strip()
    raise ConfigError(
        f'profile {profile}: put the {what} in quotes, as "0043"; without them YAML reads '
        "0043 as a number, and as another one"
    )


def _safe(profile: str, creator: Any, group: Any, element: Any) -> tuple[str, int, int]:
    """Read one entry of `safe_private`: creator, group and element within the block."""
    numbers = []
    for what, value in (("group", group), ("element", element)):
        text = _quoted(profile, f"{what} of a safe_private entry", value)
        if not re.fullmatch(r"[0-9A-Fa-f]{1,4}", text):
            raise ConfigError(
                f"profile {profile}: {text!r} in safe_private is no hexadecimal {what}; write four "
                "digits for a group and two for an element"
            )
        numbers.append(int(text, 16))
    if not numbers[0] & 1 or numbers[0] < 9:
        raise ConfigError(f"profile {profile}: {group!r} in safe_private is no private group: odd")
    maker = same_creator(_quoted(profile, "creator of a safe_private entry", creator))
    if not maker:
        raise ConfigError(f"profile {profile}: a safe_private entry names no creator")
    return maker, numbers[0], numbers[1] & 0xFF


def load_profile(name_or_path: str) -> Profile:
    """Load a ready profile by name, or a site's own by path.

    Raises
    ------
    ConfigError
        When it cannot be read or holds a key, option or action that is not known: a typing
        error in a profile must not quietly become a leak.
    """
    path = Path(name_or_path)
    if re.fullmatch(r"[a-z0-9_-]+", name_or_path):
        path = Path(__file__).parent / "profiles" / f"{name_or_path}.yaml"
    try:
        raw: Any = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        raise ConfigError(f"profile {name_or_path!r}: cannot be read as YAML") from None
    if not isinstance(raw, dict) or not isinstance(raw.get("name"), str):
        raise ConfigError(f"profile {name_or_path!r}: needs a mapping with a name")
    return _validated(raw)


def _validated(raw: dict[str, Any]) -> Profile:
    name = raw["name"]
    if unknown := set(raw) - _KEYS:
        raise ConfigError(f"profile {name}: unknown keys {sorted(map(str, unknown))}")
    options = frozenset(raw.get("options") or ())
    if bad := options - OPTIONS:
        raise ConfigError(f"profile {name}: unknown options {sorted(map(str, bad))}")
    if {"full", "modified"} <= options:
        raise ConfigError(f"profile {name}: options full and modified exclude each other")
    for key in ("hold_burned_in", "hold_patient_conflicts"):
        if not isinstance(raw.get(key, True), bool):
            raise ConfigError(f"profile {name}: {key} must be true or false")
    text = raw.get("text", "clean" if "descriptors" in options else "harmless")
    if text not in _TEXT_MODES:
        raise ConfigError(f"profile {name}: text must be one of {', '.join(_TEXT_MODES)}")
    bins = raw.get("bins") or {}
    if not isinstance(bins, dict) or not all(
        keyword in _BINNED and isinstance(width, (int, float)) and width > 0
        for keyword, width in bins.items()
    ):
        raise ConfigError(f"profile {name}: bins gives {', '.join(_BINNED)} a width above 0")
    overrides: dict[int, str] = {}
    private: set[tuple[str, int, int]] = set()
    try:
        for item in raw.get("overrides") or ():
            _quoted(name, "tag of an override", item["tag"])
            if item["action"] not in {"X", "Z", "D", "K", "C"} or not item["reason"]:
                raise ConfigError(f"profile {name}: an override needs X, Z, D, K or C and a reason")
            overrides[_tag(item["tag"])] = item["action"]
        for item in raw.get("safe_private") or ():
            private.add(_safe(name, item["creator"], item["group"], item["element"]))
    except (KeyError, TypeError, ValueError):
        raise ConfigError(f"profile {name}: a bad entry in overrides or safe_private") from None
    pixels = parse_settings(raw.get("pixels", {}), f"profile {name}")
    if "private" in options:
        private |= {(same_creator(maker), group, low) for maker, group, low in standard_list()}
    # The tables are part of what the profile means.
    tables = b"".join(
        Path(__file__).with_name(table).read_bytes()
        for table in (
            "table.csv",
            "types.csv",
            "content.csv",
            "safe_private.csv",
            "terms.txt",
            "defined_terms.txt",
        )
    )
    source = json.dumps(raw, sort_keys=True, default=str).encode()
    return Profile(
        name=name,
        version=str(raw.get("version", "1")),
        hash=hashlib.sha256(source + b"\0" + tables).hexdigest(),
        options=options,
        overrides=overrides,
        safe_private=frozenset(private),
        held_modalities=frozenset(raw.get("held_modalities") or ()),
        hold_patient_conflicts=raw.get("hold_patient_conflicts", True),
        # Where pixels are cleaned, an image that admits its text need not wait.
        hold_burned_in=raw.get("hold_burned_in", pixels.look == "none"),
        pixels=pixels,
        text=text,
        bins={keyword: float(width) for keyword, width in bins.items()},
    )
