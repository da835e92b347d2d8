"""Maintain: the nightly work that gives every project what its policy asks for.

What is missing is computed from the ledger and the catalogs, and only that is done. So it does not
matter in which order things failed.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pacsgrid import grid
from pacsgrid.errors import PacsgridError, RetryableError
from pacsgrid.ledger import DEPOSITED, InstanceRecord, ReplicationTask
from pacsgrid.model import AVU, StudyState
from pacsgrid.pipeline.bids.copies import maintain_copies
from pacsgrid.pipeline.cohort_upkeep import index_pending
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.ensure_replicas import ensure_replicas
from pacsgrid.pipeline.release import release_collection
from pacsgrid.pipeline.reprofile import settle_versions
from pacsgrid.pipeline.steps import advance, clear_work_folders
from pacsgrid.pipeline.studies import add_study_avus, is_reachable
from pacsgrid.pipeline.study_documents import put_study_documents
from pacsgrid.pipeline.withdraw import erase_pending

log = logging.getLogger(__name__)

# An ingest that has not touched an anonymised study for this long has ended or died.
STALLED = timedelta(hours=1)
_GONE = (StudyState.WITHDRAWN, StudyState.SUPERSEDED)


@dataclass
class MaintenanceReport:
    """What one run of `maintain` did and found.

    Attributes
    ----------
    studies
        How many studies were looked after, each counted once.
    finished
        How many of them were verified after their ingest had stopped on the way.
    repaired
        Replicas that were replaced or made.
    restored
        Objects that a zone had lost and that were put again.
    copied
        Objects that were copied to partners.
    removed
        Superseded versions that were removed from every zone.
    postponed
        Duties in zones that do not answer.
    indexed
        Studies that were entered into the cohort index.
    lost
        Instances without a good replica anywhere, as (study reference, SOP UID).
    failures
        What failed and is to be tried again.
    """

    studies: int = 0
    finished: int = 0
    repaired: int = 0
    restored: int = 0
    copied: int = 0
    removed: int = 0
    postponed: int = 0
    indexed: int = 0
    lost: set[tuple[str, str]] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)


def maintain(
    context: ProjectContext, now: datetime | None = None, everything: bool = False
) -> MaintenanceReport:
    """Do a project's duties: copies, verification from storage, repair, pending withdrawals.

    Studies that an ingest left between deposit and verification are taken to the end, and so are
    anonymised ones that nobody has touched for an hour.

    Parameters
    ----------
    context
        The project.
    now
        The time that proofs are dated with and due dates are counted from.
    everything
        Whether to verify every replica now, however new its proof is.

    Returns
    -------
    MaintenanceReport
        What was done, what is lost, and what failed.

    Raises
    ------
    RetryableError
        The ledger does not answer. A zone that does not answer only postpones its own duties.
    """
    now = now or datetime.now(UTC)
    report = MaintenanceReport()
    report.failures += [f"withdrawal in zone {zone}" for zone in erase_pending(context, now)]
    seen: set[str] = set()
    for ref in _stopped_studies(context, now):
        if is_reachable(context, context.home, now):
            seen.add(ref)
            _finish(context, ref, report)
    for task in _tasks(context, now, everything):
        zone = context.zone(task.zone)
        if not is_reachable(context, zone, now):
            report.postponed += 1
            continue
        with context.ledger.studies.lock(task.ref) as ours:
            if not ours or context.ledger.studies.state(task.ref) in _GONE:
                continue
            seen.add(task.ref)
            try:
                _maintain_study(context, task, zone, report, now)
            except PacsgridError as error:
                log.warning("%s: %s", task.ref, error)
                report.failures.append(f"{task.ref}: {error}")
    report.studies = len(seen)
    try:
        report.removed = settle_versions(context)
    except PacsgridError as error:
        report.failures.append(f"superseded versions: {error}")
    _maintain_data_sets(context, report, now, everything)
    try:
        report.indexed = index_pending(context)
    except PacsgridError as error:
        report.failures.append(f"cohort index: {error}")
    if is_reachable(context, context.home, now):
        try:
            _repair_releases(context, report, now)
        except PacsgridError as error:
            report.failures.append(f"releases: {error}")
    return report


def _stopped_studies(context: ProjectContext, now: datetime) -> list[str]:
    """Return the studies whose ingest has stopped between anonymiser and verification."""
    states = (StudyState.ANONYMISED, StudyState.DEPOSITED, StudyState.REPLICATED)
    return [
        study.ref
        for study in context.ledger.studies.iterate(context.project.name, states)
        if study.state is not StudyState.ANONYMISED
        or (now - study.changed_at > STALLED and context.folders(study.ref).outbox.is_dir())
    ]


def _finish(context: ProjectContext, ref: str, report: MaintenanceReport) -> None:
    """Take an anonymised study to its end, unless a worker has it."""
    with context.ledger.studies.lock(ref) as ours:
        if not ours:
            return
        try:
            if advance(context, ref, StudyState.VERIFIED):
                report.finished += 1
        except RetryableError as error:
            log.warning("%s: %s", ref, error)
            report.failures.append(f"{ref}: {error}")
    clear_work_folders(context, [ref])


def _tasks(context: ProjectContext, now: datetime, everything: bool) -> list[ReplicationTask]:
    project, policy = context.project.name, context.project.replication
    if everything:
        return list(context.ledger.tasks.all(project, policy))
    return list(context.ledger.tasks.due(project, policy, now))


def _maintain_study(
    context: ProjectContext,
    task: ReplicationTask,
    zone: grid.Zone,
    report: MaintenanceReport,
    now: datetime,
) -> None:
    ref = task.ref
    rows = context.ledger.instances.of_study(ref)
    if context.ledger.studies.state(ref) not in DEPOSITED:
        # The study was reopened or held. What was proven once must still be kept in the zones.
        proven = {proof.sop_uid for proof in context.ledger.proofs.of_study(ref)}
        rows = [row for row in rows if row.sop_uid in proven]
    if not rows:
        return
    outcome = ensure_replicas(context, ref, zone, rows, now, copy_first=task.oldest is None)
    report.repaired += outcome.repaired
    report.restored += outcome.restored
    report.copied += outcome.copied
    if outcome.absent:
        elsewhere = {p.sop_uid for p in context.ledger.proofs.of_study(ref) if p.good}
        report.lost.update((ref, r.sop_uid) for r in outcome.absent if r.sop_uid not in elsewhere)
    _maintain_documents(context, ref, zone, rows, report, now)
    if not outcome.lacking:
        date = AVU("pacsgrid.verified", now.date().isoformat())
        grid.set_avu(zone, grid.collection_of_study(zone, context.project.name, rows), date)


def _maintain_documents(
    context: ProjectContext,
    ref: str,
    zone: grid.Zone,
    rows: Sequence[InstanceRecord],
    report: MaintenanceReport,
    now: datetime,
) -> None:
    """Repair the study's manifest and report; write again what cannot be repaired."""
    collection = grid.collection_of_study(zone, context.project.name, rows)
    repair = grid.repair_documents(zone, collection, now)
    report.repaired += repair.repaired
    for path in repair.lost:
        grid.remove_object(zone, path)
    manifest = put_study_documents(context, ref, zone, rows)
    add_study_avus(context, zone, rows, manifest)


def _maintain_data_sets(
    context: ProjectContext, report: MaintenanceReport, now: datetime, everything: bool
) -> None:
    """Make, repair and prove the copies of data sets that were derived from releases."""
    done = maintain_copies(context, now, everything)
    report.copied += done.copied
    report.repaired += done.repaired
    report.postponed += done.postponed
    report.failures += done.failures


def _repair_releases(context: ProjectContext, report: MaintenanceReport, now: datetime) -> None:
    """Repair the documents of the releases that have not been retired."""
    project = context.project.name
    for row in context.ledger.releases.versions(project):
        if row.retired_at is None:
            collection = release_collection(context.home, project, row.name, row.version)
            repair = grid.repair_documents(context.home, collection, now)
            report.repaired += repair.repaired
            report.failures += [f"release document lost: {path}" for path in repair.lost]
