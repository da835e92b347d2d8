"""Which series a project takes, and what it checks of their content."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator

from pacsgrid.config.base import Section
from pacsgrid.errors import ConfigError
from pacsgrid.validation import describe_errors

Finding = Literal["off", "warn", "hold"]
"""What a content check does with what it finds."""

MOST_RULES, MOST_PATTERN = 50, 200
_MOST_MEMORY = 1 << 20  # bytes of a compiled pattern: a{1000}{1000} is refused
_LIMIT = re.compile(r"(<=|>=|<|>|=)?\s*([0-9]{1,9}(?:\.[0-9]{1,6})?)", re.ASCII)
_RANGE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)\s*-\s*([0-9]{1,9}(?:\.[0-9]{1,6})?)", re.ASCII)
_CONDITION = re.compile(r"\s*([a-z_]+)\s*(<=|>=|<|>|=)\s*(.*?)\s*", re.ASCII | re.DOTALL)


@lru_cache(maxsize=256)
def compile_pattern(text: str) -> Any:
    """Compile a regular expression in RE2's syntax, which matches in linear time.

    A pattern of Python's own `re` could keep a worker busy for ever, whoever wrote it.

    Parameters
    ----------
    text
        The pattern; it is found anywhere in a value, in upper or lower case.

    Raises
    ------
    ValueError
        It is no regular expression, or takes too much memory.
    """
    import re2

    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    options.max_mem = _MOST_MEMORY
    try:
        return re2.compile(text, options)
    except re2.error as error:
        why = error.args[0] if error.args else b""
        said = why.decode("utf-8", "replace") if isinstance(why, bytes) else str(why)
        # What follows the colon quotes the pattern.
        raise ValueError(
            f"is no regular expression that RE2 takes: {said.partition(':')[0] or 'unknown'}"
        ) from None


def _check_pattern(text: str) -> str:
    if text:
        compile_pattern(text)
    return text


@dataclass(frozen=True)
class Limits:
    """An interval of numbers; None for no limit on a side."""

    least: float | None = None
    most: float | None = None
    open_least: bool = False
    open_most: bool = False

    def __contains__(self, value: float) -> bool:
        """Return whether a number lies within."""
        if self.least is not None and (
            value < self.least or (self.open_least and value == self.least)
        ):
            return False
        return self.most is None or not (
            value > self.most or (self.open_most and value == self.most)
        )


def parse_limits(text: str) -> Limits:
    """Parse limits of a number, such as ``<=1.5``, ``>=20``, ``3`` or ``0.5-1.5``.

    Raises
    ------
    ValueError
        It is none of these.
    """
    if found := _RANGE.fullmatch(text.strip()):
        least, most = float(found[1]), float(found[2])
        if least > most:
            raise ValueError("the first number is larger than the second; swap them")
        return Limits(least, most)
    found = _LIMIT.fullmatch(text.strip())
    if found is None:
        raise ValueError("must be a number with <, <=, >, >= or nothing before it, or 0.5-1.5")
    value = float(found[2])
    sign = found[1] or "="
    if sign == "=":
        return Limits(value, value)
    if sign.startswith("<"):
        return Limits(most=value, open_most=sign == "<")
    return Limits(least=value, open_least=sign == ">")


def _check_limits(text: str) -> str:
    if text:
        parse_limits(text)
    return text


Pattern = Annotated[str, Field(max_length=MOST_PATTERN), AfterValidator(_check_pattern)]
LimitsText = Annotated[str, AfterValidator(_check_limits)]


class SeriesRule(Section):
    """A rule about series: all of its conditions must hold.

    Patterns are regular expressions of RE2, found anywhere in the value, in upper or lower case.
    """

    description: Pattern = Field(
        default="", description="Pattern of Series Description (0008,103E)."
    )
    modality: Pattern = Field(default="", description="Pattern of Modality (0008,0060).")
    body_part: Pattern = Field(default="", description="Pattern of Body Part Examined (0018,0015).")
    image_type: Pattern = Field(
        default="",
        description="Pattern of Image Type (0008,0008), its values joined by backslashes.",
    )
    sop_class: Pattern = Field(
        default="", description="Pattern of SOP Class UID (0008,0016) or of the class's name."
    )
    slice_thickness: LimitsText = Field(
        default="",
        description="Slice Thickness (0018,0050) in mm, such as `<=1.5` or `0.5-1.5`.",
    )
    instances: LimitsText = Field(
        default="", description="How many instances the series has, such as `>=20`."
    )

    @model_validator(mode="after")
    def _check_any(self) -> SeriesRule:
        if not any(getattr(self, name) for name in SeriesRule.model_fields):
            raise ValueError("the rule has no condition, and would match every series")
        return self


class SeriesSelection(Section):
    """A project's `series`: which series are taken. Without rules, all are."""

    include: tuple[SeriesRule, ...] = Field(
        default=(),
        max_length=MOST_RULES,
        description="Series that match one of these rules are taken; without any, all are.",
    )
    exclude: tuple[SeriesRule, ...] = Field(
        default=(),
        max_length=MOST_RULES,
        description="Series that match one of these rules are not taken, whatever `include` says.",
    )


