"""Withdraw a patient from every zone, replica, trash and index, with proof."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from datetime import datetime

from pacsgrid import grid
from pacsgrid.errors import ConfigError, PacsgridError
from pacsgrid.grid.erase import erase_subject
from pacsgrid.pipeline.bids.copies import remove_retired
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.received_cleanup import clean_up_received
from pacsgrid.pipeline.release import reissue_releases_without
from pacsgrid.pipeline.studies import is_reachable

log = logging.getLogger(__name__)


def withdraw(context: ProjectContext, subject: str) -> list[str]:
    """Withdraw a patient, by pseudonym.

    The ledger stops the patient's studies before anything is removed, so that no worker puts them
    back. Releases that list them get a new version without them, and the old one is removed. A
    zone that does not answer is seen to by `erase_pending`.

    Parameters
    ----------
    context
        The project.
    subject
        The patient's pseudonym.

    Returns
    -------
    list of str
        The zones where the patient is still to be erased.

    Raises
    ------
    ConfigError
        The project has no such subject.
    """
    project = context.project.name
    zones = [context.project.home_zone, *context.project.partner_zones]
    if not context.ledger.instances.sop_uids_of_subject(
        project, subject
    ) and not context.ledger.withdrawals.is_withdrawn(project, subject):
        # Not quoted: somebody may have written a patient ID.
        raise ConfigError(f"project {project} has no such subject; give the patient's pseudonym")
    refs = context.ledger.withdrawals.withdraw(project, subject, zones)
    for ref in refs:
        context.folders(ref).wipe()
    clean_up_received(context)
    reissue_releases_without(context, refs)
    log.info("%d studies withdrawn", len(refs))
    return erase_pending(context)


def erase_pending(context: ProjectContext, now: datetime | None = None) -> list[str]:
    """Erase withdrawn patients from the zones where that is not proven yet.

    Parameters
    ----------
    context
        The project.
    now
        The current time.

    Returns
    -------
    list of str
        The zones where something is still to be erased.
    """
    project, left = context.project.name, set()
    for row in context.ledger.withdrawals.of_project(project):
        if row.proven_at is not None:
            continue
        zone = context.zone(row.zone)
        if not is_reachable(context, zone, now):
            left.add(row.zone)
            continue
        try:
            _erase(context, zone, row.subject)
        except PacsgridError as error:
            log.warning("withdrawal in zone %s: %s", row.zone, error)
            left.add(row.zone)
    return sorted(left)


def _erase(context: ProjectContext, zone: grid.Zone, subject: str) -> None:
    project, ledger = context.project.name, context.ledger
    # Images that were made of the patient's go with the versions that listed the patient.
    remove_retired(context, zone)
    sop_uids = ledger.instances.sop_uids_of_subject(project, subject)
    report = erase_subject(zone, project, subject, sop_uids)
    proof = json.dumps(asdict(report))
    ledger.withdrawals.mark_erased(project, subject, zone.settings.name, proof)
