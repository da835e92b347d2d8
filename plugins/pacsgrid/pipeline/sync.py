"""Nightly synchronisation: what is due of a source, late arrivals and changed studies."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from pacsgrid.errors import SourceError, TooManyAnswersError
from pacsgrid.model import StudyQuery, StudyState
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.find import FINISHED, find_studies

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Window:
    """Days of study dates, both included."""

    start: date
    end: date

    @property
    def query(self) -> StudyQuery:
        """What to ask the source."""
        return StudyQuery(date_from=f"{self.start:%Y%m%d}", date_to=f"{self.end:%Y%m%d}")

    def halves(self) -> tuple[Window, Window]:
        """Split it; raises ValueError for a single day."""
        if self.start == self.end:
            raise ValueError("a day cannot be split")
        middle = self.start + (self.end - self.start) // 2
        return Window(self.start, middle), Window(middle + timedelta(days=1), self.end)


def due_windows(
    place: date | None, first: date, today: date, late_days: int, days: int
) -> list[Window]:
    """Give the windows to ask for, the oldest first.

    Parameters
    ----------
    place
        Up to where the source was asked before; None for never.
    first
        The first day to ask for when it never was.
    today
        The last day to ask for.
    late_days
        How many days before the place are asked for again: studies arrive late and change.
    days
        The longest window.
    """
    start = first if place is None else max(first, place - timedelta(days=late_days))
    windows = []
    while start <= today:
        end = min(today, start + timedelta(days=days - 1))
        windows.append(Window(start, end))
        start = end + timedelta(days=1)
    return windows


def sync_source(
    context: ProjectContext,
    source: str,
    today: date,
    first: date,
    late_days: int = 14,
    days: int = 7,
) -> list[str]:
    """Enter what a source has new into the ledger; give every study that has a way to go.

    The place is kept window by window, so that an outage loses nothing and repeats little.
    Studies that an earlier night found and could not take are given too.

    Raises
    ------
    SourceError
        A single day holds more than the source answers.
    SourceUnavailableError
        The source did not answer; what was asked before is kept.
    """
    cursor = context.ledger.sync_cursor(context.project.name, source)
    open_before = unfinished_studies(context, source)
    found: dict[str, None] = {}
    for window in due_windows(cursor.read(), first, today, late_days, days):
        for part in _asked(context, source, window):
            found |= dict.fromkeys(part)
        cursor.advance(window.end)
    # A study that was withdrawn or held meanwhile is left out.
    still = set(unfinished_studies(context, source))
    refs = [ref for ref in {**dict.fromkeys(open_before), **found} if ref in still]
    log.info("source %s: %d studies to take, up to %s", source, len(refs), today)
    return refs


def _asked(context: ProjectContext, source: str, window: Window) -> Iterator[list[str]]:
    """Ask for a window, in halves when it answers too much."""
    most = context.site.source(source).most_answers
    try:
        yield find_studies(context, source, window.query, most)
    except TooManyAnswersError:
        if window.start == window.end:
            raise SourceError(
                f"source {source}: has more studies on {window.start} than it answers at once; "
                "raise its limit, and most_answers"
            ) from None
        for half in window.halves():
            yield from _asked(context, source, half)


def unfinished_studies(context: ProjectContext, source: str) -> list[str]:
    """Give the project's studies of a source that have a way to go."""
    states = [state for state in StudyState if state not in FINISHED]
    studies = context.ledger.studies.find(context.project.name, states)
    return [study.ref for study in studies if study.source == source]
