"""A study in a zone: its AVUs, its copy at a partner, and whether the zone can be reached."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime

from pacsgrid import grid
from pacsgrid.errors import ZoneUnavailableError
from pacsgrid.ledger import InstanceRecord
from pacsgrid.model import AVU
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.study_documents import put_study_documents
from pacsgrid.uids import collection as below

log = logging.getLogger(__name__)


def study_avus(
    context: ProjectContext, collection: str, rows: Sequence[InstanceRecord]
) -> dict[str, list[AVU]]:
    """Return the AVUs of a study's collections; instances have none of their own.

    Parameters
    ----------
    context
        The study's project.
    collection
        The study's collection.
    rows
        The study's instances.

    Returns
    -------
    dict
        The AVUs of the study's collection and of each series' collection, by path.
    """
    first = rows[0]
    modalities = sorted({row.modality for row in rows if row.modality})
    if first.result:
        # Without the study's own AVUs: a search for studies must not find their results.
        return {
            collection: [
                AVU("pacsgrid.project", context.project.name),
                AVU("pacsgrid.subject", first.subject),
                AVU("pacsgrid.result", first.result),
            ],
            **{
                below(collection, row.series_uid): [AVU("SeriesInstanceUID", row.series_uid)]
                for row in rows
            },
        }
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


def add_study_avus(
    context: ProjectContext, zone: grid.Zone, rows: Sequence[InstanceRecord]
) -> None:
    """Add the AVUs that a study's collections lack in a zone.

    Parameters
    ----------
    context
        The study's project.
    zone
        The zone.
    rows
        The study's instances.

    Raises
    ------
    ZoneError, ZoneUnavailableError
        The zone refused, or does not answer.
    """
    study = grid.collection_of_study(zone, context.project.name, rows)
    for collection, avus in study_avus(context, study, rows).items():
        grid.add_avus(zone, collection, avus)


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
    add_study_avus(context, partner, rows)
    put_study_documents(context, ref, partner, rows)
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
