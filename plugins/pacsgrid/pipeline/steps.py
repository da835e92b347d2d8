"""The steps after find, each idempotent and resumable, each over a batch of references.

A step does only what the ledger says is still missing, so a run that was killed anywhere is
continued by calling it again.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pacsgrid import grid
from pacsgrid.errors import ConflictError, HeldError, PacsgridError, RetryableError
from pacsgrid.ledger import InstanceRow
from pacsgrid.ledger.codes import WITHDRAWN
from pacsgrid.model import AnonymisedInstance, ReplicaProof, StudyState
from pacsgrid.pacs import asked, open_source
from pacsgrid.pacs.header import Header, read_header
from pacsgrid.pipeline.anonymise import anonymise
from pacsgrid.pipeline.context import Line
from pacsgrid.pipeline.documents import put_documents
from pacsgrid.pipeline.received import leave, settled_before
from pacsgrid.pipeline.studies import answers, copy_out, study_avus, study_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BatchResult:
    """References that may go on, and how many of the batch are held now."""

    refs: list[str]
    held: int


def retrieve(line: Line, ref: str) -> None:
    """Bring the study into staging, complete by the source's own instance list.

    What a PACS sends is compared with what was asked of it; nothing is kept of another study.
    """
    identity = line.vault.open(ref, line.ledger.sealed(ref))
    settings = line.site.source(identity["source"])
    source = open_source(settings)
    study = asked.unsealed(identity)
    room = line.rooms(ref).staging
    room.mkdir(parents=True, exist_ok=True, mode=0o700)
    files = source.retrieve(study, room)
    if not files and settled_before(line, ref) is None:
        raise HeldError("empty", "the source lists no instance of this study any more")
    if settings.kind in ("dimse", "dicomweb"):
        headers = [read_header(file.path) for file in files]
        if reason := asked.unasked(study, [one or Header() for one in headers]):
            line.rooms(ref).wipe()
            raise HeldError(asked.NOT_ASKED_FOR, reason)
    log.info("%s: %d instances retrieved", ref, len(files))


def _outgoing(line: Line, ref: str) -> list[AnonymisedInstance]:
    room = line.rooms(ref).outbox
    return [
        AnonymisedInstance(
            study_uid=row.study_uid,
            series_uid=row.series_uid,
            sop_uid=row.sop_uid,
            subject=row.subject,
            modality=row.modality,
            sop_class_uid="",
            sha256=row.sha256,
            size=row.size,
            path=room / row.series_uid / f"{row.sop_uid}.dcm",
        )
        for row in line.ledger.instances(ref)
    ]


def deposit(line: Line, ref: str) -> None:
    """Put the study's instances, AVUs, manifest and report into the home zone."""
    rows = line.ledger.instances(ref)
    name = line.project.name
    if line.cohorts.is_withdrawn(name, rows[0].subject):
        raise HeldError(
            WITHDRAWN, "the patient withdrew from this project; remove the study at its source"
        )
    grid.ensure_project(line.home, name)
    collection = study_of(line, line.home, rows)
    report = grid.deposit(line.home, name, _outgoing(line, ref), study_avus(line, collection, rows))
    put_documents(line, ref, line.home, collection, rows)
    log.info("%s: %d instances deposited, %d were there", ref, report.put, report.skipped)


def replicate(line: Line, ref: str) -> None:
    """Make the replicas that the home zone's policy and the partners still lack.

    A partner that does not answer gets its copies later (`keep.tend`).
    """
    rows = line.ledger.instances(ref)
    made = grid.replicate_home(line.home, line.project.name, rows)
    for partner in line.partners:
        if answers(line, partner):
            made += copy_out(line, ref, partner, rows)
    log.info("%s: %d replicas made", ref, made)


def verify(line: Line, ref: str) -> None:
    """Let every zone recompute its replicas from storage; repair what is bad, once.

    A partner that does not answer is verified later, unless home alone would be a single copy.
    """
    rows = line.ledger.instances(ref)
    for zone in (line.home, *line.partners):
        if zone is not line.home and line.home.settings.copies > 1 and not answers(line, zone):
            continue
        proofs = grid.verify(zone, line.project.name, rows)
        line.ledger.add_proofs(ref, proofs)
        if _bad(proofs):
            done = grid.repair(zone, line.project.name, proofs, rows)
            log.warning(
                "%s: %d bad replicas repaired in %s", ref, done.repaired, zone.settings.name
            )
            proofs = grid.verify(zone, line.project.name, rows)
            line.ledger.add_proofs(ref, proofs)
        _insist(ref, zone, rows, proofs)
    log.info("%s: every replica recomputed and equal", ref)


