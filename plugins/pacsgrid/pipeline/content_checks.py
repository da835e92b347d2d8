"""Check the content of a study's series: missing slices, mixed orientations, expected series."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

from pacsgrid.config import ContentChecks, SeriesRule
from pacsgrid.errors import HeldError
from pacsgrid.ledger.series_choices import ContentWarning
from pacsgrid.pacs.series_selection import matches
from pacsgrid.pacs.slice_header import SliceHeader, facts_of
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.review import Verdict

log = logging.getLogger(__name__)

MISSING_SLICES = "missing-slices"
MIXED_ORIENTATIONS = "mixed-orientations"
MISSING_SERIES = "missing-series"
CODES = frozenset({MISSING_SLICES, MIXED_ORIENTATIONS, MISSING_SERIES})

# Fewer slices than this show no distance that others could be compared with.
_LEAST = 4
# How far a distance between slices may be from the usual one before a slice is missing.
_GAP = 1.5
# Two positions that are closer, in mm, are the same; normals whose cosine is larger are parallel.
_SAME_PLACE, _PARALLEL = 0.01, 0.999

Point = tuple[float, float, float]


def check_content(context: ProjectContext, ref: str, headers: Sequence[SliceHeader]) -> None:
    """Check what was retrieved of a study; record warnings, or hold the study.

    A study that a steward sent on although it was held for its content is not held for it again:
    what is found is then a warning.

    Parameters
    ----------
    context
        The study's project.
    ref
        The study's reference.
    headers
        The headers of all its files that are taken.

    Raises
    ------
    HeldError
        ``missing-slices``, ``mixed-orientations`` or ``missing-series``.
    """
    checks = context.project.checks
    found = find_problems(checks, headers)
    verdicts = {
        MISSING_SLICES: checks.missing_slices,
        MIXED_ORIENTATIONS: checks.mixed_orientations,
        MISSING_SERIES: checks.missing_series,
    }
    holding = [one for one in found if verdicts[one.code] == "hold"]
    if holding:
        decided = context.ledger.audit.decided_codes(ref, Verdict.AGAIN.value)
        if not CODES & decided:
            raise HeldError(holding[0].code, "; ".join(_texts(context, holding)))
    context.ledger.series.warn(
        ref,
        context.project.name,
        [
            ContentWarning(
                one.code,
                context.pseudonyms.uid(one.series_uid) if one.series_uid else "",
                one.detail,
            )
            for one in found
        ],
    )
    for one in found:
        log.warning("%s: %s: %s", ref, one.code, one.detail)


def _texts(context: ProjectContext, found: Sequence[ContentWarning]) -> list[str]:
    """Name the series by its pseudonym, under which a steward would see it."""
    return [
        f"series {context.pseudonyms.uid(one.series_uid)}: {one.detail}"
        if one.series_uid
        else one.detail
        for one in found
    ]


def find_problems(checks: ContentChecks, headers: Sequence[SliceHeader]) -> list[ContentWarning]:
    """Return what the checks find, with original series UIDs.

    Parameters
    ----------
    checks
        What to check.
    headers
        The headers of a study's files.

    Returns
    -------
    list of ContentWarning
        At most one for each check and series.
    """
    series: dict[str, list[SliceHeader]] = {}
    for one in headers:
        if one.series_uid:
            series.setdefault(one.series_uid, []).append(one)
    found = []
    for uid, some in sorted(series.items()):
        if "LOCALIZER" in some[0].image_type.upper().split("\\"):
            continue
        groups = _by_orientation(some)
        if checks.mixed_orientations != "off" and len(groups) > 1:
            sizes = ", ".join(str(len(group)) for group in groups)
            detail = f"its slices have {len(groups)} orientations ({sizes} slices)"
            found.append(ContentWarning(MIXED_ORIENTATIONS, uid, detail))
        if checks.missing_slices != "off":
            told = [text for group in groups for text in _position_gaps(group)]
            told += _number_gaps(some)
            if told:
                found.append(ContentWarning(MISSING_SLICES, uid, "; ".join(told)))
    if checks.missing_series != "off":
        facts = list(facts_of(headers).values())
        for expected in checks.expected:
            rule = SeriesRule(**expected.model_dump(exclude={"name"}))
            if not any(matches(rule, one) for one in facts):
                detail = f"no series is as {expected.name!r} should be (checks.expected)"
                found.append(ContentWarning(MISSING_SERIES, "", detail))
    return _joined(found)


def _joined(found: Iterable[ContentWarning]) -> list[ContentWarning]:
    """Join what one check found of one series, or of the study."""
    texts: dict[tuple[str, str], list[str]] = {}
    for one in found:
        texts.setdefault((one.code, one.series_uid), []).append(one.detail)
    return [ContentWarning(code, uid, "; ".join(some)) for (code, uid), some in texts.items()]


def _normal(orientation: Sequence[float]) -> Point | None:
    """Return the unit normal of a slice (PS3.3 C.7.6.2.1.1); None for no plane."""
    a, b = orientation[:3], orientation[3:]
    n = (
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    )
    length = math.sqrt(sum(x * x for x in n))
    return (n[0] / length, n[1] / length, n[2] / length) if length > 0.5 else None


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def _by_orientation(slices: Iterable[SliceHeader]) -> list[list[tuple[SliceHeader, Point]]]:
    """Group slices that are parallel, each with the normal of its group; the largest come first."""
    groups: list[list[tuple[SliceHeader, Point]]] = []
    for one in slices:
        normal = _normal(one.orientation) if one.orientation else None
        if normal is None or one.position is None:
            continue
        for group in groups:
            if abs(_dot(group[0][1], normal)) > _PARALLEL:
                group.append((one, group[0][1]))
                break
        else:
            groups.append([(one, normal)])
    return sorted(groups, key=len, reverse=True)


def _position_gaps(group: Sequence[tuple[SliceHeader, Point]]) -> list[str]:
    """Say where slices are missing, by their distances along the normal."""
    places = sorted(_dot(one.position or (), normal) for one, normal in group)
    counts: list[int] = []
    distinct: list[float] = []
    for place in places:
        if distinct and place - distinct[-1] <= _SAME_PLACE:
            counts[-1] += 1
        else:
            distinct.append(place)
            counts.append(1)
    if len(distinct) < _LEAST:
        return []
    told = []
    steps = [b - a for a, b in pairwise(distinct)]
    usual = sorted(steps)[(len(steps) - 1) // 2]
    wide = [step for step in steps if step > _GAP * usual]
    if wide and len(wide) * 2 < len(steps):
        lacking = sum(max(1, round(step / usual) - 1) for step in wide)
        told.append(
            f"about {lacking} slices are missing by position: {len(wide)} of {len(steps)} gaps "
            f"are wider than the usual {usual:.2f} mm, the widest {max(wide):.2f} mm"
        )
    # Of a series of several volumes, each place has as many slices as the others.
    most, frequent = Counter(counts).most_common(1)[0]
    fewer = [count for count in counts if count < most]
    if fewer and frequent * 2 > len(counts):
        told.append(
            f"{sum(most - count for count in fewer)} slices are missing at {len(fewer)} of "
            f"{len(counts)} positions, where others have {most} each"
        )
    return told


def _number_gaps(slices: Sequence[SliceHeader]) -> list[str]:
    """Say which share of Instance Numbers (0020,0013) between the first and the last is missing."""
    numbers = sorted({one.number for one in slices if one.number is not None})
    if len(numbers) < _LEAST:
        return []
    steps = [b - a for a, b in pairwise(numbers)]
    usual, count = Counter(steps).most_common(1)[0]
    if count * 2 <= len(steps):
        return []  # no regular numbers
    lacking = sum(step // usual - 1 for step in steps if step > usual)
    if not lacking:
        return []
    return [f"{lacking} Instance Numbers are missing between {numbers[0]} and {numbers[-1]}"]
