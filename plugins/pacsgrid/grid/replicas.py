"""Replicas inside a zone: made, recomputed from storage, repaired from a proven one."""

from __future__ import annotations

from collections.abc import Sequence

import irods.keywords as kw
from irods.exception import SYS_NO_API_PRIV, NetworkException, iRODSException
from irods.manager.data_object_manager import Server_Checksum_Warning
from irods.message import RErrorStack

from pacsgrid.grid.catalog import GOOD, CatalogReplica, replicas_below
from pacsgrid.grid.irods_requests import stored_checksum
from pacsgrid.grid.layout import InstanceInfo, object_path, study_collection
from pacsgrid.grid.resource_tree import replicate_missing
from pacsgrid.grid.zone import Zone, hex_checksum, irods_checksum
from pacsgrid.model import ReplicaProof


def _of_study(
    zone: Zone, project: str, instances: Sequence[InstanceInfo]
) -> dict[str, list[CatalogReplica]]:
    first = instances[0]
    return replicas_below(
        zone, study_collection(zone.settings.name, project, first.subject, first.study_uid)
    )


def replicate_within_zone(
    zone: Zone, project: str, instances: Sequence[InstanceInfo], connections: int = 8
) -> int:
    """Make the replicas that a zone's policy asks for and that are missing; returns how many.

    A put to a replication resource has made them already; this finds the exceptions. An object
    without a good replica has nothing to replicate from.
    """
    if not instances:
        return 0
    there = _of_study(zone, project, instances)
    name = zone.settings.name
    lacking = [
        path
        for path in (object_path(name, project, one) for one in instances)
        if 0 < sum(r.status == GOOD for r in there.get(path, [])) < zone.settings.copies
    ]
    zone.run_parallel(
        lambda path: _replicate(zone, there.get(path, []), path), lacking, connections
    )
    return len(lacking)


def _replicate(zone: Zone, replicas: Sequence[CatalogReplica], path: str) -> None:
    # A stale replica is brought up to date, where no resource may be named; a missing one is made.
    if any(r.status != GOOD for r in replicas):
        zone.session.data_objects.replicate(path, **{kw.UPDATE_REPL_KW: "", kw.ALL_KW: ""})
    else:
        replicate_missing(zone, path, [replica.resource for replica in replicas])


def verify(
    zone: Zone, project: str, instances: Sequence[InstanceInfo], connections: int = 8
) -> list[ReplicaProof]:
    """Let the zone's server recompute every replica's checksum from storage.

    Returns
    -------
    list of ReplicaProof
        One for each replica in the catalog; for an object that is not there, one proof with
        replica -1 and no checksum.
    """
    if not instances:
        return []
    there = _of_study(zone, project, instances)
    name = zone.settings.name
    work: list[tuple[InstanceInfo, CatalogReplica | None]] = []
    for one in instances:
        replicas = there.get(object_path(name, project, one), [])
        work += [(one, replica) for replica in replicas] or [(one, None)]

    def prove(item: tuple[InstanceInfo, CatalogReplica | None]) -> ReplicaProof:
        one, replica = item
        if replica is None:
            return ReplicaProof(one.sop_uid, name, "", -1, "", False)
        sha256 = hex_checksum(recompute_checksum(zone, one, replica))
        if sha256 == one.sha256 and not replica.checksum.startswith("sha2:"):
            # Readers compare with the catalog: every replica is to have its checksum there.
            options = {kw.FORCE_CHKSUM_KW: "", kw.REPL_NUM_KW: str(replica.number)}
            sha256 = hex_checksum(zone.session.data_objects.chksum(replica.path, **options))
        good = sha256 == one.sha256 and replica.status == GOOD and replica.size == one.size
        return ReplicaProof(one.sop_uid, name, replica.resource, replica.number, sha256, good)

    return zone.run_parallel(prove, work, connections)


def recompute_checksum(zone: Zone, one: InstanceInfo, replica: CatalogReplica) -> str:
    """Return the checksum of what is on storage; empty when it cannot be read.

    The checksum in the catalog is not touched: one recomputed from a damaged file would make
    the damage look right from then on.
    """
    try:
        return stored_checksum(zone, replica.path, replica.resource, replica.file, one.size)
    except SYS_NO_API_PRIV:
        return _compared(zone, one, replica)
    except NetworkException:
        raise
    except iRODSException:
        # The server could not read it from storage: that is the finding.
        return ""


def _compared(zone: Zone, one: InstanceInfo, replica: CatalogReplica) -> str:
    """Like `recompute` for an account that is no administrator.

    The server compares storage with the catalog's checksum, which must be ours.
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
