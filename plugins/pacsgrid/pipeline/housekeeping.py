"""Housekeeping: what nobody needs any more is removed, what somebody may need is left.

Every removal is safe to repeat; what belongs to a study on its way is never touched.
"""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from pacsgrid.ledger.codes import GIVEN_UP
from pacsgrid.model import StudyState
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.received_cleanup import clean_up_received

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CleanupReport:
    """How many rooms, quarantines, selections and received files were removed."""

    folders: int = 0
    quarantines: int = 0
    selections: int = 0
    received: int = 0


def clean_up(
    context: ProjectContext, keep_rejected: timedelta, keep_selections: timedelta
) -> CleanupReport:
    """Clean up after a project.

    Removed are staging and outbox of studies that are verified or withdrawn, what was taken through
    or given up from the receiver's folder, the quarantine of studies that a steward rejected, or
    whose patient had withdrawn, longer ago than `keep_rejected`, and selections older than
    `keep_selections`.
    """
    received = clean_up_received(context)
    folders = 0
    for study in context.ledger.studies.find(
        context.project.name, (StudyState.VERIFIED, StudyState.WITHDRAWN)
    ):
        with context.ledger.studies.lock(study.ref) as ours:
            there = context.folders(study.ref)
            if ours and (there.staging.exists() or there.outbox.exists()):
                there.wipe()
                folders += 1
    quarantines = 0
    waiting = {
        row.ref
        for row in context.ledger.held.queue(context.project.name)
        if row.code not in GIVEN_UP
    }
    for study in context.ledger.studies.find(context.project.name):
        room = context.folders(study.ref).quarantine
        if study.ref not in waiting and _older(room, keep_rejected):
            shutil.rmtree(room, ignore_errors=True)
            quarantines += 1
    selections = context.ledger.selections.remove_older(keep_selections)
    log.info("removed %d rooms, %d quarantines, %d selections", folders, quarantines, selections)
    return CleanupReport(folders, quarantines, selections, received)


def _older(room: Path, age: timedelta) -> bool:
    return room.is_dir() and time.time() - room.stat().st_mtime > age.total_seconds()
