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
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.ensure_replicas import ensure_replicas
from pacsgrid.pipeline.release import release_collection
from pacsgrid.pipeline.steps import advance, clear_work_folders
from pacsgrid.pipeline.studies import collection_of_study, is_reachable
from pacsgrid.pipeline.study_documents import put_study_documents
from pacsgrid.pipeline.withdraw import erase_pending

log = logging.getLogger(__name__)


# An ingest that has not touched a study for so long has ended or died.
STALLED = timedelta(hours=1)


@dataclass
class MaintenanceReport:
    """What one run of `tend` did and found.

    ``studies`` counts the studies that were looked after, each once; ``finished`` those whose
    ingest had stopped on the way and that are verified now. ``lost`` names instances without a
    good replica anywhere, as (study reference, SOP UID); ``postponed`` counts duties in zones
    that are away, ``failures`` tells what failed.
    """

    studies: int = 0
    finished: int = 0
    repaired: int = 0
    restored: int = 0
    copied: int = 0
    postponed: int = 0
    lost: set[tuple[str, str]] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)


def maintain(
    context: ProjectContext, now: datetime | None = None, everything: bool = False
) -> MaintenanceReport:
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
    night = MaintenanceReport()
    night.failures += [f"withdrawal in zone {zone}" for zone in erase_pending(context, now)]
    seen: set[str] = set()
    for ref in _stopped(context, now):
        if is_reachable(context, context.home, now):
            seen.add(ref)
            _finish(context, ref, night)
    project, policy = context.project.name, context.project.replication
    plan = context.ledger.tasks
    tasks = list(plan.all(project, policy) if everything else plan.due(project, policy, now))
    for duty in tasks:
        zone = context.zone(duty.zone)
        if not is_reachable(context, zone, now):
            night.postponed += 1
            continue
        with context.ledger.studies.lock(duty.ref) as ours:
            if not ours or context.ledger.studies.state(duty.ref) is StudyState.WITHDRAWN:
                continue
            seen.add(duty.ref)
            try:
                _keep(context, duty, zone, night, now)
            except PacsgridError as error:
                log.warning("%s: %s", duty.ref, error)
                night.failures.append(f"{duty.ref}: {error}")
    night.studies = len(seen)
    if is_reachable(context, context.home, now):
        try:
            _keep_releases(context, night, now)
        except PacsgridError as error:
            night.failures.append(f"releases: {error}")
    return night


def _stopped(context: ProjectContext, now: datetime) -> list[str]:
    """Return the studies whose ingest has stopped between anonymiser and verification."""
    states = (StudyState.ANONYMISED, StudyState.DEPOSITED, StudyState.REPLICATED)
    return [
        study.ref
        for study in context.ledger.studies.find(context.project.name, states)
        if study.state is not StudyState.ANONYMISED
        or (now - study.changed_at > STALLED and context.folders(study.ref).outbox.is_dir())
    ]


def _finish(context: ProjectContext, ref: str, night: MaintenanceReport) -> None:
    """Take a study that has left the anonymiser to its end, unless a worker has it."""
    with context.ledger.studies.lock(ref) as ours:
        if not ours:
            return
        try:
            if advance(context, ref, StudyState.VERIFIED):
                night.finished += 1
        except RetryableError as error:
            log.warning("%s: %s", ref, error)
            night.failures.append(f"{ref}: {error}")
    clear_work_folders(context, [ref])


def _keep(
    context: ProjectContext,
    duty: ReplicationTask,
    zone: grid.Zone,
    night: MaintenanceReport,
    now: datetime,
) -> None:
    ref = duty.ref
    rows = context.ledger.instances.of_study(ref)
    if context.ledger.studies.state(ref) not in DEPOSITED:
        # It was taken up again or held; what is proven of it is still in the zones' care.
        once = {proof.sop_uid for proof in context.ledger.proofs.of_study(ref)}
        rows = [row for row in rows if row.sop_uid in once]
    if not rows:
        return
    done = ensure_replicas(context, ref, zone, rows, now, copy_first=duty.oldest is None)
    night.repaired += done.repaired
    night.restored += done.restored
    night.copied += done.copied
    if done.absent:
        elsewhere = {p.sop_uid for p in context.ledger.proofs.of_study(ref) if p.good}
        night.lost.update((ref, r.sop_uid) for r in done.absent if r.sop_uid not in elsewhere)
    _keep_documents(context, ref, zone, rows, night, now)
    if not done.lacking:
        date = AVU("pacsgrid.verified", now.date().isoformat())
        grid.set_avu(zone, collection_of_study(context, zone, rows), date)


def _keep_documents(
    context: ProjectContext,
    ref: str,
    zone: grid.Zone,
    rows: Sequence[InstanceRow],
    night: MaintenanceReport,
    now: datetime,
) -> None:
    """Mend the study's manifest and report; what cannot be mended is written anew."""
    collection = collection_of_study(context, zone, rows)
    done = grid.repair_documents(zone, collection, now)
    night.repaired += done.repaired
    for path in done.lost:
        grid.remove_object(zone, path)
    put_study_documents(context, ref, zone, collection, rows)


def _keep_releases(context: ProjectContext, night: MaintenanceReport, now: datetime) -> None:
    project = context.project.name
    for row in context.ledger.releases.versions(project):
        if row.retired_at is None:
            done = grid.repair_documents(
                context.home, release_collection(context.home, project, row.name, row.version), now
            )
            night.repaired += done.repaired
            night.failures += [f"release document lost: {path}" for path in done.lost]
