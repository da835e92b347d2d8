"""Take a batch of studies from their source into the home zone, on one machine.

Three threads work on three studies at a time: while one is retrieved, the one before is anonymised
and the one before that is deposited. All files of a study stay on this machine's disks, and leave
them once it is deposited. Another machine that takes the study up begins with its retrieval.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from pacsgrid.errors import RetryableError, WorkFilesMissingError
from pacsgrid.model import StudyState
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.staged_list import staged_files
from pacsgrid.pipeline.staging_space import StagingSpace, StudySpace
from pacsgrid.pipeline.steps import Attempt, BatchResult, attempt

log = logging.getLogger(__name__)

TAKEN = ("retrieve", "anonymise", "deposit")
"""The steps that a batch takes on one machine."""

# In these states nothing of a study in staging or outbox is needed any more.
_DEPOSITED = (
    StudyState.DEPOSITED,
    StudyState.REPLICATED,
    StudyState.VERIFIED,
    StudyState.WITHDRAWN,
    StudyState.NOT_WANTED,
    StudyState.SUPERSEDED,
)
# How long a study waits for others to free a full disk, and how often it looks, in seconds.
_FULL_SECONDS, _POLL_SECONDS = 600.0, 2.0

Observe = Callable[[str, str, float, bool], None]


@dataclass
class _Study:
    """A study on its way through the threads."""

    number: int
    ref: str
    space: StudySpace
    leave: ExitStack


@dataclass
class _Take:
    """What the threads share."""

    context: ProjectContext
    total: int
    observe: Observe
    through: list[str] = field(default_factory=list)
    later: list[str] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)


def take(
    context: ProjectContext,
    refs: Sequence[str],
    observe: Observe = lambda step, ref, seconds, passed: None,
) -> BatchResult:
    """Retrieve, anonymise and deposit a batch of studies.

    A study that cannot go on is held with its reason; the others go on. If a study may succeed
    later, the call fails at the end, so that the scheduler tries again; then only that study has
    something left to do.

    Parameters
    ----------
    context
        The studies' project.
    refs
        The studies' references.
    observe
        Told of each step: its name, the study's reference, how long it took in seconds, and
        whether the study went on.

    Returns
    -------
    BatchResult
        The studies that are deposited, and how many are held.

    Raises
    ------
    RetryableError
        Some studies of the batch did not get through this time.
    ConfigError
        The project's studies have subjects of another origin than the site file says.
    """
    context.subjects.check_mode()
    sweep(context)
    space = _space(context)
    shared = _Take(context, len(refs), observe)
    retrieved: queue.Queue[_Study | None] = queue.Queue(1)
    anonymised: queue.Queue[_Study | None] = queue.Queue(1)
    threads = [
        threading.Thread(target=_guarded, args=(shared, work), daemon=True)
        for work in (
            lambda: _retrieve_all(shared, space, refs, retrieved),
            lambda: _deposit_all(shared, anonymised),
        )
    ]
    try:
        for thread in threads:
            thread.start()
        while (study := _next(shared, retrieved)) is not None:
            if _go(shared, "anonymise", study):
                _put(shared, anonymised, study)
        _put(shared, anonymised, None)
    except BaseException:
        shared.stopped.set()
        raise
    finally:
        for thread in threads:
            thread.join()
    context.stop_workers()
    if shared.later:
        raise RetryableError(
            f"{len(shared.later)} of {len(refs)} studies to try again: {shared.later[0]}"
        )
    return BatchResult(shared.through, len(refs) - len(shared.through))


def _space(context: ProjectContext) -> StagingSpace:
    site = context.site

    return StagingSpace(site.staging, site.outbox, site.staging_bytes, context.ledger.studies.lock)


def sweep(context: ProjectContext) -> int:
    """Remove what this machine still holds of studies that need it no more.

    These are studies that were deposited or withdrawn, here or from another machine after this
    one had died.

    Parameters
    ----------
    context
        Any project of the site.

    Returns
    -------
    int
        How many studies' files were removed.
    """
    rooms = StagingSpace(context.site.staging, context.site.outbox, 0)
    states = context.ledger.studies.states(sorted(rooms.refs()))
    removed = 0
    for ref, state in states.items():
        if state not in _DEPOSITED:
            continue
        with context.ledger.studies.lock(ref) as ours:
            if ours and context.ledger.studies.state(ref) in _DEPOSITED:
                context.folders(ref).wipe()
                removed += 1
    if removed:
        log.info("removed work files of %d studies that are deposited", removed)
    return removed


def _guarded(shared: _Take, work: Callable[[], None]) -> None:
    try:
        work()
    except Exception as error:
        # The text of a library's error may quote a data set.
        log.error("a thread of the batch ended by %s", type(error).__name__)
        shared.later.append(f"unexpected {type(error).__name__}")
        shared.stopped.set()


def _retrieve_all(
    shared: _Take,
    space: StagingSpace,
    refs: Sequence[str],
    retrieved: queue.Queue[_Study | None],
) -> None:
    with ExitStack() as after:
        after.callback(_put, shared, retrieved, None)
        after.enter_context(shared.context.sources_kept_open())
        for number, ref in enumerate(refs, 1):
            if shared.stopped.is_set():
                return
            leave = ExitStack()
            study = _Study(number, ref, leave.enter_context(space.study(ref)), leave)
            try:
                study.space.admit(shared.stopped.is_set)
            except RetryableError as error:
                log.warning("%s: try again later: %s", ref, error)
                shared.later.append(str(error))
                leave.close()
                continue
            _begin_anew_if_elsewhere(shared.context, ref)
            if _go(shared, "retrieve", study):
                study.space.arrived()
                _put(shared, retrieved, study)


def _next(shared: _Take, where: queue.Queue[_Study | None]) -> _Study | None:
    """Return the next study; None after the last, or when the batch is stopped."""
    while True:
        try:
            return where.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            if shared.stopped.is_set():
                return None


def _put(shared: _Take, where: queue.Queue[_Study | None], study: _Study | None) -> None:
    """Hand a study on; give it up if nobody takes it any more."""
    while True:
        try:
            where.put(study, timeout=_POLL_SECONDS)
            return
        except queue.Full:
            if shared.stopped.is_set():
                if study is not None:
                    study.leave.close()
                return


def _begin_anew_if_elsewhere(context: ProjectContext, ref: str) -> None:
    """Let a study whose retrieved files are on another machine be retrieved here."""
    with context.ledger.studies.lock(ref) as ours:
        if ours and context.ledger.studies.state(ref) is StudyState.RETRIEVED:
            try:
                staged_files(context.folders(ref).staging, context.ledger.studies.retrieved(ref))
            except WorkFilesMissingError as error:
                log.info("%s: %s; it is retrieved here", ref, error)
                context.ledger.studies.reopen(ref)


def _deposit_all(shared: _Take, anonymised: queue.Queue[_Study | None]) -> None:
    while (study := _next(shared, anonymised)) is not None:
        if _go(shared, "deposit", study):
            with shared.context.ledger.studies.lock(study.ref) as ours:
                if ours and shared.context.ledger.studies.state(study.ref) in _DEPOSITED:
                    shared.context.folders(study.ref).wipe()
            study.leave.close()
            shared.through.append(study.ref)


def _go(shared: _Take, step: str, study: _Study) -> bool:
    """Take a study through a step; return whether it goes on."""
    log.info("%s %d of %d: %s", step, study.number, shared.total, study.ref)
    start = time.monotonic()
    outcome = _attempt_with_full_disk(shared, step, study.ref)
    shared.observe(step, study.ref, time.monotonic() - start, outcome.through)
    if outcome.later:
        shared.later.append(outcome.later)
    if not outcome.through:
        study.leave.close()
    return outcome.through


def _attempt_with_full_disk(shared: _Take, step: str, ref: str) -> Attempt:
    """Attempt a step again while the disk is full and other studies may still free it."""
    until = time.monotonic() + _FULL_SECONDS
    while True:
        outcome = attempt(shared.context, step, ref)
        if not outcome.full or time.monotonic() >= until or shared.stopped.is_set():
            return outcome
        log.warning("%s: waits for other studies to leave the full disk", ref)
        shared.stopped.wait(_POLL_SECONDS)