class ExpectedSeries(SeriesRule):
    """One entry of `checks.expected`: a series that each study should have."""

    name: str = Field(
        min_length=1, max_length=64, description="What messages call the series, such as `T1`."
    )


class ContentChecks(Section):
    """A project's `checks`: what is looked for in a study's series once it is retrieved.

    Each check is `off`, or writes a warning (`warn`), or holds the study for a steward (`hold`).
    """

    missing_slices: Finding = Field(
        default="off",
        description="Gaps between the slices of a series: by position along the normal of the "
        "slices, and by Instance Number (0020,0013).",
    )
    mixed_orientations: Finding = Field(
        default="off",
        description="Slices of several orientations (0020,0037) in a series that is no localizer.",
    )
    missing_series: Finding = Field(
        default="off", description="A series of `expected` that the study does not have."
    )
    expected: tuple[ExpectedSeries, ...] = Field(
        default=(),
        max_length=MOST_RULES,
        description="The series that each study should have, for `missing_series`.",
    )

    @property
    def any(self) -> bool:
        """Whether anything is checked at all."""
        return (self.missing_slices, self.mixed_orientations, self.missing_series) != ("off",) * 3

    @model_validator(mode="after")
    def _check_expected(self) -> ContentChecks:
        if self.missing_series != "off" and not self.expected:
            raise ValueError("missing_series needs expected: which series should there be?")
        return self


def parse_rule(line: str) -> dict[str, str]:
    r"""Return the conditions of a rule that a form has in one line.

    Conditions are separated by semicolons, as in ``modality=CT; slice_thickness<=1.5``. A
    semicolon within a pattern is written ``\x3b``.

    Raises
    ------
    ConfigError
        A part of the line is no condition. The message does not repeat it.
    """
    rule: dict[str, str] = {}
    for number, part in enumerate(line.split(";"), 1):
        found = _CONDITION.fullmatch(part)
        if found is None or not found[3]:
            raise ConfigError(
                f"condition {number} is not of the form modality=CT or slice_thickness<=1.5"
            )
        name, sign, value = found.groups()
        limits = name in ("slice_thickness", "instances")
        if sign != "=" and not limits:
            raise ConfigError(f"condition {number}: {sign} needs slice_thickness or instances")
        if name in rule:
            raise ConfigError(f"condition {number}: {name} is there twice; join the patterns by |")
        rule[name] = value if sign == "=" else sign + value
    return rule


def parse_selection(include: Sequence[str], exclude: Sequence[str]) -> SeriesSelection:
    """Return the selection that a form describes, one rule a line.

    Parameters
    ----------
    include, exclude
        The lines; empty lines do not count.

    Raises
    ------
    ConfigError
        A line is wrong; the message says which, and how.
    """
    rules: dict[str, list[Mapping[str, str]]] = {"include": [], "exclude": []}
    for name, lines in (("include", include), ("exclude", exclude)):
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                rules[name].append(parse_rule(line))
            except ConfigError as error:
                raise ConfigError(f"series_{name}, line {number}: {error}") from None
    try:
        return SeriesSelection.model_validate(rules)
    except ValidationError as error:
        raise ConfigError(f"series rules: {describe_errors(error)}") from None
