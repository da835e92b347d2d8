"""Remove received files from the receiver's folder once they are proven or rejected.

A file counts as processed by its own SHA-256, which the ledger stores with the instance that was
made of it. A file that comes meanwhile, or that comes again with other content, stays.
"""

from __future__ import annotations

import filecmp
import logging
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pacsgrid.disk import sha256_of
from pacsgrid.errors import ConfigError, HeldError, SourceUnavailableError
from pacsgrid.ledger import InstanceRecord
from pacsgrid.ledger.codes import GIVEN_UP
from pacsgrid.ledger.series_choices import SeriesChoice
from pacsgrid.model import AnonymisedInstance, FoundStudy, StudyState
from pacsgrid.pacs.received_source import ReceivedSource
from pacsgrid.pipeline.context import ProjectContext, WorkFolders
from pacsgrid.pipeline.series_choice import wanted_series

log = logging.getLogger(__name__)

_DONE = (StudyState.VERIFIED, StudyState.NOT_WANTED)


@dataclass(frozen=True)
class ProvenInstances:
    """What is proven at home of a received study that was reopened.

    Only files that came since are processed again; a PACS or drop folder gives the whole study.

    Attributes
    ----------
    rows
        The proven instances, by SOP UID.
    files
        The SHA-256 of the received files that they were made of.
    """

    rows: dict[str, InstanceRecord]
    files: frozenset[str]

    def conflict_with(self, made: AnonymisedInstance) -> HeldError | None:
        """Return why a late instance does not fit the proven ones; None when it does."""
        if any(row.subject != made.subject for row in self.rows.values()):
            return HeldError(
                "patient-mismatch",
                "a late file of this study bears another PatientID (0010,0020) than those that "
                "were processed before; correct it at the source",
            )
        row = self.rows.get(made.sop_uid)
        if row is not None and row.sha256 != made.sha256:
            return HeldError(
                "conflict",
                f"instance {made.sop_uid} is known with SHA-256 {row.sha256}, but came again with "
                f"{made.sha256}; compare them at the source",
            )
        return None


def proven_instances(context: ProjectContext, ref: str) -> ProvenInstances | None:
    """Return what is proven of a received study that was reopened; None for any other study.

    Parameters
    ----------
    context
        The study's project.
    ref
        The study's reference.

    Returns
    -------
    ProvenInstances or None
        The instances and files that need no further processing.
    """
    if not context.ledger.reports.before_reopening(ref) or _origin(context, ref) is None:
        return None
    home = context.home.settings.name
    proven = {p.sop_uid for p in context.ledger.proofs.of_study(ref) if p.good and p.zone == home}
    rows = {
        row.sop_uid: row for row in context.ledger.instances.of_study(ref) if row.sop_uid in proven
    }
    files = frozenset(
        sha for sha, sop in context.ledger.received.of_study(ref).items() if sop in proven
    )
    return ProvenInstances(rows, files) if rows else None


def is_received(context: ProjectContext, ref: str) -> bool:
    """Return whether the study came through a receiver.

    Parameters
    ----------
    context
        The study's project.
    ref
        The study's reference.

    Returns
    -------
    bool
        False also if the source is no longer in the site settings.
    """
    return _origin(context, ref) is not None


def reopen_if_new(
    context: ProjectContext, source: ReceivedSource, study: FoundStudy, ref: str
) -> bool:
    """Reopen a verified study, or one that is not wanted, if new files of it came.

    Files that are proven are removed first, so that they are not processed once more.

    Parameters
    ----------
    context
        The study's project.
    source
        The receiver's folder.
    study
        The study, as found there.
    ref
        The study's reference.

    Returns
    -------
    bool
        Whether the study was reopened.
    """
    with context.ledger.studies.lock(ref) as ours:
        if not ours or context.ledger.studies.state(ref) not in _DONE:
            return False
        _, new = _remove_processed(context, source, study, ref)
        if new:
            context.folders(ref).wipe()
            context.ledger.studies.reopen(ref)
        return new


def remove_received(context: ProjectContext, ref: str) -> int:
    """Remove the files of a study from the receiver's folder as far as its state allows.

    Of a verified study, and of one that is not wanted, the files that were processed are
    removed, to the folder of originals if the site has one. The files of a rejected study are
    copied to the quarantine first. The files and originals of a withdrawn study are removed. Of any
    other study, nothing is. The caller holds the study's lock.

    Parameters
    ----------
    context
        The study's project.
    ref
        The study's reference.

    Returns
    -------
    int
        How many files were removed.
    """
    origin = _origin(context, ref)
    return _remove(context, *origin, ref) if origin else 0


