"""Decide which series of a study are wanted, by what is known of them.

A source need not say everything of a series, so a rule holds, does not hold, or is left open. What
is open at series level is asked at instance level, and in the end read from the files' headers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import TypeVar

from pydicom.uid import UID

from pacsgrid.config.series import (
    SeriesRule,
    SeriesSelection,
    compile_pattern,
    parse_limits,
)
from pacsgrid.model import SeriesFacts

_T = TypeVar("_T")
# A longer value than any standard VR of these attributes is cut.
_LONGEST = 1024


@dataclass(frozen=True)
class Decision:
    """Whether a series is wanted.

    Attributes
    ----------
    wanted
        None if it depends on what is not known of the series.
    rule
        The rule that says no, such as ``exclude 2``, or ``include`` if none of those matches.
    """

    wanted: bool | None
    rule: str = ""


def matches(rule: SeriesRule, facts: SeriesFacts) -> bool | None:
    """Return whether a series matches a rule; None if it depends on what is not known.

    Of a value that differs between instances, one that matches is enough.

    Parameters
    ----------
    rule
        The rule.
    facts
        What is known of the series.
    """
    told = [
        _any_text(rule.modality, _one(facts.modality)),
        _any_text(rule.description, _one(facts.description)),
        _any_text(rule.body_part, _one(facts.body_part)),
        _any_text(rule.image_type, facts.image_types),
        _any_text(rule.sop_class, _with_names(facts.sop_classes)),
        _any_number(rule.slice_thickness, facts.thicknesses),
        _any_number(rule.instances, _one(facts.instances)),
    ]
    if False in told:
        return False
    return None if None in told else True


def decide(selections: Iterable[tuple[str, SeriesSelection]], facts: SeriesFacts) -> Decision:
    """Return whether a series is wanted by each of several selections.

    Parameters
    ----------
    selections
        Selections, with what stands before the names of their rules.
    facts
        What is known of the series.
    """
    is_open = False
    for prefix, selection in selections:
        decision = _decide(selection, facts)
        if decision.wanted is False:
            return Decision(False, prefix + decision.rule)
        is_open |= decision.wanted is None
    return Decision(None if is_open else True)


def _decide(selection: SeriesSelection, facts: SeriesFacts) -> Decision:
    is_open = False
    for number, rule in enumerate(selection.exclude, 1):
        matched = matches(rule, facts)
        if matched:
            return Decision(False, f"exclude {number}")
        is_open |= matched is None
    included = {matches(rule, facts) for rule in selection.include}
    if selection.include and True not in included:
        if None not in included:
            return Decision(False, "include")
        is_open = True
    return Decision(None if is_open else True)


def _one(value: _T | None) -> Collection[_T] | None:
    return None if value is None else (value,)


def _with_names(uids: Collection[str] | None) -> Collection[str] | None:
    return None if uids is None else [text for uid in uids for text in (uid, UID(uid).name)]


def _any_text(pattern: str, values: Collection[str] | None) -> bool | None:
    if not pattern:
        return True
    compiled = compile_pattern(pattern)
    return _any(values, lambda value: compiled.search(value[:_LONGEST]) is not None)


def _any_number(limits: str, values: Collection[float] | None) -> bool | None:
    if not limits:
        return True
    within = parse_limits(limits)
    return _any(values, lambda value: value in within)


def _any(values: Collection[_T] | None, holds: Callable[[_T], bool]) -> bool | None:
    return None if values is None else any(holds(value) for value in values)
