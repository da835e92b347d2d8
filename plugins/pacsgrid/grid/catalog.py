"""Read replicas from a zone's catalog: one query for all replicas of a study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from irods.column import Like
from irods.models import Collection, DataObject

from pacsgrid.grid.layout import InstanceInfo, collection_of_study
from pacsgrid.grid.zone import Zone

# Replica states of the catalog (DATA_REPL_STATUS).
STALE, GOOD = "0", "1"


@dataclass(frozen=True)
class CatalogReplica:
    """A replica as the catalog lists it.

    Attributes
    ----------
    path
        The data object.
    number
        The replica's number.
    status
        The replica's state; ``1`` is good.
    checksum
        The registered checksum as iRODS writes it (``sha2:...``); empty for none.
    size
        Bytes.
    resource
        The hierarchy of resources that holds it, as ``pair;disk1``.
    file
        Its file in the vault.
    modified
        When it was last written.
    """

    path: str
    number: int
    status: str
    checksum: str
    size: int
    resource: str
    file: str
    modified: datetime


def replicas_of_study(
    zone: Zone, project: str, instances: Sequence[InstanceInfo]
) -> dict[str, list[CatalogReplica]]:
    """Return every replica of a study, those of unfinished deposits included.

    Parameters
    ----------
    zone
        The zone to ask.
    project
        The project that the study belongs to.
    instances
        Instances of the study, at least one.

    Returns
    -------
    dict
        The replicas of each data object, by its path.

    Raises
    ------
    ZoneError, ZoneUnavailableError
        The zone refused, or does not answer.
    """
    return replicas_below(zone, collection_of_study(zone, project, instances))


def replicas_below(zone: Zone, collection: str) -> dict[str, list[CatalogReplica]]:
    """Return every replica of the objects in the collections below one.

    Parameters
    ----------
    zone
        The zone to ask.
    collection
        The collection; objects directly in it are not listed.

    Returns
    -------
    dict
        The replicas of each data object, by its path.

    Raises
    ------
    ZoneError, ZoneUnavailableError
        The zone refused, or does not answer.
    """
    return _replicas(zone, Like(Collection.name, f"{collection}/%"))


def replicas_in(zone: Zone, collection: str) -> dict[str, list[CatalogReplica]]:
    """Return every replica of the objects directly in a collection.

    Parameters
    ----------
    zone
        The zone to ask.
    collection
        The collection; what lies in collections below it is not listed.

    Returns
    -------
    dict
        The replicas of each data object, by its path.

    Raises
    ------
    ZoneError, ZoneUnavailableError
        The zone refused, or does not answer.
    """
    return _replicas(zone, Collection.name == collection)


def _replicas(zone: Zone, where: Any) -> dict[str, list[CatalogReplica]]:
    columns = (
        Collection.name,
        DataObject.name,
        DataObject.replica_number,
        DataObject.replica_status,
        DataObject.checksum,
        DataObject.size,
        DataObject.resc_hier,
        DataObject.path,
        DataObject.modify_time,
    )
    found: dict[str, list[CatalogReplica]] = {}
    for row in zone.rows(columns, where):
        path = f"{row[Collection.name]}/{row[DataObject.name]}"
        found.setdefault(path, []).append(
            CatalogReplica(
                path,
                int(row[DataObject.replica_number]),
                str(row[DataObject.replica_status]),
                row[DataObject.checksum] or "",
                int(row[DataObject.size]),
                row[DataObject.resc_hier],
                row[DataObject.path],
                _utc(row[DataObject.modify_time]),
            )
        )
    return found


def _utc(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=UTC)
