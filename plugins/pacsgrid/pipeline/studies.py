"""A study in a zone: its AVUs, its copy at a partner, and whether the zone can be reached."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime

from pacsgrid import grid
from pacsgrid.errors import ZoneUnavailableError
from pacsgrid.ledger import InstanceRecord
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.manifest import Manifest
from pacsgrid.pipeline.study_avus import study_avus
from pacsgrid.pipeline.study_documents import put_study_documents, searchable

log = logging.getLogger(__name__)


def add_study_avus(
    context: ProjectContext, zone: grid.Zone, rows: Sequence[InstanceRecord], manifest: Manifest
) -> None:
    """Give a study's collections in a zone the AVUs that they must have.

    Parameters
    ----------
    context
        The study's project.
    ref
        The study's reference.
    zone
        The zone.
    rows
        The study's instances.
    manifest
        The study's manifest.

    Raises
    ------
    ZoneError, ZoneUnavailableError
        The zone refused, or does not answer.
    """
    study = grid.collection_of_study(zone, context.project.name, rows)
    known = searchable(context, manifest, rows)
    grid.set_avus(zone, study, study_avus(study, known, rows[0].result))


def copy_study_to_partner(
    context: ProjectContext, ref: str, partner: grid.Zone, rows: Sequence[InstanceRecord]
) -> int:
    """Copy what a partner lacks of a study, with its AVUs and documents.

    Parameters
    ----------
    context
        The study's project.
    ref
        The study's reference.
    partner
        The zone to copy to.
    rows
        The study's instances.

    Returns
    -------
    int
        How many objects were copied.

    Raises
    ------
    ConflictError, ZoneUnavailableError, ZoneError
        As in `grid.copy_to_partner`.
    """
    name = context.project.name
    grid.ensure_project(partner, name)
    copied = grid.copy_to_partner(context.home, partner, name, rows)
    manifest = put_study_documents(context, ref, partner, rows)
    add_study_avus(context, partner, rows, manifest)
    return copied


def is_reachable(context: ProjectContext, zone: grid.Zone, now: datetime | None = None) -> bool:
    """Return whether a zone answers.

    A zone that did not answer is not asked again before its time; the ledger remembers when.

    Parameters
    ----------
    context
        The project.
    zone
        The zone.
    now
        The current time.

    Returns
    -------
    bool
        Whether it answered just now; False too if it was not asked.

    Raises
    ------
    ZoneError
        The zone refuses for good, as with a wrong password.
    """
    now = now or datetime.now(UTC)
    name = zone.settings.name
    known = {one.zone: one for one in context.ledger.absences.all()}
    if name in known and known[name].next_try > now:
        return False
    try:
        zone.ping()
    except ZoneUnavailableError as error:
        zone.close()
        absence = context.ledger.absences.mark_absent(name, now)
        log.warning("%s; zone %s is tried again at %s", error, name, absence.next_try.isoformat())
        return False
    if name in known:
        context.ledger.absences.mark_present(name)
        log.info("zone %s answers again", name)
    return True
