"""The steps after find. Each is safe to repeat, and is run over a batch of references.

A step does only what the ledger says is still missing, so a run that was killed anywhere is
continued by calling it again.
"""

from __future__ import annotations

import errno
import logging
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pacsgrid import grid
from pacsgrid.deid import read_image
from pacsgrid.errors import (
    ConflictError,
    HeldError,
    NotWantedError,
    PacsgridError,
    RetryableError,
    StorageError,
    WorkFilesMissingError,
    ZoneError,
)
from pacsgrid.ledger import STATE_ORDER
from pacsgrid.ledger.codes import WITHDRAWN
from pacsgrid.model import StudyState
from pacsgrid.pipeline.anonymise import anonymise
from pacsgrid.pipeline.cohort_entries import study_entry
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.ensure_replicas import ensure_replicas
from pacsgrid.pipeline.outbox import outbox_instances
from pacsgrid.pipeline.received_cleanup import remove_received
from pacsgrid.pipeline.reprofile import supersede
from pacsgrid.pipeline.retrieve import retrieve
from pacsgrid.pipeline.studies import copy_study_to_partner, is_reachable
from pacsgrid.pipeline.study_avus import study_avus
from pacsgrid.pipeline.study_documents import put_study_documents, searchable, study_manifest
from pacsgrid.pipeline.thumbnails import held_files
from pacsgrid.review_model import ANY_IMAGE

log = logging.getLogger(__name__)

# How long a step waits for another worker that has a study; maintenance needs seconds for one.
LOCK_SECONDS = 30


@dataclass(frozen=True)
class BatchResult:
    """What became of a batch.

    Attributes
    ----------
    refs
        References of the studies that may go on.
    held
        How many studies of the batch are held now, or not wanted.
    """

    refs: list[str]
    held: int


def deposit(context: ProjectContext, ref: str) -> None:
    """Put a study's instances, AVUs, manifest and report into the home zone, and index it.

    Parameters
    ----------
    context
        The study's project.
    ref
        The study's reference.

    Raises
    ------
    HeldError
        The patient withdrew consent.
    WorkFilesMissingError
        An instance is neither in the zone nor in the outbox.
    ConflictError, ZoneUnavailableError, ZoneError
        As in `grid.deposit`.
    """
    rows = context.ledger.instances.of_study(ref)
    name = context.project.name
    if context.ledger.withdrawals.is_withdrawn(name, rows[0].subject):
        raise HeldError(
            WITHDRAWN, "the patient withdrew from this project; remove the study at its source"
        )
    grid.ensure_project(context.home, name)
    collection = grid.collection_of_study(context.home, name, rows)
    instances = outbox_instances(context, ref, rows)
    manifest = study_manifest(context, ref, context.home, rows)
    known = searchable(context, manifest, rows)
    avus = study_avus(collection, known, rows[0].result)
    report = grid.deposit(context.home, name, instances, avus)
    put_study_documents(context, ref, context.home, rows, manifest)
    if not rows[0].result:
        context.ledger.cohorts.put([study_entry(ref, known)])
    log.info("%s: %d instances deposited, %d were there", ref, report.put, report.skipped)


def replicate(context: ProjectContext, ref: str) -> None:
    """Make the replicas and copies that the home zone and the partners still lack.

    A partner that does not answer gets its copies in the nightly maintenance. What a zone
    refuses is left to the verification, which knows which replicas are bad.

    Parameters
    ----------
    context
        The study's project.
    ref
        The study's reference.

    Raises
    ------
    ConflictError
        A partner holds an object with the same path and other content.
    ZoneUnavailableError
        A zone stopped answering.
    """
    rows = context.ledger.instances.of_study(ref)
    made = 0
    try:
        made += grid.replicate_within_zone(context.home, context.project.name, rows)
        for partner in context.partners:
            if is_reachable(context, partner):
                made += copy_study_to_partner(context, ref, partner, rows)
    except ZoneError as error:
        log.warning("%s: left to the verification: %s", ref, error)
    log.info("%s: %d replicas made", ref, made)


