"""When received files leave the receiver's folder: their instances are proven, or given up.

A file counts as taken through by its own SHA-256, which the ledger has with the instance that came
of it: what comes meanwhile, or comes again with other content, stays.
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
from pacsgrid.ledger import InstanceRow
from pacsgrid.ledger.codes import GIVEN_UP
from pacsgrid.model import AnonymisedInstance, FoundStudy, StudyState
from pacsgrid.pacs.received_source import ReceivedSource
from pacsgrid.pipeline.context import ProjectContext, WorkFolders

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ProvenInstances:
    """What is proven at home of a received study: instances by SOP UID, and their files' SHA-256.

    Only what came since is taken through again; a PACS or drop folder gives the whole study.
    """

    rows: dict[str, InstanceRow]
    files: frozenset[str]

    def against(self, made: AnonymisedInstance) -> HeldError | None:
        """Say why a late instance cannot stand beside the settled ones; None when it can."""
        if any(row.subject != made.subject for row in self.rows.values()):
            return HeldError(
                "patient-mismatch",
                "a late file of this study bears another PatientID (0010,0020) than those that "
                "were taken before; correct it at the source",
            )
        row = self.rows.get(made.sop_uid)
        if row is not None and row.sha256 != made.sha256:
            return HeldError(
                "conflict",
                f"instance {made.sop_uid} is known with SHA-256 {row.sha256}, now it came with "
                f"{made.sha256}; compare them at the source",
            )
        return None


def proven_instances(context: ProjectContext, ref: str) -> ProvenInstances | None:
    """Return what is settled of a received study that was taken up again, None of any other."""
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
    """Whether the study came by a receiver."""
    return _origin(context, ref) is not None


def reopen_if_new(
    context: ProjectContext, source: ReceivedSource, study: FoundStudy, ref: str
) -> bool:
    """Reopen a verified study of which something new came; returns whether.

    What is settled leaves before, so that it is not taken through once more.
    """
    with context.ledger.studies.lock(ref) as ours:
        if not ours or context.ledger.studies.state(ref) is not StudyState.VERIFIED:
            return False
        _, new = _leave_settled(context, source, study, ref)
        if new:
            context.folders(ref).wipe()
            context.ledger.studies.reopen(ref)
        return new


def remove_received(context: ProjectContext, ref: str) -> int:
    """Let a study's files go as its state allows, the lock held; returns how many left.

    Of a verified study goes what was taken through; a rejected one's files are in the quarantine
    first. Of any other, nothing.
    """
    origin = _origin(context, ref)
    return _leave(context, *origin, ref) if origin else 0


def remove_rejected(context: ProjectContext, ref: str, sha256s: Collection[str]) -> int:
    """Let single held files of a study go that a steward rejected; returns how many left.

    The quarantine has each of them first. The lock is held.
    """
    origin = _origin(context, ref)
    if origin is None or not _ours(context, origin[0]):
        return 0
    source, study = origin
    folders = context.folders(ref)
    return source.let_go(
        study, lambda path: sha256_of(path) in sha256s and _set_aside(folders, path)
    )


def clean_up_received(context: ProjectContext) -> int:
    """Let go of every study in a receiver's folder what its state allows; returns how many files.

    This finds those of withdrawn patients too, whose way back is destroyed.
    """
    gone = 0
    studies = context.ledger.studies.find(context.project.name)
    known = {study.ref for study in studies}
    for source in _receivers(context, {study.source for study in studies}):
        try:
            for uid in source.study_uids():
                ref = context.pseudonyms.reference(source.name, uid)
                if ref not in known:
                    continue
                with context.ledger.studies.lock(ref) as ours:
                    if ours:
                        gone += _leave(context, source, FoundStudy(uid, ""), ref)
        except SourceUnavailableError as error:
            log.warning("%s", error)
    if gone:
        log.info("%d received files left the receiver's folder", gone)
    return gone


def _receivers(context: ProjectContext, names: Collection[str]) -> Iterator[ReceivedSource]:
    """Give those of the sources that are receivers' folders."""
    for name in sorted(names):
        if name not in context.site.sources:
            continue
        with suppress(ConfigError):  # a PACS whose connection is not there any more
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


def _ours(context: ProjectContext, source: ReceivedSource) -> bool:
    """Whether what the receiver takes in is for this project; another one may only read it."""
    receiver = context.site.receiver
    if receiver is None or receiver.source != source.name:
        return True
    return receiver.project in ("", context.project.name)


def _leave(context: ProjectContext, source: ReceivedSource, study: FoundStudy, ref: str) -> int:
    state = context.ledger.studies.state(ref)
    if not _ours(context, source):
        return 0
    if state is StudyState.VERIFIED:
        gone, new = _leave_settled(context, source, study, ref)
        if new:  # it may have been announced while the study was on its way
            source.announce_again(study)
        return gone
    if state is StudyState.WITHDRAWN:
        return source.let_go(study, lambda path: True)
    if state is StudyState.HELD and context.ledger.studies.held_code(ref) in GIVEN_UP:
        folders = context.folders(ref)
        return source.let_go(study, lambda path: _set_aside(folders, path))
    return 0


def _leave_settled(
    context: ProjectContext, source: ReceivedSource, study: FoundStudy, ref: str
) -> tuple[int, bool]:
    """Let go what a verified study was made of; returns how many, and whether anything is new."""
    ours = _ours(context, source)
    taken = context.ledger.received.of_study(ref)
    waiting = {sha for _, sha in context.ledger.held.of_study(ref)}
    new = False

    def goes(path: Path) -> bool:
        nonlocal new
        sha = sha256_of(path)
        new = new or not (sha in taken or sha in waiting)
        return ours and sha in taken

    return source.let_go(study, goes), new


def _set_aside(folders: WorkFolders, path: Path) -> bool:
    """Have the quarantine hold a file; returns True."""
    twin = folders.quarantine / path.name
    if not (twin.exists() and filecmp.cmp(twin, path, shallow=False)):
        folders.quarantine_file(path)
    return True
