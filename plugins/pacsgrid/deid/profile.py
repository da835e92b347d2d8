"""De-identification profiles: which options of PS3.15 Annex E apply, and what differs from them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator
from pydicom.datadict import tag_for_keyword

from ..errors import ConfigError
from ..validation import StrictModel, describe_errors
from .pixel.settings import PixelSettings
from .safe_private import same_creator, standard_list

# The options of PS3.15 Table E.1-1, and one of pacsgrid's own.
_STANDARD_OPTIONS = frozenset(
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
OPTIONS = _STANDARD_OPTIONS | {"acquisition"}
# The files that a profile's meaning rests on; its hash covers them.
_TABLES = (
    "table.csv",
    "types.csv",
    "content.csv",
    "safe_private.csv",
    "terms.txt",
    "defined_terms.txt",
)
# Those of the option `acquisition`.
_ACQUISITION_TABLES = ("elements.csv", "fields.csv", "words.csv")
# An empty value of these keys is the same as none.
_LISTS = frozenset({"options", "overrides", "safe_private", "held_modalities", "bins"})


def _check_quoted(value: Any) -> str:
    if isinstance(value, str):
        return value.strip()
    raise ValueError(
        'put it in quotes, as "0043"; without them YAML reads 0043 as a number, and as another one'
    )


_Quoted = Annotated[str, BeforeValidator(_check_quoted)]
_Width = Annotated[float, Field(gt=0, strict=True)]


class Override(StrictModel):
    """One entry of `overrides`: an attribute that is treated otherwise than the table says."""

    tag: _Quoted = Field(description="The attribute's keyword, or its tag as eight hex digits.")
    action: Literal["X", "Z", "D", "K", "C"] = Field(
        description="The action (PS3.15 Table E.1-1a): `X` remove, `Z` empty, `D` replace by a "
        "dummy, `K` keep, `C` clean."
    )
    reason: Annotated[str, BeforeValidator(lambda value: str(value or ""))] = Field(
        min_length=1, description="Why; for those who review the profile."
    )

    @field_validator("tag")
    @classmethod
    def _check_tag(cls, text: str) -> str:
        if not re.fullmatch(r"[0-9A-Fa-f]{8}", text) and tag_for_keyword(text) is None:
            raise ValueError(f"{text!r} is neither a keyword nor eight hex digits")
        return text

    def number(self) -> int:
        """Return the tag as a number, ``0x00100020`` for (0010,0020)."""
        if re.fullmatch(r"[0-9A-Fa-f]{8}", self.tag):
            return int(self.tag, 16)
        return int(tag_for_keyword(self.tag) or 0)


class SafePrivateElement(StrictModel):
    """One entry of `safe_private`: a private element that is kept (PS3.5 7.8)."""

    creator: _Quoted = Field(description="The private creator; case and padding do not matter.")
    group: _Quoted = Field(description="Its group as hex digits, in quotes: odd, from 0009 on.")
    element: _Quoted = Field(
        description="Its number within the creator's block, two hex digits in quotes."
    )

    @field_validator("creator")
    @classmethod
    def _check_creator(cls, text: str) -> str:
        if not same_creator(text):
            raise ValueError("name the private creator")
        return text

    @field_validator("group", "element")
    @classmethod
    def _check_hex(cls, text: str) -> str:
        if not re.fullmatch(r"[0-9A-Fa-f]{1,4}", text):
            raise ValueError(
                f"{text!r} is not hexadecimal; write four digits for a group, two for an element"
            )
        return text

    @field_validator("group")
    @classmethod
    def _check_private(cls, text: str) -> str:
        if not int(text, 16) & 1 or int(text, 16) < 9:
            raise ValueError(f"{text!r} is no private group; those are odd, from 0009 on")
        return text

    def key(self) -> tuple[str, int, int]:
        """Return creator as `same_creator` returns it, group, and number within the block."""
        return same_creator(self.creator), int(self.group, 16), int(self.element, 16) & 0xFF


class _Common(StrictModel):
    """The keys of a profile that mean the same in its file and for the anonymiser."""

    name: str = Field(description="The profile's name; it stands in anonymised instances.")
    version: Annotated[str, BeforeValidator(str)] = Field(
        default="1", description="The profile's version, for people."
    )
    description: Annotated[str, BeforeValidator(str)] = Field(
        default="", description="What it is for, in a sentence."
    )
    options: frozenset[str] = Field(
        default=frozenset(),
        description="Options of PS3.15 Table E.1-1: `uids`, `device`, `institution`, `patient` "
        "(retain them), `full` or `modified` (dates retained, or shifted), `descriptors`, "
        "`structured`, `graphics` (clean them), `private` (retain the elements of Table "
        "E.3.10-1), `acquisition` (retain private elements that carry the physics of an "
        "acquisition, by value). Without any, the Basic Profile applies.",
    )
    held_modalities: frozenset[str] = Field(
        default=frozenset(),
        description="Values of Modality (0008,0060) whose instances wait for a steward.",
    )
    hold_patient_conflicts: bool = Field(
        default=True,
        strict=True,
        description="Whether studies of one PatientID wait for a steward when name, birth date or "
        "sex tell two patients apart.",
    )
    pixels: PixelSettings = Field(
        default=PixelSettings(),
        description="Which images are searched for text, and which wait for a steward.",
    )
    faces: Literal["hold", "remove", "keep"] = Field(
        default="hold",
        description="What is done with CT and MR volumes from which a face can be rendered: "
        "`hold` them for a steward, `remove` the face and hold those where that cannot be done "
        "with confidence, or `keep` it. By default `hold` where `pixels.hold` has `face`, "
        "otherwise `keep`.",
    )
    hold_burned_in: bool = Field(
        default=False,
        strict=True,
        description="Whether instances with BurnedInAnnotation (0028,0301) `YES` wait for a "
        "steward. By default they do where `pixels.look` is `none`: elsewhere the text is removed.",
    )
    text: Literal["drop", "harmless", "clean"] = Field(
        default="harmless",
        description="What is done with texts without a row in the table: `drop` them, keep those "
        "that are `harmless` (nothing in them identifies), or `clean` them. By default `clean` "
        "with the option `descriptors`, otherwise `harmless`.",
    )
    bins: dict[Literal["PatientAge", "PatientSize", "PatientWeight"], _Width] = Field(
        default={},
        description="Widths to which patient characteristics are rounded: years for PatientAge, m "
        "for PatientSize, kg for PatientWeight. Small sizes and weights keep a precision of 5 %.",
    )

    @field_validator("options")
    @classmethod
    def _check_options(cls, options: frozenset[str]) -> frozenset[str]:
        if unknown := options - OPTIONS:
            raise ValueError(
                f"there is no option {', '.join(sorted(unknown))}; known are: "
                f"{', '.join(sorted(_STANDARD_OPTIONS))}, acquisition"
            )
        if {"full", "modified"} <= options:
            raise ValueError("full and modified exclude each other; remove one")
        return options


class ProfileFile(_Common):
    """A profile as it is written in YAML."""

    overrides: tuple[Override, ...] = Field(
        default=(), description="Attributes treated otherwise than table and options say."
    )
    safe_private: tuple[SafePrivateElement, ...] = Field(
        default=(), description="Private elements that are kept beside those of the standard."
    )

    @model_validator(mode="before")
    @classmethod
    def _set_defaults(cls, raw: Any) -> Any:
        if not isinstance(raw, Mapping):
            return raw
        return {key: value for key, value in raw.items() if value or key not in _LISTS}

    @model_validator(mode="after")
    def _set_dependent_defaults(self) -> Self:
        # The model is frozen, and these defaults depend on other keys.
        if "text" not in self.model_fields_set and "descriptors" in self.options:
            object.__setattr__(self, "text", "clean")
        if "hold_burned_in" not in self.model_fields_set:
            object.__setattr__(self, "hold_burned_in", self.pixels.look == "none")
        if "faces" not in self.model_fields_set:
            object.__setattr__(self, "faces", "hold" if "face" in self.pixels.hold else "keep")
        kinds = self.pixels.hold - {"face"} | ({"face"} if self.faces != "keep" else set())
        object.__setattr__(self, "pixels", self.pixels.model_copy(update={"hold": kinds}))
        return self


class Profile(_Common):
    """A profile, ready for use.

    Attributes
    ----------
    hash
        SHA-256, in hex, of the profile and the tables that its meaning rests on. It is stored
        with every anonymised study, and changes when anything that matters does.
    overrides
        The action by tag.
    safe_private
        Private elements that are kept: creator as `same_creator` returns it, group, and number
        within the creator's block.
    """

    hash: str
    overrides: dict[int, str]
    safe_private: frozenset[tuple[str, int, int]]


class _UniqueKeys(yaml.SafeLoader):
    """Read YAML, but refuse a key that stands twice: the first value would be lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value} stands twice; join them", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def load_profile(name_or_path: str) -> Profile:
    """Load a profile.

    Parameters
    ----------
    name_or_path
        The name of a ready profile (``basic``, ``research``, ``strict``), or the path of a YAML
        file.

    Raises
    ------
    ConfigError
        The file cannot be read, or has a key, option or action that is not known: a typing error
        must not become a leak. The message names file and key.
    """
    path = Path(name_or_path)
    if re.fullmatch(r"[a-z0-9_-]+", name_or_path):
        path = Path(__file__).parent / "profiles" / f"{name_or_path}.yaml"
    where = f"profile {name_or_path}"
    try:
        raw: Any = yaml.load(path.read_text("utf-8"), _UniqueKeys)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{where}{line}: cannot be read as YAML: {error.problem}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        raise ConfigError(f"{where}: cannot be read as YAML; give a name or a path") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{where}: needs keys with values, such as a name")
    try:
        written = ProfileFile.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(f"{where}: {describe_errors(error)}") from None
    return _resolve(written, raw)


def _resolve(written: ProfileFile, raw: dict[str, Any]) -> Profile:
    private = {entry.key() for entry in written.safe_private}
    if "private" in written.options:
        private |= {(same_creator(maker), group, low) for maker, group, low in standard_list()}
    common = {key: getattr(written, key) for key in _Common.model_fields}
    return Profile(
        **common,
        hash=_hash(raw, "acquisition" in written.options, written.faces == "remove"),
        overrides={entry.number(): entry.action for entry in written.overrides},
        safe_private=frozenset(private),
    )


def _hash(raw: dict[str, Any], acquisition: bool, faces: bool) -> str:
    # Stored in ledgers and manifests: the same profile must give the same hash for ever.
    here = Path(__file__).parent
    paths = [here / table for table in _TABLES]
    if acquisition:
        paths += [here / "acquisition" / table for table in _ACQUISITION_TABLES]
    if faces:
        paths.append(here / "faces" / "head.npz")
    tables = b"".join(path.read_bytes() for path in paths)
    source = json.dumps(raw, sort_keys=True, default=str).encode()
    return hashlib.sha256(source + b"\0" + tables).hexdigest()
