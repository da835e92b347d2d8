"""Replace bad replicas by copies of a proven one; an unproven replica is never a source."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import irods.keywords as kw

from pacsgrid.errors import ZoneError
from pacsgrid.grid.catalog import GOOD, STALE, CatalogReplica, replicas_of_study
from pacsgrid.grid.layout import InstanceInfo, object_path
from pacsgrid.grid.resource_tree import replicate_missing
from pacsgrid.grid.zone import Zone, translated_errors
from pacsgrid.model import ReplicaProof

# A write (replica intermediate or locked) that is older than this was abandoned. The age is the
# difference of two clocks, which may disagree by minutes, or by hours where nobody sets them.
ABANDONED = timedelta(hours=24)


@dataclass
class RepairReport:
    """What a repair did.

    Attributes
    ----------
    repaired
        How many replicas were replaced, or marked good again.
    lost
        SOP UIDs of which no replica in this zone has the right bytes; another zone's copy is
        needed.
    busy
        SOP UIDs that are being written; the next verification will tell.
    refused
        SOP UIDs that the server did not let us repair (storage full, resource down).
    """

    repaired: int = 0
    lost: list[str] = field(default_factory=list)
    busy: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def repair(
    zone: Zone,
    project: str,
    proofs: Sequence[ReplicaProof],
    instances: Sequence[InstanceInfo],
    now: datetime | None = None,
) -> RepairReport:
    """Replace bad replicas by copies of a proven good one in the same zone.

    A bad replica is marked stale first, so that no reader is given it and no replication copies
    it. A replica that the catalog calls stale, but that has the right bytes, is marked good.

    Parameters
    ----------
    zone
        The zone.
    project
        The project's name.
    proofs
        What `verify` found out about the instances.
    instances
        The instances of one study.
    now
        The time from which the age of an unfinished write is counted.

    Returns
    -------
    RepairReport
        What was repaired, and what could not be.

    Raises
    ------
    ZoneUnavailableError
        The zone does not answer.
    """
    report = RepairReport()
    by_uid: dict[str, list[ReplicaProof]] = defaultdict(list)
    for proof in proofs:
        by_uid[proof.sop_uid].append(proof)
    wanted = [one for one in instances if any(not p.good for p in by_uid[one.sop_uid])]
    if not wanted:
        return report
    name = zone.settings.name
    present = replicas_of_study(zone, project, wanted)
    for one in wanted:
        path = object_path(name, project, one)
        try:
            with translated_errors(name):
                replace_bad(zone, report, one, present.get(path, []), by_uid[one.sop_uid], now)
        except ZoneError:
            report.refused.append(one.sop_uid)
    return report


def replace_bad(
    zone: Zone,
    report: RepairReport,
    one: InstanceInfo,
    replicas: Sequence[CatalogReplica],
    proofs: Sequence[ReplicaProof],
    now: datetime | None,
) -> None:
    """Replace the bad replicas of one object; errors of python-irodsclient are not translated.

    Parameters
    ----------
    zone
        The zone.
    report
        What was done is added to it.
    one
        The instance that the object holds.
    replicas
        The object's replicas.
    proofs
        What a verification found out about them.
    now
        The time from which the age of an unfinished write is counted.
    """
    catalog = {replica.number: replica for replica in replicas}
    writing = [r for r in replicas if r.status not in (STALE, GOOD)]
    if any((now or datetime.now(UTC)) - r.modified < ABANDONED for r in writing):
        report.busy.append(one.sop_uid)
        return
    unlock(zone, writing)
    known = [proof for proof in proofs if proof.replica in catalog]
    right = [p for p in known if p.sha256 == one.sha256]
    if not right:
        for proof in known:
            set_replica_status(zone, catalog[proof.replica], STALE)
        report.lost.append(one.sop_uid)
        return
    good = [p for p in right if p.good]
    if not good:
        set_replica_status(zone, catalog[right[0].replica], GOOD)
        good = right[:1]
        report.repaired += 1
    bad = [p for p in known if p not in good]
    for proof in bad:
        set_replica_status(zone, catalog[proof.replica], STALE)
    path = replicas[0].path
    if bad:
        # Overwrite them in place. Trimming one and replicating again makes nothing on a server
        # that finds a good replica below the root resource already.
        zone.session.data_objects.replicate(path, **{kw.UPDATE_REPL_KW: "", kw.ALL_KW: ""})
    replicate_missing(zone, path, [replica.resource for replica in replicas])
    report.repaired += len(bad)


def unlock(zone: Zone, replicas: Sequence[CatalogReplica]) -> None:
    """Mark abandoned writes stale; a server never does so itself.

    Parameters
    ----------
    zone
        The zone, reached as an administrator.
    replicas
        Replicas of an object; those that are neither good nor stale are marked.
    """
    for replica in replicas:
        if replica.status not in (STALE, GOOD):
            set_replica_status(zone, replica, STALE)


def set_replica_status(zone: Zone, replica: CatalogReplica, status: str) -> None:
    """Set a replica's status in the catalog unless it has it.

    Parameters
    ----------
    zone
        The zone, reached as an administrator.
    replica
        The replica.
    status
        `GOOD`, `STALE` or another state of the catalog.
    """
    if replica.status == status:
        return
    zone.session.data_objects.modDataObjMeta(
        {"objPath": replica.path, "replNum": replica.number, "rescHier": replica.resource},
        {"replStatus": status, kw.ADMIN_KW: ""},
    )
