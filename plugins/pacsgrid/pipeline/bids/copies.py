"""Copies of BIDS data sets: every zone of the project has one, proven like the release's instances.

A data set is whole at home once `finish` has written its documents; the ledger then lists its
files. What a zone lacks is computed from the zone itself, so each call can be repeated after a
crash, and does only what is missing.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pacsgrid import grid
from pacsgrid.errors import PacsgridError, RetryableError
from pacsgrid.grid.file_set import FileSet, FileSetState, KnownFile
from pacsgrid.grid.release_tickets import revoke_tickets_below
from pacsgrid.ledger.data_sets import DataSet, DataSetCopy
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.release import release_collection
from pacsgrid.pipeline.studies import is_reachable

log = logging.getLogger(__name__)

_WAIT_SECONDS = 5


@dataclass
class CopyReport:
    """What was done for copies of data sets.

    Attributes
    ----------
    proven
        Copies of which every replica was recomputed, and none is missing or bad.
    copied
        Files that were copied from another zone.
    repaired
        Replicas that were replaced or made.
    postponed
        Copies in zones that do not answer.
    failures
        What failed and is to be tried again.
    """

    proven: int = 0
    copied: int = 0
    repaired: int = 0
    postponed: int = 0
    failures: list[str] = field(default_factory=list)


def replicate(context: ProjectContext, release: str, version: int) -> CopyReport:
    """Bring every zone's copy of a data set up to date, and prove it.

    Parameters
    ----------
    context
        The project.
    release, version
        The release's name and the version's number.

    Returns
    -------
    CopyReport
        What was done. A zone that does not answer gets its copy in the nightly maintenance.

    Raises
    ------
    RetryableError
        A copy is not complete yet.
    """
    data_set = DataSet(context.project.name, release, version)
    report = CopyReport()
    for zone in (context.home, *context.partners):
        _look_after(context, data_set, zone, datetime.now(UTC), report)
    if report.failures:
        raise RetryableError("; ".join(report.failures))
    return report


def maintain_copies(context: ProjectContext, now: datetime, everything: bool = False) -> CopyReport:
    """Make, repair and prove the copies that are due, and remove those of removed versions.

    Parameters
    ----------
    context
        The project.
    now
        The time that proofs are dated with.
    everything
        Whether to prove every copy, however new its proof is.

    Returns
    -------
    CopyReport
        What was done.
    """
    report = CopyReport()
    zones = {zone.settings.name: zone for zone in (context.home, *context.partners)}
    age = timedelta(0) if everything else timedelta(context.project.replication.reverify_days)
    due = context.ledger.data_sets.due(context.project.name, list(zones), now - age)
    for name, data_sets in due.items():
        for data_set in data_sets:
            _look_after(context, data_set, zones[name], now, report)
    for zone in zones.values():
        if is_reachable(context, zone, now):
            try:
                remove_retired(context, zone)
            except PacsgridError as error:
                report.failures.append(f"data sets of removed versions: {error}")
    return report


def _look_after(
    context: ProjectContext,
    data_set: DataSet,
    zone: grid.Zone,
    now: datetime,
    report: CopyReport,
) -> None:
    where = f"data set of {data_set.release} v{data_set.version} in zone {zone.settings.name}"
    try:
        if not is_reachable(context, zone, now):
            report.postponed += 1
            return
        copy = _ensure(context, data_set, zone, now, report)
    except PacsgridError as error:
        log.warning("%s: %s", where, error)
        report.failures.append(f"{where}: {error}")
        return
    if copy is None:
        return
    if copy.lacking or copy.bad:
        report.failures.append(
            f"{where}: {copy.lacking} files lack proven replicas, {copy.bad} replicas are bad"
        )
    else:
        report.proven += 1
        log.info("%s: %d replicas recomputed and equal", where, copy.replicas)


def _ensure(
    context: ProjectContext,
    data_set: DataSet,
    zone: grid.Zone,
    now: datetime,
    report: CopyReport,
) -> DataSetCopy | None:
    """Verify a zone's copy, make good what it lacks and enter the proof; None if it is changing."""
    ledger, name = context.ledger, zone.settings.name
    lock = f"bids copy {data_set.project} {data_set.release} {data_set.version} {name}"
    with ledger.database.lock(lock, _WAIT_SECONDS) as ours:
        if not ours:
            raise RetryableError("another worker has it")
        files = [
            KnownFile(one.path, one.sha256, one.size) for one in ledger.data_sets.files(data_set)
        ]
        if not files:
            return None
        # Before the first file: whatever is in the zone is known, and goes with the version.
        ledger.data_sets.place(data_set, name)
        mine = _file_set(context, zone, data_set, files)
        if zone is not context.home:
            mine.remove_others()  # at home a conversion may be at work
        state, proofs = mine.verify()
        if state.lacking or state.bad:
            report.repaired += mine.repair(proofs, now).repaired
            state, proofs = mine.verify()
            if state.absent:
                report.copied += _restore(context, data_set, zone, mine, state, now)
                state, proofs = mine.verify()
                if state.lacking:  # made at one resource alone
                    report.repaired += mine.repair(proofs, now).repaired
                    state, proofs = mine.verify()
        copy = DataSetCopy(data_set, name, now, state.replicas, len(state.lacking), state.bad)
        if {one.path for one in ledger.data_sets.files(data_set)} != {f.sop_uid for f in files}:
            return None  # it was changed meanwhile
        ledger.data_sets.set_proof(copy)
        return copy


def _file_set(
    context: ProjectContext, zone: grid.Zone, data_set: DataSet, files: Sequence[KnownFile]
) -> FileSet:
    collection = release_collection(zone, data_set.project, data_set.release, data_set.version)
    return FileSet(zone, f"{collection}/bids", files)


def _restore(
    context: ProjectContext,
    data_set: DataSet,
    zone: grid.Zone,
    mine: FileSet,
    state: FileSetState,
    now: datetime,
) -> int:
    """Copy what a zone has no good replica of from the others; return how many files."""
    left, copied = state.absent, 0
    for other in (context.home, *context.partners):
        if not left:
            break
        if other is zone or not is_reachable(context, other, now):
            continue
        theirs = _file_set(context, other, data_set, left)
        done = set(mine.copy_from(theirs, left))
        copied += len(done)
        left = [one for one in left if one not in done]
    return copied


def remove_retired(context: ProjectContext, zone: grid.Zone) -> int:
    """Remove a zone's copies of data sets whose version of the release was removed.

    Parameters
    ----------
    context
        The project.
    zone
        The zone.

    Returns
    -------
    int
        How many copies were removed.

    Raises
    ------
    ZoneError, ZoneUnavailableError
        The zone refused, or does not answer.
    RetryableError
        A worker is at one of them.
    """
    ledger, name, removed = context.ledger, zone.settings.name, 0
    for copy in ledger.data_sets.copies(context.project.name, retired=True):
        if copy.zone != name:
            continue
        one = copy.data_set
        lock = f"bids copy {one.project} {one.release} {one.version} {name}"
        with ledger.database.lock(lock, _WAIT_SECONDS) as ours:
            if not ours:
                raise RetryableError(f"{one.release} v{one.version}: another worker copies it")
            ledger.data_sets.reopen(one)
            collection = release_collection(zone, one.project, one.release, one.version)
            revoke_tickets_below(zone, collection)
            grid.remove_collection(zone, collection)
            ledger.data_sets.forget(one, name)
            removed += 1
    ledger.data_sets.forget_uncopied(context.project.name)
    return removed
