"""Deposit: what a zone lacks of a study, put and proven before it bears its final name.

A series arrives in a collection beside its own (`<series UID>.part`, which no reader looks for)
and gets its name in one operation when every checksum that the server computed equals ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import irods.keywords as kw
from irods.exception import (
    CAT_NO_ROWS_FOUND,
    CAT_UNKNOWN_FILE,
    LOCKED_DATA_OBJECT_ACCESS,
    CollectionDoesNotExist,
    DataObjectDoesNotExist,
)
from irods.meta import AVUOperation, iRODSMeta
from irods.models import Collection

from pacsgrid.errors import ConflictError, WorkFilesMissingError, ZoneUnavailableError
from pacsgrid.grid.bundle import put_bundles
from pacsgrid.grid.catalog import GOOD, CatalogReplica, replicas_below, replicas_in
from pacsgrid.grid.irods_requests import put_buffer
from pacsgrid.grid.layout import InstanceInfo, object_path, study_collection
from pacsgrid.grid.put import Opener, put_object
from pacsgrid.grid.repair import unlock
from pacsgrid.grid.replicas import recompute_checksum
from pacsgrid.grid.resource_tree import replicate_missing
from pacsgrid.grid.zone import Zone, bytes_checksum, irods_checksum, translated_errors
from pacsgrid.model import AVU, AnonymisedInstance
from pacsgrid.uids import collection as below

PARTIAL = ".part"
CONNECTIONS = 8
# What servers answer to the removal of an object that is not there; a 5.0.2 says the last one.
_ABSENT = (
    CAT_UNKNOWN_FILE,
    DataObjectDoesNotExist,
    CollectionDoesNotExist,
    CAT_NO_ROWS_FOUND,
)
_D = TypeVar("_D", bound=InstanceInfo)
Catalog = Mapping[str, Sequence[CatalogReplica]]


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
    connections: int = CONNECTIONS,
) -> DepositReport:
    """Put a study's instances and AVUs into a zone; what is there already is not put again.

    Raises
    ------
    ConflictError
        An object with other content stands where one belongs; nothing is overwritten.
    ZoneUnavailableError, ZoneError
        The zone did not answer, or refused; or a file of the outbox was damaged meanwhile.
    WorkFilesMissingError
        The zone lacks an instance whose file is not in the outbox any more.
    """
    report = put_missing(zone, project, instances, _file, connections)
    for collection, wanted in avus.items():
        add_avus(zone, collection, wanted)
    return report


def _file(one: AnonymisedInstance) -> Path:
    if not one.path.is_file():
        raise WorkFilesMissingError(f"the outbox lacks instance {one.sop_uid}")
    return one.path


def put_missing(
    zone: Zone,
    project: str,
    instances: Sequence[_D],
    opener: Opener[_D],
    connections: int,
) -> DepositReport:
    """Put those of a study's instances that the zone lacks, each read from what `opener` gives."""
    if not instances:
        return DepositReport(0, 0, 0)
    name = zone.settings.name
    first = instances[0]
    study = study_collection(name, project, first.subject, first.study_uid)
    there = replicas_below(zone, study)
    missing = [
        one for one in instances if not _stands(zone, there, object_path(name, project, one), one)
    ]
    if missing:
        zone.extend_timeout(max(one.size for one in missing))
        _bring(zone, study, missing, there, opener, connections)
        arrived = replicas_below(zone, study)
        _complete(zone, study, missing, arrived, connections)
        if any(_unfinished(arrived, _incoming(study, one)) for one in missing):
            arrived = replicas_below(zone, study)
        _insist(zone, study, missing, arrived)
        for series in sorted({one.series_uid for one in missing}):
            _name(zone, below(study, series), arrived, connections)
    put_bytes = sum(one.size for one in missing)
    return DepositReport(len(missing), len(instances) - len(missing), put_bytes)


def _incoming(study: str, one: InstanceInfo) -> str:
    incoming = below(study, one.series_uid, suffix=PARTIAL)
    return below(incoming, one.sop_uid, suffix=".dcm")


def _stands(zone: Zone, there: Catalog, path: str, one: InstanceInfo) -> bool:
    replicas = there.get(path)
    if not replicas:
        return False
    expected = irods_checksum(one.sha256)
    known = [r.checksum for r in replicas if r.checksum.startswith("sha2:")]
    if not known:
        # No checksum, or one of another scheme: only the storage can tell.
        with translated_errors(zone.settings.name):
            known = [recompute_checksum(zone, one, replica) for replica in replicas]
    if expected in known and any(replica.size == one.size for replica in replicas):
        return True
    raise ConflictError(
        f"{path} stands with checksum {known[0] or 'none'}, ours is {expected}; "
        "nothing was overwritten, compare the two"
    )


