"""Deposit a study: put the instances that a zone lacks, and check them before readers see them.

A series arrives in a collection beside its own (`<series UID>.part`, which no reader looks for).
It is renamed in one operation once every checksum that the server computed equals ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import irods.keywords as kw

from pacsgrid.errors import ConflictError, WorkFilesMissingError
from pacsgrid.grid.avus import set_avus
from pacsgrid.grid.bundle import put_bundles
from pacsgrid.grid.catalog import GOOD, CatalogReplica, replicas_below
from pacsgrid.grid.layout import PARTIAL, InstanceInfo, collection_of_study, object_path
from pacsgrid.grid.put import Opener, damaged_on_arrival, put_object
from pacsgrid.grid.remove import remove_object
from pacsgrid.grid.replicas import recompute_checksum
from pacsgrid.grid.resource_tree import replicate_missing
from pacsgrid.grid.zone import CONNECTIONS, Zone, irods_checksum, translated_errors
from pacsgrid.model import AVU, AnonymisedInstance
from pacsgrid.uids import collection as below

_I = TypeVar("_I", bound=InstanceInfo)
Catalog = Mapping[str, Sequence[CatalogReplica]]


@dataclass(frozen=True)
class DepositReport:
    """What a deposit did.

    Attributes
    ----------
    put
        Objects that were put.
    skipped
        Objects that were in the zone already, with the same checksum.
    bytes
        Bytes that were put.
    """

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
    """Put a study's instances and AVUs into a zone; skip what is there already.

    Parameters
    ----------
    zone
        The zone to deposit in.
    project
        The project's name.
    instances
        The study's instances, with their files in the outbox.
    avus
        The AVUs of the study's collection and of those of its series, by path.
    connections
        How many connections to use at once.

    Returns
    -------
    DepositReport
        How much was put, and how much was there.

    Raises
    ------
    ConflictError
        The zone holds an object with the same path and other content; nothing is overwritten.
    ZoneUnavailableError
        The zone does not answer, or an object arrived damaged.
    ZoneError
        The zone refused, or a file changed in the outbox.
    WorkFilesMissingError
        The zone lacks an instance whose file is no longer in the outbox.
    """
    report = put_missing(zone, project, instances, _outbox_file, connections)
    if avus:
        set_avus(zone, collection_of_study(zone, project, instances), avus)
    return report


def _outbox_file(one: AnonymisedInstance) -> Path:
    if not one.path.is_file():
        raise WorkFilesMissingError(f"the outbox lacks instance {one.sop_uid}")
    return one.path


def put_missing(
    zone: Zone,
    project: str,
    instances: Sequence[_I],
    opener: Opener[_I],
    connections: int,
) -> DepositReport:
    """Put the instances of a study that a zone lacks.

    Parameters
    ----------
    zone
        The zone to put them in.
    project
        The project's name.
    instances
        The instances of one study.
    opener
        Returns the bytes of an instance: a file, or an open stream.
    connections
        How many connections to use at once.

    Returns
    -------
    DepositReport
        How much was put, and how much was there.

    Raises
    ------
    ConflictError
        The zone holds an object with the same path and other content; nothing is overwritten.
    ZoneUnavailableError
        The zone does not answer, or an object arrived damaged.
    ZoneError
        The zone refused, or the bytes read are not those of the anonymiser.
    """
    if not instances:
        return DepositReport(0, 0, 0)
    name = zone.settings.name
    study = collection_of_study(zone, project, instances)
    present = replicas_below(zone, study)
    missing = [
        one
        for one in instances
        if not _is_present(zone, present, object_path(name, project, one), one)
    ]
    if missing:
        zone.extend_timeout(max(one.size for one in missing))
        _upload(zone, study, missing, present, opener, connections)
        arrived = replicas_below(zone, study)
        _finish_unpacked(zone, study, missing, arrived, connections)
        if any(_lacks_checksum(arrived, _incoming(study, one)) for one in missing):
            arrived = replicas_below(zone, study)
        _check_arrived(zone, study, missing, arrived)
        for series in sorted({one.series_uid for one in missing}):
            _rename_series(zone, below(study, series), arrived, connections)
    put_bytes = sum(one.size for one in missing)
    return DepositReport(len(missing), len(instances) - len(missing), put_bytes)


def _incoming(study: str, one: InstanceInfo) -> str:
    """Return the path under which an instance arrives."""
    incoming = below(study, one.series_uid, suffix=PARTIAL)
    return below(incoming, one.sop_uid, suffix=".dcm")


def _is_present(zone: Zone, present: Catalog, path: str, one: InstanceInfo) -> bool:
    """Return whether an object is in the zone; raise ConflictError if its content differs."""
    replicas = present.get(path)
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
        f"{path} is in the zone with checksum {known[0] or 'none'}, but ours is {expected}; "
        "nothing was overwritten, compare the two"
    )


def _upload(
    zone: Zone,
    study: str,
    missing: Sequence[_I],
    present: Catalog,
    opener: Opener[_I],
    connections: int,
) -> None:
    """Put what is not in the incoming collections yet.

    Unusable leftovers of an interrupted deposit are removed first.
    """
    wanted = {_incoming(study, one): one for one in missing}
    unusable = [
        path
        for path, replicas in present.items()
        if path.rsplit("/", 2)[0] == study
        and path.rsplit("/", 1)[0].endswith(PARTIAL)
        and not (path in wanted and _is_usable(replicas, wanted[path]))
    ]
    zone.run_parallel(lambda path: remove_object(zone, path), unusable, connections)
    with translated_errors(zone.settings.name):
        for series in sorted({one.series_uid for one in missing}):
            zone.session.collections.create(below(study, series, suffix=PARTIAL))
    todo = {path: one for path, one in wanted.items() if path in unusable or not present.get(path)}
    if zone.settings.bundle:
        todo = put_bundles(zone, study, todo, opener, connections)
    zone.run_parallel(lambda item: put_object(zone, *item, opener), todo.items(), connections)


def _is_usable(replicas: Sequence[CatalogReplica], one: InstanceInfo) -> bool:
    expected = irods_checksum(one.sha256)
    return all(
        r.status == GOOD and r.size == one.size and r.checksum in ("", expected) for r in replicas
    )


def _lacks_checksum(arrived: Catalog, path: str) -> bool:
    return any(not replica.checksum for replica in arrived.get(path, ()))


def _finish_unpacked(
    zone: Zone, study: str, missing: Sequence[InstanceInfo], arrived: Catalog, connections: int
) -> None:
    """Make the server compute the checksums that unpacking a bundle does not, then replicate."""

    def finish(one: InstanceInfo) -> None:
        path = _incoming(study, one)
        answer = zone.session.data_objects.chksum(path, **{kw.CHKSUM_ALL_KW: ""})
        if answer != irods_checksum(one.sha256):
            raise damaged_on_arrival(zone, path)
        replicate_missing(zone, path, [replica.resource for replica in arrived[path]])

    unfinished = [one for one in missing if _lacks_checksum(arrived, _incoming(study, one))]
    zone.run_parallel(finish, unfinished, connections)


def _check_arrived(
    zone: Zone, study: str, missing: Sequence[InstanceInfo], arrived: Catalog
) -> None:
    """Raise ZoneUnavailableError unless every replica of every instance has our checksum."""
    for one in missing:
        path = _incoming(study, one)
        expected = irods_checksum(one.sha256)
        replicas = arrived.get(path, [])
        if not replicas or any(replica.checksum != expected for replica in replicas):
            raise damaged_on_arrival(zone, path)


def _rename_series(zone: Zone, series: str, arrived: Catalog, connections: int) -> None:
    """Move what arrived to its final name: a new series in one operation, else each object."""
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
