"""What a zone's catalog says of a study: one query for all replicas."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from irods.column import Like
from irods.models import Collection, DataObject

from pacsgrid.grid.zone import Zone

STALE, GOOD = "0", "1"


@dataclass(frozen=True)
class CatalogReplica:
    """A replica as the catalog has it.

    `status` '1' is good, `checksum` is in iRODS's spelling, `file` the place in the vault.
    """

    path: str
    number: int
    status: str
    checksum: str
    size: int
    resource: str
    file: str
    modified: datetime


def replicas_below(zone: Zone, collection: str) -> dict[str, list[CatalogReplica]]:
    """Return every replica in the series collections of a study, by object path."""
    return _replicas(zone, Like(Collection.name, f"{collection}/%"))


def replicas_in(zone: Zone, collection: str) -> dict[str, list[CatalogReplica]]:
    """Return every replica of a collection's own objects, by object path."""
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