def _bring(
    zone: Zone,
    study: str,
    missing: Sequence[_D],
    there: Catalog,
    opener: Opener[_D],
    connections: int,
) -> None:
    """Put what is not in the incoming collections yet; what an interruption spoiled goes first."""
    wanted = {_incoming(study, one): one for one in missing}
    spoiled = [
        path
        for path, replicas in there.items()
        if path.rsplit("/", 1)[0].endswith(PARTIAL)
        and not (path in wanted and _usable(replicas, wanted[path]))
    ]
    zone.run_parallel(lambda path: remove_object(zone, path), spoiled, connections)
    with translated_errors(zone.settings.name):
        for series in sorted({one.series_uid for one in missing}):
            zone.session.collections.create(below(study, series, suffix=PARTIAL))
    todo = {path: one for path, one in wanted.items() if path in spoiled or not there.get(path)}
    if zone.settings.bundle:
        todo = put_bundles(zone, study, todo, opener, connections)
    zone.run_parallel(lambda item: put_object(zone, *item, opener), todo.items(), connections)


def _usable(replicas: Sequence[CatalogReplica], one: InstanceInfo) -> bool:
    expected = irods_checksum(one.sha256)
    return all(
        r.status == GOOD and r.size == one.size and r.checksum in ("", expected) for r in replicas
    )


def _unfinished(arrived: Catalog, path: str) -> bool:
    return any(not replica.checksum for replica in arrived.get(path, ()))


def _complete(
    zone: Zone, study: str, missing: Sequence[InstanceInfo], arrived: Catalog, connections: int
) -> None:
    """Let the server compute the checksums that unpacking a bundle does not, then replicate."""

    def complete(one: InstanceInfo) -> None:
        path = _incoming(study, one)
        answer = zone.session.data_objects.chksum(path, **{kw.CHKSUM_ALL_KW: ""})
        if answer != irods_checksum(one.sha256):
            raise ZoneUnavailableError(f"zone {zone.settings.name}: {path} arrived damaged")
        replicate_missing(zone, path, [replica.resource for replica in arrived[path]])

    bare = [one for one in missing if _unfinished(arrived, _incoming(study, one))]
    zone.run_parallel(complete, bare, connections)


def _insist(zone: Zone, study: str, missing: Sequence[InstanceInfo], arrived: Catalog) -> None:
    for one in missing:
        path = _incoming(study, one)
        expected = irods_checksum(one.sha256)
        replicas = arrived.get(path, [])
        if not replicas or any(replica.checksum != expected for replica in replicas):
            raise ZoneUnavailableError(f"zone {zone.settings.name}: {path} arrived damaged")


def _name(zone: Zone, series: str, arrived: Catalog, connections: int) -> None:
    """Give what arrived its final name: the whole series at once where it is new."""
    with translated_errors(zone.settings.name):
        if not zone.session.collections.exists(series):
            zone.session.collections.move(series + PARTIAL, series)
            return
    paths = [path for path in arrived if path.startswith(f"{series}{PARTIAL}/")]

    def move(path: str) -> None:
        zone.session.data_objects.move(path, f"{series}/{path.rsplit('/', 1)[1]}")

    zone.run_parallel(move, paths, connections)
    with translated_errors(zone.settings.name):
        zone.session.collections.remove(series + PARTIAL, recurse=False, force=True)


def remove_object(zone: Zone, path: str) -> None:
    """Remove an object for good, if it is there.

    What an interrupted put left intermediate or locked goes too, if the account is an
    administrator's: a server keeps such a lock for good.
    """
    with translated_errors(zone.settings.name):
        try:
            try:
                zone.session.data_objects.unlink(path, force=True)
            except LOCKED_DATA_OBJECT_ACCESS:
                unlock(zone, replicas_in(zone, path.rsplit("/", 1)[0])[path])
                zone.session.data_objects.unlink(path, force=True)
        except _ABSENT:
            return


def put_document(zone: Zone, path: str, data: bytes) -> None:
    """Put a small document, replaced when it differs from what stands there."""
    with translated_errors(zone.settings.name):
        objects = zone.session.data_objects
        if objects.exists(path):
            with objects.open(path, "r", allow_redirect=False) as stream:
                if stream.read() == data:
                    return
            remove_object(zone, path)
        remove_object(zone, path + PARTIAL)
        put_buffer(zone, path + PARTIAL, data, bytes_checksum(data))
        objects.move(path + PARTIAL, path)


def add_avus(zone: Zone, collection: str, wanted: Sequence[AVU]) -> int:
    """Add the AVUs that a collection lacks, in one atomic operation; returns how many."""
    with translated_errors(zone.settings.name):
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


def set_avu(zone: Zone, collection: str, wanted: AVU) -> bool:
    """Let a collection have one value of an attribute; returns whether that was a change."""
    with translated_errors(zone.settings.name):
        metadata = zone.session.metadata
        have = [m for m in metadata.get(Collection, collection) if m.name == wanted.attribute]
        if [(m.value, m.units or "") for m in have] == [(wanted.value, wanted.units)]:
            return False
        new = iRODSMeta(wanted.attribute, wanted.value, wanted.units or None)
        metadata.apply_atomic_operations(
            Collection,
            collection,
            *(AVUOperation(operation="remove", avu=old) for old in have),
            AVUOperation(operation="add", avu=new),
        )
    return True
