"""Withdraw: a patient out of every zone, replica, trash and index, with proof."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from datetime import datetime

from pacsgrid import grid
from pacsgrid.errors import ConfigError, PacsgridError
from pacsgrid.grid.erase import erase
from pacsgrid.pipeline.context import Line
from pacsgrid.pipeline.received import sweep_received
from pacsgrid.pipeline.release import renew_without
from pacsgrid.pipeline.studies import answers

log = logging.getLogger(__name__)


def withdraw(line: Line, subject: str) -> list[str]:
    """Withdraw a patient, by pseudonym; returns the zones where that is still to be done.

    The studies are off their way before anything is removed, so that nothing puts them back.
    Releases that list them get a new version without them, and the old one is removed. A zone
    that is away is seen to by `catch_up`.

    Raises
    ------
    ConfigError
        The project has no such subject.
    """
    project = line.project.name
    zones = [line.project.home_zone, *line.project.partner_zones]
    if not line.ledger.instances.sop_uids_of_subject(
        project, subject
    ) and not line.ledger.withdrawals.is_withdrawn(project, subject):
        raise ConfigError(f"project {project} has no subject {subject!r}; give its pseudonym")
    refs = line.ledger.withdrawals.withdraw(project, subject, zones)
    for ref in refs:
        line.rooms(ref).wipe()
    sweep_received(line)
    renew_without(line, refs)
    log.info("%d studies withdrawn", len(refs))
    return catch_up(line)


def catch_up(line: Line, now: datetime | None = None) -> list[str]:
    """Erase withdrawn patients from zones where that is not proven yet; returns those left."""
    project, left = line.project.name, set()
    for row in line.ledger.withdrawals.of_project(project):
        if row.proven_at is not None:
            continue
        zone = line.zone(row.zone)
        if not answers(line, zone, now):
            left.add(row.zone)
            continue
        try:
            _erase(line, zone, row.subject)
        except PacsgridError as error:
            log.warning("withdrawal in zone %s: %s", row.zone, error)
            left.add(row.zone)
    return sorted(left)


def _erase(line: Line, zone: grid.Zone, subject: str) -> None:
    project = line.project.name
    done = erase(
        zone, project, subject, line.ledger.instances.sop_uids_of_subject(project, subject)
    )
    line.ledger.withdrawals.mark_erased(
        project, subject, zone.settings.name, json.dumps(asdict(done))
    )
