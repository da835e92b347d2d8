"""Give one zone every proven replica of a study that its policy asks for.

What is missing is read from the zone itself, never from the state that the study once reached.
The steps of an ingest and the nightly maintenance both call this.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pacsgrid import grid
from pacsgrid.errors import ZoneError
from pacsgrid.ledger import InstanceRow
from pacsgrid.model import ReplicaProof
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.outbox import outbox_instances
from pacsgrid.pipeline.studies import add_study_avus, copy_study_to_partner, is_reachable

log = logging.getLogger(__name__)


@dataclass
class ReplicaOutcome:
    """What was made of a study in one zone, and what it still lacks.

    Attributes
    ----------
    repaired, restored, copied
        Replicas replaced or made; objects brought back; objects copied from the home zone.
    lacking
        Instances with fewer proven replicas than the zone is to hold.
    bad
        Replicas that are not the anonymiser's bytes.
    absent
        Instances without any good replica in this zone.
    """

    repaired: int = 0
    restored: int = 0
    copied: int = 0
    lacking: list[InstanceRow] = field(default_factory=list)
    bad: list[ReplicaProof] = field(default_factory=list)
    absent: list[InstanceRow] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether every instance has its proven replicas and none is bad."""
        return not self.lacking and not self.bad


def ensure_replicas(
    context: ProjectContext,
    ref: str,
    zone: grid.Zone,
    rows: Sequence[InstanceRow],
    now: datetime | None = None,
    copy_first: bool = False,
) -> ReplicaOutcome:
    """Prove a study's replicas in a zone; make or repair those that are missing or bad.

    Parameters
    ----------
    rows
        The instances that the zone is to hold.
    now
        The time that proofs are dated with.
    copy_first
        The zone has none of them yet: copy them from home before anything is verified.

    Returns
    -------
    Completion
        What was done, and what is still missing by the proofs that are in the ledger now.

    Raises
    ------
    ZoneUnavailableError, ZoneError, ConflictError
        As in `grid.verify`, `grid.repair` and `grid.copy_to_partner`.
    """
    now = now or datetime.now(UTC)
    done = ReplicaOutcome()
    copies = zone is not context.home and is_reachable(context, context.home, now)
    if copies and copy_first:
        done.copied += _copied(context, ref, zone, rows)
    proofs = verify_and_record(context, ref, zone, rows, now)
    if copies and not copy_first and any(proof.replica < 0 for proof in proofs):
        done.copied += _copied(context, ref, zone, rows)
        proofs = verify_and_record(context, ref, zone, rows, now)
    if not _judge(done, proofs, rows, zone.settings.copies):
        _mend(context, ref, zone, rows, now, proofs, done)
        proofs = verify_and_record(context, ref, zone, rows, now)
        _judge(done, proofs, rows, zone.settings.copies)
    return done


def _copied(context: ProjectContext, ref: str, zone: grid.Zone, rows: Sequence[InstanceRow]) -> int:
    """Copy from home what a partner lacks, many at once; returns how many objects."""
    try:
        return copy_study_to_partner(context, ref, zone, rows)
    except ZoneError as error:
        # An object that home cannot give may come from elsewhere, one by one.
        log.warning("%s: not copied to zone %s: %s", ref, zone.settings.name, error)
        return 0


def verify_and_record(
    context: ProjectContext, ref: str, zone: grid.Zone, rows: Sequence[InstanceRow], now: datetime
) -> list[ReplicaProof]:
    """Let a zone recompute replicas from storage, and enter the proofs into the ledger."""
    proofs = grid.verify(zone, context.project.name, rows)
    context.ledger.proofs.add(ref, proofs, now)
    return proofs


def _judge(
    done: ReplicaOutcome, proofs: Sequence[ReplicaProof], rows: Sequence[InstanceRow], copies: int
) -> bool:
    good: dict[str, int] = {}
    for proof in proofs:
        good[proof.sop_uid] = good.get(proof.sop_uid, 0) + proof.good
    done.lacking = [row for row in rows if good.get(row.sop_uid, 0) < copies]
    done.absent = [row for row in rows if not good.get(row.sop_uid, 0)]
    done.bad = [proof for proof in proofs if not proof.good]
    return done.whole


def _mend(
    context: ProjectContext,
    ref: str,
    zone: grid.Zone,
    rows: Sequence[InstanceRow],
    now: datetime,
    proofs: Sequence[ReplicaProof],
    done: ReplicaOutcome,
) -> None:
    repair = grid.repair(zone, context.project.name, proofs, rows, now)
    done.repaired += repair.repaired
    gone = {row.sop_uid for row in rows} - {p.sop_uid for p in proofs if p.replica >= 0}
    gone.update(repair.lost)
    if gone:
        missing = [row for row in rows if row.sop_uid in gone]
        done.restored += _restore(context, ref, zone, missing, now)
        if done.restored:
            add_study_avus(context, zone, rows)
    done.repaired += grid.replicate_within_zone(zone, context.project.name, rows)


def _restore(
    context: ProjectContext, ref: str, zone: grid.Zone, gone: Sequence[InstanceRow], now: datetime
) -> int:
    """Bring back what a zone lost from another zone's proven copy, else from the outbox."""
    project, restored = context.project.name, 0
    for other in (context.home, *context.partners):
        if not gone:
            break
        if other is zone or not is_reachable(context, other, now):
            continue
        proofs = verify_and_record(context, ref, other, gone, now)
        if not all(proof.good for proof in proofs):
            # A reader is given any replica the catalog calls good: the bad ones go first.
            grid.repair(other, project, proofs, gone, now)
            proofs = verify_and_record(context, ref, other, gone, now)
        good = {proof.sop_uid for proof in proofs if proof.good}
        back = set(
            grid.restore_objects(other, zone, project, [r for r in gone if r.sop_uid in good])
        )
        restored += len(back)
        gone = [row for row in gone if row.sop_uid not in back]
    here = [one for one in outbox_instances(context, ref, gone) if one.path.is_file()]
    return restored + grid.replace_objects(zone, project, here, lambda one: one.path)
