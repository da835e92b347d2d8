"""Make missing replicas inside a zone, and recompute replicas from storage."""

from __future__ import annotations

from collections.abc import Sequence

import irods.keywords as kw
from irods.exception import SYS_NO_API_PRIV, NetworkException, iRODSException
from irods.manager.data_object_manager import Server_Checksum_Warning
from irods.message import RErrorStack

from pacsgrid.grid.catalog import GOOD, CatalogReplica, replicas_of_study
from pacsgrid.grid.irods_requests import stored_checksum
from pacsgrid.grid.layout import InstanceInfo, object_path
from pacsgrid.grid.resource_tree import replicate_missing
from pacsgrid.grid.zone import CONNECTIONS, Zone, hex_checksum, irods_checksum
from pacsgrid.model import ReplicaProof


def replicate_within_zone(
    zone: Zone, project: str, instances: Sequence[InstanceInfo], connections: int = CONNECTIONS
) -> int:
    """Make the replicas that a zone's policy asks for and that are missing.

    A put to a replication resource has made them already; this finds the exceptions. Objects
    without a good replica are left alone: there is nothing to replicate from.

    Parameters
    ----------
    zone
        The zone; its settings say how many copies it holds.
    project
        The project's name.
    instances
        The instances of one study.
    connections
        How many connections to use at once.

    Returns
    -------
    int
        How many objects lacked replicas.

    Raises
    ------
    ZoneError, ZoneUnavailableError
        The zone refused, or does not answer.
    """
    if not instances:
        return 0
    present = replicas_of_study(zone, project, instances)
    name = zone.settings.name
    lacking = [
        path
        for path in (object_path(name, project, one) for one in instances)
        if 0 < sum(r.status == GOOD for r in present.get(path, [])) < zone.settings.copies
    ]
    zone.run_parallel(
        lambda path: _replicate(zone, present.get(path, []), path), lacking, connections
    )
    return len(lacking)


def _replicate(zone: Zone, replicas: Sequence[CatalogReplica], path: str) -> None:
    # A stale replica is updated, and then no resource may be named; a missing one is made.
    if any(r.status != GOOD for r in replicas):
        zone.session.data_objects.replicate(path, **{kw.UPDATE_REPL_KW: "", kw.ALL_KW: ""})
    else:
        replicate_missing(zone, path, [replica.resource for replica in replicas])


def verify(
    zone: Zone, project: str, instances: Sequence[InstanceInfo], connections: int = CONNECTIONS
) -> list[ReplicaProof]:
    """Make the zone's server recompute every replica's checksum from storage.

    Parameters
    ----------
    zone
        The zone.
    project
        The project's name.
    instances
        The instances of one study.
    connections
        How many connections to use at once.

    Returns
    -------
    list of ReplicaProof
        One for each replica in the catalog. An object that does not exist has one proof, with
        replica -1 and no checksum.

    Raises
    ------
    ZoneError, ZoneUnavailableError
        The zone refused, or does not answer.
    """
    if not instances:
        return []
    present = replicas_of_study(zone, project, instances)
    name = zone.settings.name
    work: list[tuple[InstanceInfo, CatalogReplica | None]] = []
    for one in instances:
        replicas = present.get(object_path(name, project, one), [])
        work += [(one, replica) for replica in replicas] or [(one, None)]

    return zone.run_parallel(lambda item: prove(zone, *item), work, connections)


def prove(zone: Zone, one: InstanceInfo, replica: CatalogReplica | None) -> ReplicaProof:
    """Make the zone's server recompute a replica's checksum from storage.

    Errors of python-irodsclient are not translated.

    Parameters
    ----------
    zone
        The zone.
    one
        The instance that the replica must hold.
    replica
        The replica; None if there is none.

    Returns
    -------
    ReplicaProof
        Good if its bytes are right and the catalog calls it good.
    """
    name = zone.settings.name
    if replica is None:
        return ReplicaProof(one.sop_uid, name, "", -1, "", False)
    sha256 = hex_checksum(recompute_checksum(zone, one, replica))
    if sha256 == one.sha256 and not replica.checksum.startswith("sha2:"):
        # Readers compare with the catalog, so every replica must be registered with one.
        options = {kw.FORCE_CHKSUM_KW: "", kw.REPL_NUM_KW: str(replica.number)}
        sha256 = hex_checksum(zone.session.data_objects.chksum(replica.path, **options))
    good = sha256 == one.sha256 and replica.status == GOOD and replica.size == one.size
    return ReplicaProof(one.sop_uid, name, replica.resource, replica.number, sha256, good)


def recompute_checksum(zone: Zone, one: InstanceInfo, replica: CatalogReplica) -> str:
    """Return the checksum of a replica's bytes on storage.

    The checksum in the catalog is not changed: one that is recomputed from a damaged file would
    make the damage look right from then on. Errors of python-irodsclient are not translated.

    Parameters
    ----------
    zone
        The zone.
    one
        The instance that the replica must hold.
    replica
        The replica.

    Returns
    -------
    str
        The checksum as iRODS writes it; empty when the replica cannot be read.
    """
    try:
        return stored_checksum(zone, replica.path, replica.resource, replica.file, one.size)
    except SYS_NO_API_PRIV:
        return _compared_by_server(zone, one, replica)
    except NetworkException:
        raise
    except iRODSException:
        # The server could not read the replica from storage: that is the finding.
        return ""


def _compared_by_server(zone: Zone, one: InstanceInfo, replica: CatalogReplica) -> str:
    """Do the same as `recompute_checksum` with an account that is not an administrator's.

    The server compares storage with the registered checksum, which must be ours.
    """
    if replica.checksum != irods_checksum(one.sha256):
        return replica.checksum
    options = {kw.VERIFY_CHKSUM_KW: "", kw.REPL_NUM_KW: str(replica.number)}
    try:
        zone.session.data_objects.chksum(replica.path, **options, r_error=RErrorStack())
    except NetworkException:
        raise
    except (iRODSException, Server_Checksum_Warning):
        return ""
    return replica.checksum
