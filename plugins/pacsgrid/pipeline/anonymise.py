"""Anonymise: staging to outbox, checked, with what cannot go on held file by file."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

from pacsgrid.deid import (
    BatchResult,
    join_reports,
    merge_patient_prints,
    patient_conflict,
    study_report,
)
from pacsgrid.disk import sha256_of, sync_directories
from pacsgrid.errors import HeldError, WorkFilesGone
from pacsgrid.ledger import InstanceRow
from pacsgrid.model import AnonymisedInstance
from pacsgrid.pipeline.context import Line
from pacsgrid.pipeline.received import Settled, is_received, settled_before

log = logging.getLogger(__name__)


def anonymise(line: Line, ref: str) -> None:
    """Anonymise and check a staged study.

    A single bad file is held and the rest goes on; an identifying value that the checker finds
    stops the whole study, since the profile then cannot be trusted with any of it. Of a received
    study that was taken up again only what came since goes through, and a file that does not fit
    what is settled is held by itself.

    Raises
    ------
    HeldError
        The checker refused, the files name several patients, or no instance is left.
    WorkFilesGone
        What was retrieved is not in staging any more.
    """
    rooms = line.rooms(ref)
    if not rooms.staging.is_dir():
        raise WorkFilesGone("what was retrieved is not in staging any more")
    settled = settled_before(line, ref)
    files = sorted(path for path in rooms.staging.iterdir() if path.suffix == ".dcm")
    digests = {path: sha256_of(path) for path in files} if is_received(line, ref) else {}
    if settled is not None:
        files = [path for path in files if digests[path] not in settled.files]
    batch = _through(line, ref, files, settled)
    sync_directories([rooms.outbox.parent])
    for outcome in batch.held:
        if outcome.refused:
            raise outcome.error()
        _hold_file(line, ref, outcome.source, outcome.error())
    done = batch.made
    if not done and settled is None:
        if batch.held:
            raise batch.held[0].error()
        raise HeldError("empty", "no file of this study was left to anonymise")
    if len({made.subject for made in done}) > 1:
        raise HeldError(
            "patient-mismatch",
            "the files of this study bear different PatientIDs (0010,0020), or one of "
            "different issuers (0010,0021); correct it at the source",
        )
    _insist_on_one_patient(line, done)
    if done:
        line.ledger.set_profile(ref, line.profile.hash)
        line.ledger.add_instances(ref, done)
        line.ledger.add_received(
            ref,
            {
                digests[outcome.source]: outcome.made.sop_uid
                for outcome in batch.outcomes
                if outcome.made and digests
            },
        )
    line.ledger.set_report(ref, _report(line, ref, batch, settled))
    log.info("%s: %d instances anonymised, %d held", ref, len(done), len(batch.held))


def _insist_on_one_patient(line: Line, done: Sequence[AnonymisedInstance]) -> None:
    """Hold a study whose files, or whose subject's other studies, are of another patient.

    Raises
    ------
    HeldError
        ``patient-mismatch`` or ``patient-conflict``.
    """
    if not done or not line.profile.hold_patient_conflicts:
        return
    patient = merge_patient_prints(made.patient for made in done)
    if apart := line.patients.note(line.project.name, done[0].subject, patient):
        raise patient_conflict(apart)


def _through(line: Line, ref: str, files: list[Path], settled: Settled | None) -> BatchResult:
    """Anonymise and check into an empty outbox; hold what does not fit what is settled."""
    outbox = line.rooms(ref).outbox
    while True:
        shutil.rmtree(outbox, ignore_errors=True)
        outbox.mkdir(parents=True, mode=0o700)
        batch = line.processor.process_study(files, outbox)
        if settled is None or any(outcome.refused for outcome in batch.held):
            return batch
        strange = {
            outcome.source: error
            for outcome in batch.outcomes
            if outcome.made and (error := settled.against(outcome.made))
        }
        if not strange:
            return batch
        for path, error in strange.items():
            _hold_file(line, ref, path, error)
        # Once more without them, so that nothing of them is in the outbox or the report.
        files = [path for path in files if path not in strange]


def _report(line: Line, ref: str, batch: BatchResult, settled: Settled | None) -> bytes:
    done = batch.made
    held = [outcome.code for outcome in batch.held]
    first: AnonymisedInstance | InstanceRow
    if settled is None:
        first = done[0]
    else:
        first = next(iter(settled.rows.values()))
        held = [code for code, _ in line.ledger.held_items(ref)]
    report = study_report(first.subject, first.study_uid, line.profile, batch.counts, held)
    if settled is None or settled.rows.keys() <= {made.sop_uid for made in done}:
        return report
    return join_reports(line.ledger.settled_report(ref), report)


def _hold_file(line: Line, ref: str, path: Path, error: HeldError) -> None:
    digest = line.rooms(ref).keep(path)
    line.ledger.hold_item(ref, error.code, error.detail, digest)
    log.warning("%s: one file held, %s", ref, error.code)
