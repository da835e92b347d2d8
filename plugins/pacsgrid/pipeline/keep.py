"""Keep: the nightly work that makes every project have what its policy asks for.

What is missing is computed from the ledger and the catalogs and only that is done, so any order
of failures converges.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pacsgrid import grid
from pacsgrid.errors import PacsgridError
from pacsgrid.ledger import Duty, InstanceRow
from pacsgrid.model import AVU, ReplicaProof, StudyState
from pacsgrid.pipeline.context import Line
from pacsgrid.pipeline.documents import put_documents
from pacsgrid.pipeline.release import collection_of
from pacsgrid.pipeline.studies import answers, copy_out, study_of
from pacsgrid.pipeline.withdraw import catch_up

log = logging.getLogger(__name__)


@dataclass
class Night:
    """What one run of `tend` did and found.

    ``lost`` names instances without a good replica anywhere, as (study reference, SOP UID);
    ``postponed`` counts duties in zones that are away, ``again`` tells what failed.
    """

    studies: int = 0
    repaired: int = 0
    restored: int = 0
    copied: int = 0
    postponed: int = 0
    lost: set[tuple[str, str]] = field(default_factory=set)
    again: list[str] = field(default_factory=list)


def tend(line: Line, now: datetime | None = None) -> Night:
    """Do a night's duties of a project: copies, verification from storage, repair.

    Parameters
    ----------
    now
        The time that proofs are dated with and due dates are counted from.

    Raises
    ------
    RetryableError
        The ledger does not answer. A zone that does not only postpones its own duties.
    """
    now = now or datetime.now(UTC)
    night = Night()
    night.again += [f"withdrawal in zone {zone}" for zone in catch_up(line, now)]
    for duty in list(line.duties.tonight(line.project.name, line.project.policy, now)):
        zone = line.zone(duty.zone)
        if not answers(line, zone, now):
            night.postponed += 1
            continue
        with line.ledger.lock_study(duty.ref) as ours:
            if not ours or line.ledger.state(duty.ref) is not StudyState.VERIFIED:
                continue
            night.studies += 1
            try:
                _keep(line, duty, zone, night, now)
            except PacsgridError as error:
                log.warning("%s: %s", duty.ref, error)
                night.again.append(f"{duty.ref}: {error}")
    if answers(line, line.home, now):
        try:
            _keep_releases(line, night, now)
        except PacsgridError as error:
            night.again.append(f"releases: {error}")
    return night


def _keep(line: Line, duty: Duty, zone: grid.Zone, night: Night, now: datetime) -> None:
    project, ref = line.project.name, duty.ref
    rows = line.ledger.instances(ref)
    if duty.oldest is None and zone is not line.home and answers(line, line.home, now):
        night.copied += copy_out(line, ref, zone, rows)
    proofs = _prove(line, ref, zone, rows, now)
    lacking = _lacking(proofs, rows, zone.settings.copies)
    if lacking or not all(proof.good for proof in proofs):
        done = grid.repair(zone, project, proofs, rows, now)
        night.repaired += done.repaired
        gone = {row.sop_uid for row in rows} - {p.sop_uid for p in proofs if p.replica >= 0}
        gone.update(done.lost)
        night.restored += _restore(line, ref, zone, [r for r in rows if r.sop_uid in gone], now)
        grid.replicate_home(zone, project, rows)
        proofs = _prove(line, ref, zone, rows, now)
        lacking = _lacking(proofs, rows, zone.settings.copies)
    without = {row.sop_uid for row in rows} - {p.sop_uid for p in proofs if p.good}
    if without:
        elsewhere = {p.sop_uid for p in line.ledger.proofs(ref) if p.good}
        night.lost.update((ref, uid) for uid in without - elsewhere)
    _keep_documents(line, ref, zone, rows, night, now)
    if not lacking:
        date = AVU("pacsgrid.verified", now.date().isoformat())
        grid.set_avu(zone, study_of(line, zone, rows), date)


def _keep_documents(
    line: Line,
    ref: str,
    zone: grid.Zone,
    rows: Sequence[InstanceRow],
    night: Night,
    now: datetime,
) -> None:
    """Mend the study's manifest and report; what cannot be mended is written anew."""
    collection = study_of(line, zone, rows)
    done = grid.mend(zone, collection, now)
    night.repaired += done.repaired
    for path in done.lost:
        grid.remove_object(zone, path)
    put_documents(line, ref, zone, collection, rows)


def _keep_releases(line: Line, night: Night, now: datetime) -> None:
    project = line.project.name
    for row in line.cohorts.releases(project):
        if row.retired_at is None:
            done = grid.mend(
                line.home, collection_of(line.home, project, row.name, row.version), now
            )
            night.repaired += done.repaired
            night.again += [f"release document lost: {path}" for path in done.lost]


def _prove(
    line: Line, ref: str, zone: grid.Zone, rows: Sequence[InstanceRow], now: datetime
) -> list[ReplicaProof]:
    proofs = grid.verify(zone, line.project.name, rows)
    line.ledger.add_proofs(ref, proofs, now)
    return proofs


def _lacking(
    proofs: Sequence[ReplicaProof], rows: Sequence[InstanceRow], copies: int
) -> list[InstanceRow]:
    good: dict[str, int] = {}
    for proof in proofs:
        good[proof.sop_uid] = good.get(proof.sop_uid, 0) + proof.good
    return [row for row in rows if good.get(row.sop_uid, 0) < copies]


def _restore(
    line: Line, ref: str, zone: grid.Zone, gone: Sequence[InstanceRow], now: datetime
) -> int:
    """Bring back what a zone lost from the first other zone that can prove its copy."""
    project, restored = line.project.name, 0
    for other in (line.home, *line.partners):
        if not gone:
            break
        if other is zone or not answers(line, other, now):
            continue
        proofs = _prove(line, ref, other, gone, now)
        if not all(proof.good for proof in proofs):
            # A reader is given any replica the catalog calls good: the bad ones go first.
            grid.repair(other, project, proofs, gone, now)
            proofs = _prove(line, ref, other, gone, now)
        good = {proof.sop_uid for proof in proofs if proof.good}
        back = set(grid.restore(other, zone, project, [r for r in gone if r.sop_uid in good]))
        restored += len(back)
        gone = [row for row in gone if row.sop_uid not in back]
    return restored
