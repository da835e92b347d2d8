"""A study in a zone: its collection, its AVUs, its copy at a partner, whether the zone answers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime

from pacsgrid import grid
from pacsgrid.errors import ZoneUnavailableError
from pacsgrid.ledger import InstanceRow
from pacsgrid.model import AVU
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.study_documents import put_study_documents
from pacsgrid.uids import collection as below

log = logging.getLogger(__name__)


def collection_of_study(
    context: ProjectContext, zone: grid.Zone, rows: Sequence[InstanceRow]
) -> str:
    """Return the collection of a study in a zone."""
    first = rows[0]
    return grid.study_collection(
        zone.settings.name, context.project.name, first.subject, first.study_uid
    )


def study_avus(
    context: ProjectContext, collection: str, rows: Sequence[InstanceRow]
) -> dict[str, list[AVU]]:
    """Return the AVUs of a study's collections; instances have none of their own."""
    first = rows[0]
    modalities = sorted({row.modality for row in rows if row.modality})
    avus = {
        collection: [
            AVU("pacsgrid.project", context.project.name),
            AVU("pacsgrid.subject", first.subject),
            AVU("pacsgrid.profile", context.profile.hash),
            AVU("StudyInstanceUID", first.study_uid),
            *(AVU("Modality", modality) for modality in modalities),
        ]
    }
    for row in rows:
        avus.setdefault(
            below(collection, row.series_uid),
            [AVU("SeriesInstanceUID", row.series_uid), AVU("Modality", row.modality or "OT")],
        )
    return avus


def copy_study_to_partner(
    context: ProjectContext, ref: str, partner: grid.Zone, rows: Sequence[InstanceRow]
) -> int:
    """Copy what a partner lacks of a study, with its AVUs and documents; returns how many objects.

    Raises
    ------
    ConflictError, ZoneUnavailableError, ZoneError
        As in `grid.copy_to_partner`.
    """
    name = context.project.name
    grid.ensure_project(partner, name)
    made = grid.copy_to_partner(context.home, partner, name, rows)
    add_study_avus(context, partner, rows)
    put_study_documents(context, ref, partner, collection_of_study(context, partner, rows), rows)
    return made


def add_study_avus(context: ProjectContext, zone: grid.Zone, rows: Sequence[InstanceRow]) -> None:
    """Add the AVUs that a study's collections lack in a zone."""
    for place, avus in study_avus(context, collection_of_study(context, zone, rows), rows).items():
        grid.add_avus(zone, place, avus)


def is_reachable(context: ProjectContext, zone: grid.Zone, now: datetime | None = None) -> bool:
    """Whether a zone answers; one that did not is not asked again before its time."""
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