def _bad(proofs: Sequence[ReplicaProof]) -> list[ReplicaProof]:
    return [proof for proof in proofs if not proof.good]


def _insist(
    ref: str, zone: grid.Zone, rows: Sequence[InstanceRow], proofs: Sequence[ReplicaProof]
) -> None:
    good: dict[str, int] = {}
    for proof in proofs:
        good[proof.sop_uid] = good.get(proof.sop_uid, 0) + proof.good
    lacking = [row for row in rows if good.get(row.sop_uid, 0) < zone.settings.copies]
    if lacking or _bad(proofs):
        raise RetryableError(
            f"{ref}: {len(lacking)} instances lack proven replicas in zone {zone.settings.name}, "
            f"{len(_bad(proofs))} replicas are bad"
        )


@dataclass(frozen=True)
class Step:
    """A step's function, the state it starts from and the state it leads to."""

    run: Callable[[Line, str], None]
    before: StudyState
    after: StudyState


STEPS: dict[str, Step] = {
    "retrieve": Step(retrieve, StudyState.FOUND, StudyState.RETRIEVED),
    "anonymise": Step(anonymise, StudyState.RETRIEVED, StudyState.ANONYMISED),
    "deposit": Step(deposit, StudyState.ANONYMISED, StudyState.DEPOSITED),
    "replicate": Step(replicate, StudyState.DEPOSITED, StudyState.REPLICATED),
    "verify": Step(verify, StudyState.REPLICATED, StudyState.VERIFIED),
}


def settle(line: Line, refs: Sequence[str]) -> int:
    """Wipe staging and outbox of the studies that are verified; returns how many.

    Received files that were taken through leave the receiver's folder.
    """
    settled = 0
    for ref in refs:
        with line.ledger.lock_study(ref) as ours:
            if ours and line.ledger.state(ref) is StudyState.VERIFIED:
                leave(line, ref)
                line.rooms(ref).wipe()
                settled += 1
    return settled


def run_step(line: Line, name: str, refs: Sequence[str]) -> BatchResult:
    """Run one step over a batch of studies.

    A study that cannot go on is held with its reason; the others go on. One that may succeed
    later makes the call fail at the end, so that the scheduler tries again: then only that
    study has something left to do.

    Raises
    ------
    RetryableError
        Some studies of the batch did not get through this time.
    """
    step = STEPS[name]
    through: list[str] = []
    held = 0
    later: list[str] = []
    for number, ref in enumerate(refs, 1):
        log.info("%s %d of %d: %s", name, number, len(refs), ref)
        with line.ledger.lock_study(ref) as ours:
            if not ours:
                later.append(f"{ref}: another worker has it")
                continue
            state = line.ledger.state(ref)
            if state in (StudyState.HELD, StudyState.WITHDRAWN):
                line.rooms(ref).wipe()  # what a crash right after the holding left
                held += 1
                continue
            if state is not step.before:
                through.append(ref)
                continue
            try:
                step.run(line, ref)
                line.ledger.advance(ref, step.after)
                through.append(ref)
            except RetryableError as error:
                log.warning("%s: try again later: %s", ref, error)
                later.append(str(error))
            except PacsgridError as error:
                _hold(line, ref, error)
                held += 1
            except Exception as error:
                # A foreign error's text may quote the dataset: only its type and place are told.
                place = traceback.extract_tb(error.__traceback__)[-1]
                text = f"{type(error).__name__} at {place.filename.rsplit('/', 1)[-1]}"
                log.error("%s: %s fails with %s:%s", ref, name, text, place.lineno)
                later.append(f"{ref}: {text}:{place.lineno}")
    line.rest()
    if later:
        raise RetryableError(f"{name}: {len(later)} of {len(refs)} to try again: {later[0]}")
    return BatchResult(through, held)


def _hold(line: Line, ref: str, error: PacsgridError) -> None:
    if isinstance(error, HeldError):
        code, detail = error.code, error.detail
    else:
        code = "conflict" if isinstance(error, ConflictError) else "refused"
        detail = str(error)
    log.warning("%s: held, %s: %s", ref, code, detail)
    rooms = line.rooms(ref)
    # In this order a crash between any two leaves every file somewhere that is looked after.
    rooms.set_aside()
    line.ledger.hold(ref, code, detail)
    rooms.wipe()
