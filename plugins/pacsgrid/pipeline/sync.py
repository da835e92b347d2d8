"""Nightly synchronisation: find what is new at a source, late arrivals and changed studies."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from pacsgrid.errors import SourceError, TooManyAnswersError
from pacsgrid.ledger import IngestKind, PendingStudy
from pacsgrid.ledger.worklist import BACKFILL, REQUEST
from pacsgrid.model import StudyQuery
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.find import enter_studies
from pacsgrid.pipeline.waves import nightly_id

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
    most_days: int = 0,
) -> bool:
    """Enter what is new at a source into the ledger, as the source's nightly ingest.

    Progress is saved window by window, so that an outage loses nothing and repeats little. The
    late days are asked for first, then at most `most_days` days that were never asked for.

    Parameters
    ----------
    context
        The project; where it takes the newest studies first, its first night starts with today.
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
    most_days
        How many days that were never asked for are asked for at most; 0 for no limit.

    Returns
    -------
    bool
        Whether every day was asked for; if not, the next call goes on.

    Raises
    ------
    SourceError
        A single day holds more studies than the source answers at once.
    SourceUnavailableError
        The source did not answer; the windows before are saved.
    """
    name = nightly_id(context.project.name, source)
    context.ledger.ingests.begin(name, context.project.name, source, IngestKind.NIGHTLY)
    cursor = context.ledger.sync_cursor(context.project.name, source)
    reached, since = cursor.read(), cursor.since()
    late = max(first, today - timedelta(days=late_days))
    left = most_days or (today - first).days + 1
    if reached is None and context.project.order == "newest" and most_days:
        # Like a site that was first asked at that day, and goes back from there.
        since = max(first, today - timedelta(days=most_days - 1))
        for window in due_windows(None, since, today, 0, days):
            _enter_window(context, source, name, window, window.end >= late)
        cursor.advance(today)
        cursor.extend_back(since if since > first else None)
        return since <= first
    new = first if reached is None else max(first, reached + timedelta(days=1))
    last = min(today, new + timedelta(days=left - 1))
    if last < today:
        for window in due_windows(None, max(late, last + timedelta(days=1)), today, 0, days):
            _enter_window(context, source, name, window, True)
    for window in due_windows(reached, first, last, late_days, days):
        _enter_window(context, source, name, window, window.end >= late)
        cursor.advance(window.end)
    left -= max(0, (last - new).days + 1)
    while since is not None and left > 0:
        end = since - timedelta(days=1)
        since = max(first, since - timedelta(days=min(days, left)))
        left -= (end - since).days + 1
        _enter_window(context, source, name, Window(since, end), False)
        since = since if since > first else None
        cursor.extend_back(since)
    log.info("source %s: asked for all days up to %s", source, last)
    return last >= today and since is None


def _enter_window(
    context: ProjectContext, source: str, name: str, window: Window, recent: bool
) -> None:
    """Enter a window's studies into the nightly ingest; those of old days are a backfill."""
    priority = REQUEST if recent else BACKFILL
    for some in _ask(context, source, window):
        context.ledger.worklist.assign(name, priority, some, take_over=False)


def _ask(context: ProjectContext, source: str, window: Window) -> Iterator[list[PendingStudy]]:
    """Ask for a window; split it when the source answers with too much."""
    most = context.site.source(source).most_answers
    try:
        yield from enter_studies(context, source, window.query, most)
    except TooManyAnswersError:
        if window.start == window.end:
            raise SourceError(
                f"source {source}: has more studies on {window.start} than it answers at once; "
                "raise its limit, and most_answers"
            ) from None
        for half in window.halves():
            yield from _ask(context, source, half)
