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
from pacsgrid.pipeline.context import Line
from pacsgrid.pipeline.received import sweep_received

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Swept:
    """How many rooms, quarantines, selections and received files were removed."""

    rooms: int = 0
    quarantines: int = 0
    selections: int = 0
    received: int = 0


def sweep(line: Line, keep_rejected: timedelta, keep_selections: timedelta) -> Swept:
    """Clean up after a project.

    Removed are staging and outbox of studies that are verified or withdrawn, what was taken through
    or given up from the receiver's folder, the quarantine of studies that a steward rejected, or
    whose patient had withdrawn, longer ago than `keep_rejected`, and selections older than
    `keep_selections`.
    """
    received = sweep_received(line)
    rooms = 0
    for study in line.ledger.studies.find(
        line.project.name, (StudyState.VERIFIED, StudyState.WITHDRAWN)
    ):
        with line.ledger.studies.lock(study.ref) as ours:
            there = line.rooms(study.ref)
            if ours and (there.staging.exists() or there.outbox.exists()):
                there.wipe()
                rooms += 1
    quarantines = 0
    waiting = {
        row.ref for row in line.ledger.held.queue(line.project.name) if row.code not in GIVEN_UP
    }
    for study in line.ledger.studies.find(line.project.name):
        room = line.rooms(study.ref).quarantine
        if study.ref not in waiting and _older(room, keep_rejected):
            shutil.rmtree(room, ignore_errors=True)
            quarantines += 1
    selections = line.ledger.selections.remove_older(keep_selections)
    log.info("removed %d rooms, %d quarantines, %d selections", rooms, quarantines, selections)
    return Swept(rooms, quarantines, selections, received)


def _older(room: Path, age: timedelta) -> bool:
    return room.is_dir() and time.time() - room.stat().st_mtime > age.total_seconds()
