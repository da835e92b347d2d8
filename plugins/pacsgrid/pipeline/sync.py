"""Nightly synchronisation: find what is new at a source, late arrivals and changed studies."""

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
    """A range of study dates, both ends included."""

    start: date
    end: date

    @property
    def query(self) -> StudyQuery:
        """The query that asks the source for it."""
        return StudyQuery(date_from=f"{self.start:%Y%m%d}", date_to=f"{self.end:%Y%m%d}")

    def halves(self) -> tuple[Window, Window]:
        """Split the window in two; raise ValueError for a single day."""
        if self.start == self.end:
            raise ValueError("a day cannot be split")
        middle = self.start + (self.end - self.start) // 2
        return Window(self.start, middle), Window(middle + timedelta(days=1), self.end)


def due_windows(
    reached: date | None, first: date, today: date, late_days: int, days: int
) -> list[Window]:
    """Return the windows to ask for, the oldest first.

    Parameters
    ----------
    reached
        The last day that the source was asked for before; None for never.
    first
        The first day to ask for at all.
    today
        The last day to ask for.
    late_days
        How many days before `reached` are asked for again: studies arrive late and change.
    days
        The longest window, in days.

    Returns
    -------
    list of Window
        Windows of at most `days` days without gaps; empty if nothing is due.
    """
    start = first if reached is None else max(first, reached - timedelta(days=late_days))
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
    """Enter what is new at a source into the ledger, and return every study to process.

    Progress is saved window by window, so that an outage loses nothing and repeats little.
    Studies that an earlier night found and did not finish are returned too.

    Parameters
    ----------
    context
        The project.
    source
        The source's name in the site settings.
    today
        The last day to ask for.
    first
        The first day to ask for at all.
    late_days
        How many days are asked for again: studies arrive late and change.
    days
        The longest window, in days.

    Returns
    -------
    list of str
        The studies' references.

    Raises
    ------
    SourceError
        A single day holds more studies than the source answers at once.
    SourceUnavailableError
        The source did not answer; the windows before are saved.
    """
    cursor = context.ledger.sync_cursor(context.project.name, source)
    before = unfinished_studies(context, source)
    found: dict[str, None] = {}
    for window in due_windows(cursor.read(), first, today, late_days, days):
        for refs in _ask(context, source, window):
            found |= dict.fromkeys(refs)
        cursor.advance(window.end)
    # Leave out what was withdrawn or held meanwhile.
    unfinished = set(unfinished_studies(context, source))
    todo = [ref for ref in {**dict.fromkeys(before), **found} if ref in unfinished]
    log.info("source %s: %d studies to process, up to %s", source, len(todo), today)
    return todo


def _ask(context: ProjectContext, source: str, window: Window) -> Iterator[list[str]]:
    """Ask for a window; split it when the source answers with too much."""
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
            yield from _ask(context, source, half)


def unfinished_studies(context: ProjectContext, source: str) -> list[str]:
    """Return the references of a project's studies from a source that are still to be processed.

    Parameters
    ----------
    context
        The project.
    source
        The source's name in the site settings.

    Returns
    -------
    list of str
        The references, those of held and withdrawn studies left out.
    """
    states = [state for state in StudyState if state not in FINISHED]
    studies = context.ledger.studies.find(context.project.name, states)
    return [study.ref for study in studies if study.source == source]
