"""Anonymise: staging to outbox, checked, with what cannot go on held file by file."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from pacsgrid.deid import study_report
from pacsgrid.disk import sync_directories
from pacsgrid.errors import HeldError
from pacsgrid.pipeline.context import Line

log = logging.getLogger(__name__)


def anonymise(line: Line, ref: str) -> None:
    """Anonymise and check a staged study.

    A single bad file is held and the rest goes on; an identifying value that the checker finds
    stops the whole study, since the profile then cannot be trusted with any of it.

    Raises
    ------
    HeldError
        The checker refused, the files name several patients, or no instance is left.
    """
    rooms = line.rooms(ref)
    shutil.rmtree(rooms.outbox, ignore_errors=True)
    rooms.outbox.mkdir(parents=True, mode=0o700)
    files = sorted(path for path in rooms.staging.iterdir() if path.suffix == ".dcm")
    batch = line.workshop.study(files, rooms.outbox)
    sync_directories([rooms.outbox.parent])
    for outcome in batch.held:
        if outcome.refused:
            raise outcome.error()
        _hold_file(line, ref, outcome.source, outcome.error())
    done = batch.made
    if not done:
        if batch.held:
            raise batch.held[0].error()
        raise HeldError("empty", "no file of this study was left to anonymise")
    if len({made.subject for made in done}) > 1:
        raise HeldError(
            "patient-mismatch",
            "the files of this study bear different PatientIDs (0010,0020); correct it at the "
            "source",
        )
    line.ledger.set_profile(ref, line.profile.hash)
    line.ledger.add_instances(ref, done)
    report = study_report(
        done[0].subject,
        done[0].study_uid,
        line.profile,
        batch.counts,
        (outcome.code for outcome in batch.held),
    )
    line.ledger.set_report(ref, report)
    log.info("%s: %d instances anonymised, %d held", ref, len(done), len(batch.held))


def _hold_file(line: Line, ref: str, path: Path, error: HeldError) -> None:
    digest = line.rooms(ref).keep(path)
    line.ledger.hold_item(ref, error.code, error.detail, digest)
    log.warning("%s: one file held, %s", ref, error.code)
