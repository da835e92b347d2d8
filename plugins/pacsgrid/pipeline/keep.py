"""Keep: the nightly work that makes every project have what its policy asks for.

What is missing is computed from the ledger and the catalogs and only that is done, so any order
of failures converges.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pacsgrid import grid
from pacsgrid.errors import PacsgridError, RetryableError
from pacsgrid.ledger import DEPOSITED, InstanceRow, ReplicationTask
from pacsgrid.model import AVU, StudyState
from pacsgrid.pipeline.completion import complete
from pacsgrid.pipeline.context import Line
from pacsgrid.pipeline.documents import put_documents
from pacsgrid.pipeline.release import collection_of
from pacsgrid.pipeline.steps import advance, settle
from pacsgrid.pipeline.studies import answers, study_of
from pacsgrid.pipeline.withdraw import catch_up

log = logging.getLogger(__name__)


# An ingest that has not touched a study for so long has ended or died.
STALLED = timedelta(hours=1)


@dataclass
class Night:
    """What one run of `tend` did and found.

    ``studies`` counts the studies that were looked after, each once; ``finished`` those whose
    ingest had stopped on the way and that are verified now. ``lost`` names instances without a
    good replica anywhere, as (study reference, SOP UID); ``postponed`` counts duties in zones
    that are away, ``again`` tells what failed.
    """

    studies: int = 0
    finished: int = 0
    repaired: int = 0
    restored: int = 0
    copied: int = 0
    postponed: int = 0
    lost: set[tuple[str, str]] = field(default_factory=set)
    again: list[str] = field(default_factory=list)


def tend(line: Line, now: datetime | None = None, everything: bool = False) -> Night:
    """Do a night's duties of a project: copies, verification from storage, repair.

    Studies that an ingest left between deposit and verification are taken to the end, and so are
    anonymised ones that nobody has touched for an hour.

    Parameters
    ----------
    now
        The time that proofs are dated with and due dates are counted from.
    everything
        Verify every replica now, however new its proof is.

    Raises
    ------
    RetryableError
        The ledger does not answer. A zone that does not only postpones its own duties.
    """
    now = now or datetime.now(UTC)
    night = Night()
    night.again += [f"withdrawal in zone {zone}" for zone in catch_up(line, now)]
    seen: set[str] = set()
    for ref in _stopped(line, now):
        if answers(line, line.home, now):
            seen.add(ref)
            _finish(line, ref, night)
    project, policy = line.project.name, line.project.policy
    plan = line.ledger.tasks
    tasks = list(plan.all(project, policy) if everything else plan.due(project, policy, now))
    for duty in tasks:
        zone = line.zone(duty.zone)
        if not answers(line, zone, now):
            night.postponed += 1
            continue
        with line.ledger.studies.lock(duty.ref) as ours:
            if not ours or line.ledger.studies.state(duty.ref) is StudyState.WITHDRAWN:
                continue
            seen.add(duty.ref)
            try:
                _keep(line, duty, zone, night, now)
            except PacsgridError as error:
                log.warning("%s: %s", duty.ref, error)
                night.again.append(f"{duty.ref}: {error}")
    night.studies = len(seen)
    if answers(line, line.home, now):
        try:
            _keep_releases(line, night, now)
        except PacsgridError as error:
            night.again.append(f"releases: {error}")
    return night


def _stopped(line: Line, now: datetime) -> list[str]:
    """Return the studies whose ingest has stopped between anonymiser and verification."""
    states = (StudyState.ANONYMISED, StudyState.DEPOSITED, StudyState.REPLICATED)
    return [
        study.ref
        for study in line.ledger.studies.find(line.project.name, states)
        if study.state is not StudyState.ANONYMISED
        or (now - study.changed_at > STALLED and line.rooms(study.ref).outbox.is_dir())
    ]


def _finish(line: Line, ref: str, night: Night) -> None:
    """Take a study that has left the anonymiser to its end, unless a worker has it."""
    with line.ledger.studies.lock(ref) as ours:
        if not ours:
            return
        try:
            if advance(line, ref, StudyState.VERIFIED):
                night.finished += 1
        except RetryableError as error:
            log.warning("%s: %s", ref, error)
            night.again.append(f"{ref}: {error}")
    settle(line, [ref])


def _keep(line: Line, duty: ReplicationTask, zone: grid.Zone, night: Night, now: datetime) -> None:
    ref = duty.ref
    rows = line.ledger.instances.of_study(ref)
    if line.ledger.studies.state(ref) not in DEPOSITED:
        # It was taken up again or held; what is proven of it is still in the zones' care.
        once = {proof.sop_uid for proof in line.ledger.proofs.of_study(ref)}
        rows = [row for row in rows if row.sop_uid in once]
    if not rows:
        return
    done = complete(line, ref, zone, rows, now, copy_first=duty.oldest is None)
    night.repaired += done.repaired
    night.restored += done.restored
    night.copied += done.copied
    if done.absent:
        elsewhere = {p.sop_uid for p in line.ledger.proofs.of_study(ref) if p.good}
        night.lost.update((ref, r.sop_uid) for r in done.absent if r.sop_uid not in elsewhere)
    _keep_documents(line, ref, zone, rows, night, now)
    if not done.lacking:
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
    for row in line.ledger.releases.versions(project):
        if row.retired_at is None:
            done = grid.mend(
                line.home, collection_of(line.home, project, row.name, row.version), now
            )
            night.repaired += done.repaired
            night.again += [f"release document lost: {path}" for path in done.lost]