def verify(context: ProjectContext, ref: str) -> None:
    """Let every zone recompute its replicas from storage; make or repair what is needed.

    A partner that does not answer is verified later, unless home alone would be a single copy.

    Parameters
    ----------
    context
        The study's project.
    ref
        The study's reference.

    Raises
    ------
    RetryableError
        A zone still lacks proven replicas: a resource is down or full, or somebody is writing.
    WorkFilesMissingError
        The home zone lost instances, and no other zone has them.
    """
    rows = context.ledger.instances.of_study(ref)
    home = context.home
    incomplete: list[str] = []
    for zone in (home, *context.partners):
        if zone is not home and home.settings.copies > 1 and not is_reachable(context, zone):
            continue
        outcome = ensure_replicas(context, ref, zone, rows)
        name = zone.settings.name
        if outcome.repaired or outcome.restored:
            log.warning(
                "%s: %d replicas made or repaired, %d objects restored in zone %s",
                ref,
                outcome.repaired,
                outcome.restored,
                name,
            )
        if zone is home and outcome.gone:
            # Every zone and the outbox were asked: only the source has it still.
            raise WorkFilesMissingError(
                f"{len(outcome.gone)} instances were deposited and are in no zone any more"
            )
        if not outcome.complete:
            incomplete.append(
                f"{len(outcome.lacking)} instances lack proven replicas in zone {name}, "
                f"{len(outcome.bad)} replicas are bad"
            )
    if incomplete:
        raise RetryableError(f"{ref}: {'; '.join(incomplete)}; is a resource down or full?")
    log.info("%s: every replica recomputed and equal", ref)


@dataclass(frozen=True)
class Step:
    """A step's function, the state it starts from and the state it leads to."""

    run: Callable[[ProjectContext, str], None]
    before: StudyState
    after: StudyState


STEPS: dict[str, Step] = {
    "retrieve": Step(retrieve, StudyState.FOUND, StudyState.RETRIEVED),
    "anonymise": Step(anonymise, StudyState.RETRIEVED, StudyState.ANONYMISED),
    "deposit": Step(deposit, StudyState.ANONYMISED, StudyState.DEPOSITED),
    "replicate": Step(replicate, StudyState.DEPOSITED, StudyState.REPLICATED),
    "verify": Step(verify, StudyState.REPLICATED, StudyState.VERIFIED),
}


def clear_work_folders(context: ProjectContext, refs: Sequence[str]) -> int:
    """Wipe staging and outbox of the studies that are verified.

    Received files that they were made of are removed from the receiver's folder, and versions that
    they supersede from the zones.

    Parameters
    ----------
    context
        The studies' project.
    refs
        The studies' references.

    Returns
    -------
    int
        How many of the studies are verified.
    """
    cleared = 0
    for ref in refs:
        with context.ledger.studies.lock(ref) as ours:
            if ours and context.ledger.studies.state(ref) is StudyState.VERIFIED:
                remove_received(context, ref)
                context.folders(ref).wipe()
                context.folders(ref).forget_aside()
                try:
                    supersede(context, ref)
                except PacsgridError as error:
                    log.warning("%s: the version before is removed later: %s", ref, error)
                cleared += 1
    return cleared


def run_step(context: ProjectContext, name: str, refs: Sequence[str]) -> BatchResult:
    """Take a batch of studies through one step, and through earlier steps that they lack.

    A study that cannot go on is held with its reason; the others go on. If a study may succeed
    later, the call fails at the end, so that the scheduler tries again; then only that study has
    something left to do.

    Parameters
    ----------
    context
        The studies' project.
    name
        The step's name in `STEPS`.
    refs
        The studies' references.

    Returns
    -------
    BatchResult
        The studies that may go on, and how many are held.

    Raises
    ------
    RetryableError
        Some studies of the batch did not get through this time.
    """
    through: list[str] = []
    later: list[str] = []
    with context.sources_kept_open():
        for number, ref in enumerate(refs, 1):
            log.info("%s %d of %d: %s", name, number, len(refs), ref)
            outcome = attempt(context, name, ref)
            if outcome.later:
                later.append(outcome.later)
            elif outcome.through:
                through.append(ref)
    context.stop_workers()
    if later:
        raise RetryableError(f"{name}: {len(later)} of {len(refs)} to try again: {later[0]}")
    return BatchResult(through, len(refs) - len(through))


