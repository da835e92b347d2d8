"""A study in a zone: its collection, its AVUs, its copy at a partner, whether the zone answers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime

from pacsgrid import grid
from pacsgrid.errors import ZoneUnavailable
from pacsgrid.ledger import InstanceRow
from pacsgrid.model import AVU
from pacsgrid.pipeline.context import Line
from pacsgrid.pipeline.documents import put_documents
from pacsgrid.uids import collection as below

log = logging.getLogger(__name__)


def study_of(line: Line, zone: grid.Zone, rows: Sequence[InstanceRow]) -> str:
    """Return the collection of a study in a zone."""
    first = rows[0]
    return grid.study_collection(
        zone.settings.name, line.project.name, first.subject, first.study_uid
    )


def study_avus(line: Line, collection: str, rows: Sequence[InstanceRow]) -> dict[str, list[AVU]]:
    """Return the AVUs of a study's collections; instances have none of their own."""
    first = rows[0]
    modalities = sorted({row.modality for row in rows if row.modality})
    avus = {
        collection: [
            AVU("pacsgrid.project", line.project.name),
            AVU("pacsgrid.subject", first.subject),
            AVU("pacsgrid.profile", line.profile.hash),
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


def copy_out(line: Line, ref: str, partner: grid.Zone, rows: Sequence[InstanceRow]) -> int:
    """Copy what a partner lacks of a study, with its AVUs and documents; returns how many objects.

    Raises
    ------
    ConflictError, ZoneUnavailable, ZoneError
        As in `grid.copy_to_partner`.
    """
    name = line.project.name
    grid.ensure_project(partner, name)
    made = grid.copy_to_partner(line.home, partner, name, rows)
    add_study_avus(line, partner, rows)
    put_documents(line, ref, partner, study_of(line, partner, rows), rows)
    return made


def add_study_avus(line: Line, zone: grid.Zone, rows: Sequence[InstanceRow]) -> None:
    """Add the AVUs that a study's collections lack in a zone."""
    for place, avus in study_avus(line, study_of(line, zone, rows), rows).items():
        grid.add_avus(zone, place, avus)


def answers(line: Line, zone: grid.Zone, now: datetime | None = None) -> bool:
    """Whether a zone answers; one that did not is not asked again before its time."""
    now = now or datetime.now(UTC)
    name = zone.settings.name
    known = {one.zone: one for one in line.ledger.absences.all()}
    if name in known and known[name].next_try > now:
        return False
    try:
        zone.ping()
    except ZoneUnavailable as error:
        zone.close()
        absence = line.ledger.absences.mark_absent(name, now)
        log.warning("%s; zone %s is tried again at %s", error, name, absence.next_try.isoformat())
        return False
    if name in known:
        line.ledger.absences.mark_present(name)
        log.info("zone %s answers again", name)
    return True
