"""Waves: what one run takes of the pending studies, and whether another run follows.

Everything that a source answers is in the ledger's worklist. A run claims a wave of it, so that
runs beside each other never have the same study. A claim is a row in the ledger: a run that is
killed and tried again finds its own, and what a dead run had goes back.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from pacsgrid.config import SeriesSelection
from pacsgrid.errors import ConfigError
from pacsgrid.ledger import Ingest, IngestKind, IngestState, Ledger, WaveLimits
from pacsgrid.ledger.worklist import BACKFILL, NAMED, REQUEST
from pacsgrid.model import StudyQuery
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.find import enter_studies
from pacsgrid.pipeline.series_choice import NO_RULES

log = logging.getLogger(__name__)

BUDGETED = frozenset({IngestKind.NIGHTLY, IngestKind.BACKFILL})
"""What a source's night budget limits."""
# A run that ended a moment ago may be about to start the next.
QUIET = timedelta(minutes=5)


def ingest_id(run: str) -> str:
    """Return the id of the ingest that a run asks for; the same for each try of the run."""
    return f"in-{hashlib.sha256(run.encode()).hexdigest()[:20]}"


def nightly_id(project: str, source: str) -> str:
    """Return the id of a source's nightly ingest.

    Parameters
    ----------
    project, source
        Whose studies.
    """
    return ingest_id(f"nightly {project} {source}")


def ask(
    context: ProjectContext,
    source: str,
    queries: Sequence[StudyQuery],
    run: str,
    named: bool = False,
    series: SeriesSelection = NO_RULES,
) -> str:
    """Enter all that a source answers to a run's queries as one ingest.

    Parameters
    ----------
    context
        The project.
    source
        The source's name in the site settings.
    queries
        What to ask for.
    run
        The run's id.
    named
        Whether the queries name patients, accessions or studies.
    series
        Which series are asked for, of those that the project wants.

    Returns
    -------
    str
        The ingest's id.

    Raises
    ------
    ConfigError, SourceError, SourceUnavailableError
        As `enter_studies` raises them.
    """
    name, ledger = ingest_id(run), context.ledger
    pushed = context.site.source(source).kind == "received"
    urgent = IngestKind.NAMED if named else IngestKind.PUSHED if pushed else None
    ingest = ledger.ingests.begin(name, context.project.name, source, urgent or IngestKind.REQUEST)
    priority = NAMED if urgent else BACKFILL
    for query in queries:
        for some in enter_studies(context, source, query, series=series):
            ledger.worklist.assign(name, priority, some)
    if not urgent and not ingest.waves:
        most = context.site.wave.studies
        if ledger.worklist.count_more(name, most + 1) > most:
            ledger.ingests.set_kind(name, IngestKind.BACKFILL)
        else:
            ledger.worklist.set_priority(name, REQUEST)
    return name


def begin_nightly(context: ProjectContext, source: str) -> str:
    """Begin to work off whatever is pending of a source, and what was left of earlier nights.

    Parameters
    ----------
    context
        The project.
    source
        The source's name.

    Returns
    -------
    str
        The id of the source's nightly ingest.
    """
    project, ledger = context.project.name, context.ledger
    name = nightly_id(project, source)
    ledger.ingests.begin(name, project, source, IngestKind.NIGHTLY)
    ledger.ingests.begin_night(name, project, source)
    ledger.worklist.forget_tries(project, source)
    return name


def hand_out(context: ProjectContext, name: str, run: str, most_batches: int) -> list[list[str]]:
    """Claim a run's wave of an ingest; called again for the same run, return the same wave.

    The nightly ingest takes any pending study of its source, every other one its own.

    Parameters
    ----------
    context
        The project.
    name
        The ingest's id.
    run
        The run's id.
    most_batches
        How many batches Airflow can map at most.

    Returns
    -------
    list of list of str
        Batches of the studies' references; empty when the ingest is paused, when nothing is
        pending or when the source's budget is spent.

    Raises
    ------
    ConfigError
        The project has no such ingest.
    """
    ledger, size = context.ledger, context.site.batch_size
    newest_first = context.project.order == "newest"
    if mine := ledger.worklist.claimed(run, newest_first):
        return _batches([study.ref for study in mine], size)
    with ledger.database.transaction():
        # Under the lock, so that a pause and a claim come one after the other.
        ingest = _lock(context, name)
        if ingest.state is IngestState.PAUSED:
            log.info("the ingest %s is paused", name)
            return []
        budgeted = ingest.kind in BUDGETED
        limits = _limits(context, ingest.source, most_batches * size)
        if budgeted:
            left, reason = _within_budget(context, ingest.source, limits)
            if left is None:
                ledger.ingests.set_state(name, IngestState.SPENT, reason)
                log.info("the ingest %s goes on next night: %s", name, reason)
                return []
            limits = left
        taken = ledger.worklist.claim(
            run,
            ingest.project,
            ingest.source,
            _only(ingest),
            newest_first,
            limits,
        )
        if not taken:
            return []
        more = ingest.kind is IngestKind.REQUEST and ledger.worklist.has_more(
            ingest.project, ingest.source, name
        )
        if more:
            ledger.ingests.set_kind(name, IngestKind.BACKFILL)
        number = ledger.ingests.add_wave(
            run,
            name,
            budgeted or more,
            len(taken),
            sum(study.instances or 0 for study in taken),
            sum(study.size or 0 for study in taken),
        )
    log.info("wave %d of the ingest %s: %d studies", number, name, len(taken))
    return _batches([study.ref for study in taken], size)