@dataclass(frozen=True)
class Attempt:
    """What became of a study in a step.

    Attributes
    ----------
    through
        Whether it may go on; False also if it is held or withdrawn.
    later
        Why it may succeed when it is tried again; empty if it got through or is held.
    full
        Whether it failed because a disk of this machine is full.
    """

    through: bool
    later: str = ""
    full: bool = False


def attempt(context: ProjectContext, name: str, ref: str) -> Attempt:
    """Take one study through a step, and through earlier steps that it lacks; raises no error.

    Parameters
    ----------
    context
        The study's project.
    name
        The step's name in `STEPS`.
    ref
        The study's reference.

    Returns
    -------
    Attempt
        What became of it.
    """
    try:
        with context.ledger.studies.lock(ref, LOCK_SECONDS) as ours:
            if not ours:
                return Attempt(False, f"{ref}: another worker has it")
            return Attempt(advance(context, ref, STEPS[name].after))
    except RetryableError as error:
        log.warning("%s: try again later: %s", ref, error)
        full = isinstance(error, StorageError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        return Attempt(False, str(error), full)
    except Exception as error:
        # The text of a library's error may quote the data set: log type and place only.
        place = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__} at {place.filename.rsplit('/', 1)[-1]}"
        log.error("%s: %s fails with %s:%s", ref, name, text, place.lineno)
        return Attempt(False, f"{ref}: {text}:{place.lineno}")


def advance(context: ProjectContext, ref: str, to: StudyState) -> bool:
    """Take a study as far as a state; the caller holds its lock.

    A study whose files are gone from staging or outbox is retrieved once more.

    Parameters
    ----------
    context
        The study's project.
    ref
        The study's reference.
    to
        The state to reach.

    Returns
    -------
    bool
        False if the study is held, withdrawn or not wanted.

    Raises
    ------
    RetryableError
        The study may get there later.
    """
    restarted = False
    while True:
        state = context.ledger.studies.state(ref)
        if state in (
            StudyState.HELD,
            StudyState.WITHDRAWN,
            StudyState.NOT_WANTED,
            StudyState.SUPERSEDED,
        ):
            if state is not StudyState.HELD or context.ledger.results.get(ref) is None:
                context.folders(ref).wipe()  # left by a crash right after the study came into it
            return False
        step = next((step for step in STEPS.values() if step.before is state), None)
        if step is None or STATE_ORDER.index(state) >= STATE_ORDER.index(to):
            return True
        try:
            step.run(context, ref)
            context.ledger.studies.advance(ref, step.after)
        except RetryableError:
            raise
        except WorkFilesMissingError as error:
            if restarted:
                raise RetryableError(f"{ref}: {error}") from None
            if context.ledger.results.get(ref) is not None:
                detail = f"{error}; no source has a result: ask who sent it to send it again"
                _hold(context, ref, HeldError("result-lost", detail))
                continue
            log.warning("%s: %s; it is retrieved again", ref, error)
            context.ledger.studies.reopen(ref)
            restarted = True
        except NotWantedError as error:
            log.info("%s: %s", ref, error)
            context.ledger.studies.leave(ref)
            remove_received(context, ref)
            context.folders(ref).wipe()
        except PacsgridError as error:
            _hold(context, ref, error)


def _hold(context: ProjectContext, ref: str, error: PacsgridError) -> None:
    if isinstance(error, HeldError):
        code, detail = error.code, error.detail
    else:
        code = "conflict" if isinstance(error, ConflictError) else "refused"
        detail = str(error)
    log.warning("%s: held, %s: %s", ref, code, detail)
    folders = context.folders(ref)
    # In this order, a crash between any two leaves every file where something looks for it.
    folders.quarantine_staging()
    files = held_files(folders.quarantine)
    traits = read_image(files[0], context.pseudonyms).traits if files else ANY_IMAGE
    context.ledger.studies.hold(ref, code, detail, "", traits)
    # Nobody could send a result again: its files stay in the outbox for the steward.
    if code == WITHDRAWN or context.ledger.results.get(ref) is None:
        folders.wipe()
