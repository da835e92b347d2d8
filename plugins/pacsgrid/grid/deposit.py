"""Deposit: many objects over several connections, never a bad one under its final name."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import irods.keywords as kw
from irods.meta import AVUOperation, iRODSMeta
from irods.models import Collection

from pacsgrid.errors import ConflictError, ZoneUnavailable
from pacsgrid.grid.catalog import CatalogReplica, replicas_below
from pacsgrid.grid.layout import Deposited, object_path, study_collection
from pacsgrid.grid.zone import Zone, irods_checksum, translated
from pacsgrid.model import AVU, AnonymisedInstance

CHUNK = 4 << 20
# Objects under this name are on their way; no reader's pattern `*.dcm` finds them.
PARTIAL = ".part"


@dataclass(frozen=True)
class DepositReport:
    """How many objects were put, how many were there and proven equal, and the bytes put."""

    put: int
    skipped: int
    bytes: int


def deposit(
    zone: Zone,
    project: str,
    instances: Sequence[AnonymisedInstance],
    avus: Mapping[str, Sequence[AVU]],
    connections: int = 4,
) -> DepositReport:
    """Put a study's instances and AVUs into a zone; what is there already is not put again.

    Raises
    ------
    ConflictError
        An object with other content stands where one belongs; nothing is overwritten.
    ZoneUnavailable, ZoneError
        The zone did not answer, or refused.
    """
    by_uid = {instance.sop_uid: instance for instance in instances}
    report = put_missing(
        zone, project, instances, lambda one: by_uid[one.sop_uid].path.open("rb"), connections
    )
    for collection, wanted in avus.items():
        add_avus(zone, collection, wanted)
    return report


def put_missing(
    zone: Zone,
    project: str,
    instances: Sequence[Deposited],
    opener: Callable[[Deposited], BinaryIO],
    connections: int,
) -> DepositReport:
    """Put those of a study's instances that the zone lacks, each read from what `opener` gives."""
    if not instances:
        return DepositReport(0, 0, 0)
    name = zone.settings.name
    first = instances[0]
    study = study_collection(name, project, first.subject, first.study_uid)
    there = replicas_below(zone, study)
    missing = [one for one in instances if not _stands(there, object_path(name, project, one), one)]
    with translated(name):
        for series in sorted({one.series_uid for one in missing}):
            zone.session.collections.create(f"{study}/{series}")

    def put(one: Deposited) -> None:
        final = object_path(name, project, one)
        partial = final + PARTIAL
        if partial in there:
            zone.session.data_objects.unlink(partial, force=True)
        with opener(one) as source:
            write(zone, partial, source)

    zone.each(put, missing, connections)
    if missing:
        arrived = replicas_below(zone, study)

        def settle(one: Deposited) -> None:
            final = object_path(name, project, one)
            replicas = arrived.get(final + PARTIAL, [])
            expected = irods_checksum(one.sha256)
            if not replicas or any(replica.checksum != expected for replica in replicas):
                raise ZoneUnavailable(f"zone {name}: {final} arrived with another checksum")
            zone.session.data_objects.move(final + PARTIAL, final)

        zone.each(settle, missing, connections)
    put_bytes = sum(one.size for one in missing)
    return DepositReport(len(missing), len(instances) - len(missing), put_bytes)


def _stands(there: Mapping[str, Sequence[CatalogReplica]], path: str, one: Deposited) -> bool:
    replicas = there.get(path)
    if not replicas:
        return False
    expected = irods_checksum(one.sha256)
    if any(replica.checksum == expected and replica.size == one.size for replica in replicas):
        return True
    raise ConflictError(
        f"{path} stands with checksum {replicas[0].checksum or 'none'}, ours is {expected}; "
        "nothing was overwritten, compare the two"
    )


def write(zone: Zone, path: str, source: BinaryIO) -> None:
    """Write a new object under the zone's root resource, its checksum registered at close."""
    options = {kw.REG_CHKSUM_KW: "", kw.RESC_NAME_KW: zone.settings.resource}
    with zone.session.data_objects.open(path, "w", allow_redirect=False, **options) as target:
        while chunk := source.read(CHUNK):
            target.write(chunk)


def put_text(zone: Zone, path: str, data: bytes) -> None:
    """Put a small document, replaced when it differs from what stands there."""
    with translated(zone.settings.name):
        objects = zone.session.data_objects
        if objects.exists(path):
            with objects.open(path, "r", allow_redirect=False) as stream:
                if stream.read() == data:
                    return
            objects.unlink(path, force=True)
        if objects.exists(path + PARTIAL):
            objects.unlink(path + PARTIAL, force=True)
        write(zone, path + PARTIAL, io.BytesIO(data))
        objects.move(path + PARTIAL, path)


def add_avus(zone: Zone, collection: str, wanted: Sequence[AVU]) -> int:
    """Add the AVUs that a collection lacks, in one atomic operation; returns how many."""
    with translated(zone.settings.name):
        metadata = zone.session.metadata
        have = {(m.name, m.value, m.units or "") for m in metadata.get(Collection, collection)}
        missing = [a for a in wanted if (a.attribute, a.value, a.units) not in have]
        if missing:
            metadata.apply_atomic_operations(
                Collection,
                collection,
                *(
                    AVUOperation(
                        operation="add", avu=iRODSMeta(a.attribute, a.value, a.units or None)
                    )
                    for a in missing
                ),
            )
    return len(missing)