def _lock(context: ProjectContext, name: str) -> Ingest:
    """Lock an ingest of this project; an ingest of another one is as unknown as none."""
    ingest = context.ledger.ingests.lock(name)
    if ingest.project != context.project.name:
        raise ConfigError(f"project {context.project.name} has no ingest {name}")
    return ingest


def _only(ingest: Ingest) -> str | None:
    """Return the ingest whose studies alone its waves take; None for any of the source."""
    return None if ingest.kind is IngestKind.NIGHTLY else ingest.id


def _batches(refs: Sequence[str], size: int) -> list[list[str]]:
    return [list(refs[i : i + size]) for i in range(0, len(refs), size)]


def _limits(context: ProjectContext, source: str, most_studies: int) -> WaveLimits:
    wave = context.site.wave
    instances, size = context.ledger.ingests.typical(source)
    return WaveLimits(
        min(wave.studies, most_studies),
        wave.instances,
        round(wave.gigabytes * 1e9),
        instances,
        size,
    )


def night_start(now: datetime, time_zone: str) -> datetime:
    """Return when the present night began: at the last noon.

    Parameters
    ----------
    now
        The present time, with its time zone.
    time_zone
        IANA name of the site's time zone.
    """
    local = now.astimezone(ZoneInfo(time_zone))
    day = local.date() if local.hour >= 12 else local.date() - timedelta(days=1)
    return datetime(day.year, day.month, day.day, 12, tzinfo=local.tzinfo)


def _within_budget(
    context: ProjectContext, source: str, limits: WaveLimits
) -> tuple[WaveLimits | None, str]:
    """Return what the source's budget leaves of a wave; None with the reason when it is spent."""
    night, now = context.site.source(source).night, datetime.now(UTC)
    spent = context.ledger.ingests.spent(source, night_start(now, context.site.time_zone))
    if night.hours and spent.since and now - spent.since >= timedelta(hours=night.hours):
        return None, f"the night's {night.hours:g} hours of source {source} are over"
    if night.studies:
        left = night.studies - spent.studies
        if left <= 0:
            return None, f"the night's {night.studies} studies of source {source} are taken"
        limits = replace(limits, studies=min(limits.studies, left))
    if night.gigabytes:
        size = round(night.gigabytes * 1e9) - spent.size
        if size <= 0:
            return None, f"the night's {night.gigabytes:g} GB of source {source} are taken"
        limits = replace(limits, size=min(limits.size or size, size))
    return limits, ""


def count_run(context: ProjectContext, refs: Sequence[str]) -> dict[str, int]:
    """Count a run's studies by state, and log what is held of them.

    Parameters
    ----------
    context
        The project.
    refs
        The studies that the run had.

    Returns
    -------
    dict
        The number of studies in each state that has any.
    """
    counts: dict[str, int] = {}
    for state in context.ledger.studies.states(refs).values():
        counts[state.value] = counts.get(state.value, 0) + 1
    for state_name, count in sorted(counts.items()):
        log.info("%d studies %s", count, state_name)
    for row in context.ledger.held.of_studies(refs):
        log.warning("held: %s: %s: %s", row.ref, row.code, row.detail)
    return counts


def end_wave(context: ProjectContext, name: str, run: str, refs: Sequence[str]) -> int:
    """Give back what a run has claimed, and decide whether another wave follows.

    Parameters
    ----------
    context
        The project.
    name
        The ingest's id.
    run
        The run's id.
    refs
        The studies that the run had.

    Returns
    -------
    int
        The number of the wave that is to follow; 0 for none.
    """
    ledger = context.ledger
    volume = ledger.studies.volume(refs)
    with ledger.database.transaction():
        # Under the lock: of two runs that end at once, the last one starts the next.
        _lock(context, name)
        if left := ledger.worklist.release(run):
            log.warning("%d studies of this run are not finished; a later wave takes them", left)
        ledger.ingests.end_wave(run, *volume)
        ingest = ledger.ingests.lock(name)
        ledger.ingests.end_finished(ingest.project, ingest.source)
        if ingest.state in (IngestState.PAUSED, IngestState.SPENT):
            return 0
        if ledger.ingests.has_open_wave(name):
            return 0
        more = ledger.worklist.has_more(ingest.project, ingest.source, _only(ingest))
        if refs and more:  # a run that had nothing found nothing to claim
            return ingest.waves + 1
        _end(ledger, ingest)
        return 0


def _end(ledger: Ledger, ingest: Ingest) -> None:
    left = ingest.pending
    note = f"{left} studies failed in several waves, or other runs have them" if left else ""
    unless = (IngestState.PAUSED, IngestState.SPENT, IngestState.ENDED)
    ledger.ingests.set_state(ingest.id, IngestState.ENDED, note, unless)


def give_back(ledger: Ledger, is_over: Callable[[str], bool]) -> int:
    """End the claims of runs that are over, and those whose time is over.

    Parameters
    ----------
    ledger
        The ledger.
    is_over
        Whether a run, given by its id, has ended or was deleted.

    Returns
    -------
    int
        How many studies can be claimed again.
    """
    back = ledger.worklist.release_expired()
    runs: Iterable[str] = {*ledger.worklist.runs_with_claims(), *ledger.ingests.open_waves()}
    for run in sorted(runs):
        if is_over(run):
            back += ledger.worklist.release(run)
            ledger.ingests.end_wave(run)
    return back


def next_run_id(name: str, number: int) -> str:
    """Return the id of the run of a wave: two that start it start one run.

    Parameters
    ----------
    name
        The ingest's id.
    number
        The wave's number.
    """
    return f"wave__{name}__{number:05d}"