def remove_rejected(context: ProjectContext, ref: str, sha256s: Collection[str]) -> int:
    """Remove single held files of a study that a steward rejected from the receiver's folder.

    Each is copied to the quarantine first. The caller holds the study's lock.

    Parameters
    ----------
    context
        The study's project.
    ref
        The study's reference.
    sha256s
        The SHA-256 of the files, in hex.

    Returns
    -------
    int
        How many files were removed.
    """
    origin = _origin(context, ref)
    if origin is None or not _owns(context, origin[0]):
        return 0
    source, study = origin
    folders = context.folders(ref)

    def is_rejected(path: Path) -> bool:
        if sha256_of(path) not in sha256s:
            return False
        _quarantine(folders, path)
        return True

    return source.let_go(study, is_rejected)


def clean_up_received(context: ProjectContext) -> int:
    """Remove from receivers' folders what the state of each study allows.

    This finds the files of withdrawn patients too, whose identities the vault no longer holds.

    Returns
    -------
    int
        How many files were removed.
    """
    removed = 0
    for source in _receivers(context, context.ledger.studies.sources(context.project.name)):
        try:
            for uid in source.study_uids():
                first = context.pseudonyms.reference(source.name, uid)
                ref = context.ledger.versions.current_of(first)
                known = context.ledger.studies.records([ref])
                if not known or known[0].project != context.project.name:
                    continue
                with context.ledger.studies.lock(ref) as ours:
                    if ours:
                        removed += _remove(context, source, FoundStudy(uid, ""), ref)
        except SourceUnavailableError as error:
            log.warning("%s", error)
    if removed:
        log.info("%d received files removed from the receiver's folder", removed)
    return removed


def _receivers(context: ProjectContext, names: Collection[str]) -> Iterator[ReceivedSource]:
    """Yield those of the sources that are receivers' folders."""
    for name in sorted(names):
        if name not in context.site.sources:
            continue
        with suppress(ConfigError):  # a PACS whose Airflow connection was removed
            settings = context.site.source(name)
            if settings.kind == "received":
                yield ReceivedSource(settings)


def _origin(context: ProjectContext, ref: str) -> tuple[ReceivedSource, FoundStudy] | None:
    """Return where a study came from; None when that is no receiver, or not known any more."""
    sealed = context.ledger.vault.sealed(ref)
    if not sealed:
        return None
    identity = context.vault.open(ref, sealed)
    name = identity.get("source", "")
    if not identity["study_uid"] or name not in context.site.sources:
        return None
    settings = context.site.source(name)
    if settings.kind != "received":
        return None
    return ReceivedSource(settings), FoundStudy(identity["study_uid"], identity["patient_id"])


def _owns(context: ProjectContext, source: ReceivedSource) -> bool:
    """Return whether the receiver receives for this project; other projects may only read."""
    receiver = context.site.receiver
    if receiver is None or receiver.source != source.name:
        return True
    return receiver.project in ("", context.project.name)


def _remove(context: ProjectContext, source: ReceivedSource, study: FoundStudy, ref: str) -> int:
    state = context.ledger.studies.state(ref)
    if not _owns(context, source):
        return 0
    if state in _DONE:
        removed, new = _remove_processed(context, source, study, ref)
        if new:  # it may have been announced while the study was being processed
            source.announce_again(study)
        return removed
    if state is StudyState.WITHDRAWN:
        return source.forget_originals(study) + source.let_go(study, lambda path: True)
    if state is StudyState.HELD and context.ledger.studies.held_code(ref) in GIVEN_UP:
        folders = context.folders(ref)

        def quarantined(path: Path) -> bool:
            _quarantine(folders, path)
            return True

        return source.let_go(study, quarantined)
    return 0


def _remove_processed(
    context: ProjectContext, source: ReceivedSource, study: FoundStudy, ref: str
) -> tuple[int, bool]:
    """Remove what a verified study was made of; return how many, and whether any file is new."""
    owned = _owns(context, source)
    processed = context.ledger.received.of_study(ref)
    if "" in processed.values() and not _is_chosen_as_before(context, ref):
        # What was not wanted may be wanted now.
        processed = {sha: sop for sha, sop in processed.items() if sop}
    held = {sha for _, sha in context.ledger.held.of_study(ref)}
    new = False

    def may_go(path: Path) -> bool:
        nonlocal new
        sha = sha256_of(path)
        new = new or not (sha in processed or sha in held)
        if not owned or sha not in processed:
            return False
        if processed[sha]:
            source.keep_original(study, path, processed[sha])
        return True

    removed = source.let_go(study, may_go)
    if kept := source.originals(study).keys():
        context.ledger.received.set_kept(ref, kept)
    return removed, new


def _is_chosen_as_before(context: ProjectContext, ref: str) -> bool:
    """Return whether the series that are wanted of a study are those it was looked through for."""
    choice = context.ledger.series.of_studies([ref]).get(ref, SeriesChoice())
    return wanted_series(context, ref, choice).hash == choice.applied


def _quarantine(folders: WorkFolders, path: Path) -> None:
    """Copy a file to the quarantine unless it is there."""
    twin = folders.quarantine / path.name
    if not (twin.exists() and filecmp.cmp(twin, path, shallow=False)):
        folders.quarantine_file(path)
