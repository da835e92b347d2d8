"""Ensure that one zone holds every proven replica of a study that its policy asks for.

What is missing is read from the zone itself, not from the state that the study once reached. The
steps of an ingest and the nightly maintenance both call this.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pacsgrid import grid
from pacsgrid.errors import ZoneError
from pacsgrid.ledger import InstanceRecord
from pacsgrid.model import ReplicaProof
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.outbox import outbox_instances
from pacsgrid.pipeline.studies import add_study_avus, copy_study_to_partner, is_reachable
from pacsgrid.pipeline.study_documents import study_manifest

log = logging.getLogger(__name__)


@dataclass
class ReplicaOutcome:
    """What was done for a study in one zone, and what it still lacks.

    Attributes
    ----------
    repaired
        Replicas that were replaced or made.
    restored
        Objects that the zone had lost and that were put again.
    copied
        Objects that were copied from the home zone.
    lacking
        Instances with fewer proven replicas than the zone's policy asks for.
    bad
        Replicas that do not hold the anonymiser's bytes.
    absent
        Instances without any good replica in this zone.
    gone
        Instances that this zone has no replica of at all.
    """

    repaired: int = 0
    restored: int = 0
    copied: int = 0
    lacking: list[InstanceRecord] = field(default_factory=list)
    bad: list[ReplicaProof] = field(default_factory=list)
    absent: list[InstanceRecord] = field(default_factory=list)
    gone: list[InstanceRecord] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether every instance has its proven replicas and none is bad."""
        return not self.lacking and not self.bad

    def assess(
        self, proofs: Sequence[ReplicaProof], rows: Sequence[InstanceRecord], copies: int
    ) -> None:
        """Set what is lacking, bad, absent and gone.

        Parameters
        ----------
        proofs
            What the last verification found.
        rows
            The instances that the zone is to hold.
        copies
            How many good replicas each is to have.
        """
        good = Counter(proof.sop_uid for proof in proofs if proof.good)
        self.lacking = [row for row in rows if good[row.sop_uid] < copies]
        self.absent = [row for row in rows if not good[row.sop_uid]]
        there = {proof.sop_uid for proof in proofs if proof.replica >= 0}
        self.gone = [row for row in rows if row.sop_uid not in there]
        self.bad = [proof for proof in proofs if not proof.good]


def ensure_replicas(
    context: ProjectContext,
    ref: str,
    zone: grid.Zone,
    rows: Sequence[InstanceRecord],
    now: datetime | None = None,
    copy_first: bool = False,
) -> ReplicaOutcome:
    """Verify a study's replicas in a zone; make or repair those that are missing or bad.

    Parameters
    ----------
    context
        The study's project.
    ref
        The study's reference.
    zone
        The home zone or a partner.
    rows
        The instances that the zone is to hold.
    now
        The time that proofs are dated with.
    copy_first
        Whether the zone holds none of them yet: then they are copied from home before anything
        is verified.

    Returns
    -------
    ReplicaOutcome
        What was done, and what is still missing according to the last verification.

    Raises
    ------
    ZoneUnavailableError, ZoneError, ConflictError
        As in `grid.verify`, `grid.repair` and `grid.copy_to_partner`.
    """
    now = now or datetime.now(UTC)
    outcome = ReplicaOutcome()
    can_copy = zone is not context.home and is_reachable(context, context.home, now)
    if can_copy and copy_first:
        outcome.copied += _copy_from_home(context, ref, zone, rows)
    proofs = verify_and_record(context, ref, zone, rows, now)
    if can_copy and not copy_first and any(proof.replica < 0 for proof in proofs):
        outcome.copied += _copy_from_home(context, ref, zone, rows)
        proofs = verify_and_record(context, ref, zone, rows, now)
    outcome.assess(proofs, rows, zone.settings.copies)
    if not outcome.complete:
        _repair(context, ref, zone, rows, now, proofs, outcome)
        proofs = verify_and_record(context, ref, zone, rows, now)
        outcome.assess(proofs, rows, zone.settings.copies)
    return outcome


def _copy_from_home(
    context: ProjectContext, ref: str, zone: grid.Zone, rows: Sequence[InstanceRecord]
) -> int:
    """Copy what a partner lacks, in parallel; return how many objects were copied."""
    try:
        return copy_study_to_partner(context, ref, zone, rows)
    except ZoneError as error:
        # An object that home cannot give may be restored from elsewhere, one by one.
        log.warning("%s: not copied to zone %s: %s", ref, zone.settings.name, error)
        return 0


def verify_and_record(
    context: ProjectContext,
    ref: str,
    zone: grid.Zone,
    rows: Sequence[InstanceRecord],
    now: datetime,
) -> list[ReplicaProof]:
    """Let a zone recompute replicas from storage, and enter the proofs into the ledger.

    Parameters
    ----------
    context
        The study's project.
    ref
        The study's reference.
    zone
        The zone.
    rows
        The instances to verify.
    now
        The time that proofs are dated with.

    Returns
    -------
    list of ReplicaProof
        The proofs, as `grid.verify` returned them.

    Raises
    ------
    ZoneError, ZoneUnavailableError
        The zone refused, or does not answer.
    """
    proofs = grid.verify(zone, context.project.name, rows)
    context.ledger.proofs.add(ref, proofs, now)
    return proofs


def _repair(
    context: ProjectContext,
    ref: str,
    zone: grid.Zone,
    rows: Sequence[InstanceRecord],
    now: datetime,
    proofs: Sequence[ReplicaProof],
    outcome: ReplicaOutcome,
) -> None:
    """Replace bad replicas, restore lost objects, make missing replicas."""
    report = grid.repair(zone, context.project.name, proofs, rows, now)
    outcome.repaired += report.repaired
    lost = {row.sop_uid for row in rows} - {p.sop_uid for p in proofs if p.replica >= 0}
    lost.update(report.lost)
    if lost:
        missing = [row for row in rows if row.sop_uid in lost]
        outcome.restored += _restore(context, ref, zone, missing, now)
        if outcome.restored:
            add_study_avus(context, zone, rows, study_manifest(context, ref, zone, rows))
    outcome.repaired += grid.replicate_within_zone(zone, context.project.name, rows)


def _restore(
    context: ProjectContext,
    ref: str,
    zone: grid.Zone,
    missing: Sequence[InstanceRecord],
    now: datetime,
) -> int:
    """Restore what a zone lost from other zones' proven copies, else from the outbox."""
    project, restored = context.project.name, 0
    for other in (context.home, *context.partners):
        if not missing:
            break
        if other is zone or not is_reachable(context, other, now):
            continue
        proofs = verify_and_record(context, ref, other, missing, now)
        if not all(proof.good for proof in proofs):
            # A read may get any replica that the catalog calls good, so repair bad ones first.
            grid.repair(other, project, proofs, missing, now)
            proofs = verify_and_record(context, ref, other, missing, now)
        good = {proof.sop_uid for proof in proofs if proof.good}
        given = [row for row in missing if row.sop_uid in good]
        done = set(grid.restore_objects(other, zone, project, given))
        restored += len(done)
        missing = [row for row in missing if row.sop_uid not in done]
    on_disk = [one for one in outbox_instances(context, ref, missing) if one.path.is_file()]
    return restored + grid.replace_objects(zone, project, on_disk, lambda one: one.path)
