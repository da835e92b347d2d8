"""Housekeeping: remove what nobody needs any more.

Every removal is safe to repeat. Nothing of a study that is still being processed is touched.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from pacsgrid.ledger.codes import GIVEN_UP
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.grants import settle_grants
from pacsgrid.pipeline.received_cleanup import clean_up_received
from pacsgrid.pipeline.take import sweep

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CleanupReport:
    """How much was removed.

    Attributes
    ----------
    folders
        Studies whose staging or outbox was wiped.
    quarantines
        Studies whose quarantine was removed.
    selections
        Old selections of patients or studies.
    received
        Files in receivers' folders.
    grants
        Grants of researchers whose rights were set or taken away.
    """

    folders: int = 0
    quarantines: int = 0
    selections: int = 0
    received: int = 0
    grants: int = 0


def clean_up(
    context: ProjectContext, keep_rejected: timedelta, keep_selections: timedelta
) -> CleanupReport:
    """Remove what a project does not need any more.

    This is: staging and outbox of studies that are deposited or withdrawn; received files that
    are proven or rejected; old quarantines of studies that a steward rejected or whose patient
    had withdrawn; and old selections. The rights of grants follow their state.

    Parameters
    ----------
    context
        The project.
    keep_rejected
        How long such a quarantine is kept.
    keep_selections
        How long a selection is kept.

    Returns
    -------
    CleanupReport
        How much was removed.

    Raises
    ------
    RetryableError
        The ledger does not answer.
    """
    received = clean_up_received(context)
    folders = sweep(context)
    quarantines = _remove_quarantines(context, keep_rejected)
    selections = context.ledger.selections.remove_older(keep_selections)
    grants = settle_grants(context)
    context.ledger.counters.fold()
    log.info(
        "removed work folders of %d studies, %d quarantines, %d selections",
        folders,
        quarantines,
        selections,
    )
    return CleanupReport(folders, quarantines, selections, received, grants)


def _of_project(context: ProjectContext, names: Collection[str]) -> list[str]:
    """Return those of some references that are studies of the project."""
    found = context.ledger.studies.records(sorted(names))
    return [study.ref for study in found if study.project == context.project.name]


def _remove_quarantines(context: ProjectContext, keep: timedelta) -> int:
    removed = 0
    name = context.project.name
    waiting = {row.ref for row in context.ledger.held.waiting(name) if row.code not in GIVEN_UP}
    names = {path.name for path in context.site.quarantine.iterdir()}
    for ref in _of_project(context, names):
        quarantine = context.folders(ref).quarantine
        if ref not in waiting and _is_older(quarantine, keep):
            shutil.rmtree(quarantine, ignore_errors=True)
            removed += 1
    return removed


def _is_older(folder: Path, age: timedelta) -> bool:
    return folder.is_dir() and time.time() - folder.stat().st_mtime > age.total_seconds()
