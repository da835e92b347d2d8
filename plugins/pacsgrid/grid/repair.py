"""Bad replicas replaced by copies of a proven one; nothing is ever copied from an unproven one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import irods.keywords as kw

from pacsgrid.errors import ZoneError
from pacsgrid.grid.catalog import GOOD, STALE, CatalogReplica, replicas_below
from pacsgrid.grid.layout import InstanceInfo, object_path, study_collection
from pacsgrid.grid.resource_tree import replicate_missing
from pacsgrid.grid.zone import Zone, translated_errors
from pacsgrid.model import ReplicaProof

# A replica that is being written (intermediate, locked) for longer was left behind. The age is
# the difference of two clocks that may disagree by minutes, or by hours where they are not kept.
ABANDONED = timedelta(hours=24)


@dataclass
class RepairReport:
    """What a repair did: replicas replaced; SOP UIDs left as they are.

    Attributes
    ----------
    lost
        No replica of this zone has the right bytes; another zone's copy is needed.
    busy
        Somebody is writing; the next verification will tell.
    refused
        The server did not let us (storage full, resource down).
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

    A bad replica is first marked stale, so that no reader is given it and no replication takes
    it as source. A replica with the right bytes that the catalog calls stale is good again.
    """
    done = RepairReport()
    by_uid: dict[str, list[ReplicaProof]] = defaultdict(list)
    for proof in proofs:
        by_uid[proof.sop_uid].append(proof)
    wanted = [one for one in instances if any(not p.good for p in by_uid[one.sop_uid])]
    if not wanted:
        return done
    name = zone.settings.name
    study = study_collection(name, project, wanted[0].subject, wanted[0].study_uid)
    there = replicas_below(zone, study)
    for one in wanted:
        path = object_path(name, project, one)
        try:
            with translated_errors(name):
                replace_bad(zone, done, one, there.get(path, []), by_uid[one.sop_uid], now)
        except ZoneError:
            done.refused.append(one.sop_uid)
    return done


def replace_bad(
    zone: Zone,
    done: RepairReport,
    one: InstanceInfo,
    replicas: Sequence[CatalogReplica],
    proofs: Sequence[ReplicaProof],
    now: datetime | None,
) -> None:
    """Replace one object's bad replicas; raises what python-irodsclient raises."""
    catalog = {replica.number: replica for replica in replicas}
    writing = [r for r in replicas if r.status not in (STALE, GOOD)]
    if any((now or datetime.now(UTC)) - r.modified < ABANDONED for r in writing):
        done.busy.append(one.sop_uid)
        return
    for replica in writing:
        set_replica_status(zone, replica, STALE)
    known = [proof for proof in proofs if proof.replica in catalog]
    right = [p for p in known if p.sha256 == one.sha256]
    if not right:
        for proof in known:
            set_replica_status(zone, catalog[proof.replica], STALE)
        done.lost.append(one.sop_uid)
        return
    good = [p for p in right if p.good]
    if not good:
        set_replica_status(zone, catalog[right[0].replica], GOOD)
        good = right[:1]
        done.repaired += 1
    bad = [p for p in known if p not in good]
    for proof in bad:
        replica = catalog[proof.replica]
        set_replica_status(zone, replica, STALE)
    if bad:
        # Written anew where they are: to trim one and replicate again makes nothing on a server
        # that finds a good replica below the root resource already.
        options = {kw.UPDATE_REPL_KW: "", kw.ALL_KW: ""}
        zone.session.data_objects.replicate(replicas[0].path, **options)
    replicate_missing(zone, replicas[0].path, [replica.resource for replica in replicas])
    done.repaired += len(bad)


def unlock(zone: Zone, replicas: Sequence[CatalogReplica]) -> None:
    """Take the lock off replicas that nobody writes any more; a server does not by itself."""
    for replica in replicas:
        if replica.status not in (STALE, GOOD):
            set_replica_status(zone, replica, STALE)


def set_replica_status(zone: Zone, replica: CatalogReplica, status: str) -> None:
    """Set a replica's status in the catalog; needs an administrator's account."""
    if replica.status == status:
        return
    zone.session.data_objects.modDataObjMeta(
        {"objPath": replica.path, "replNum": replica.number, "rescHier": replica.resource},
        {"replStatus": status, kw.ADMIN_KW: ""},
    )
