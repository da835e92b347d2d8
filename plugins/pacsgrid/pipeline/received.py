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
from pacsgrid.errors import ConfigError, HeldError, SourceUnavailable
from pacsgrid.ledger import InstanceRow
from pacsgrid.ledger.codes import GIVEN_UP
from pacsgrid.model import AnonymisedInstance, FoundStudy, StudyState
from pacsgrid.pacs.received_source import ReceivedSource
from pacsgrid.pipeline.context import Line, Rooms

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settled:
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


def settled_before(line: Line, ref: str) -> Settled | None:
    """Return what is settled of a received study that was taken up again, None of any other."""
    if not line.ledger.settled_report(ref) or _origin(line, ref) is None:
        return None
    home = line.home.settings.name
    proven = {p.sop_uid for p in line.ledger.proofs(ref) if p.good and p.zone == home}
    rows = {row.sop_uid: row for row in line.ledger.instances(ref) if row.sop_uid in proven}
    files = frozenset(sha for sha, sop in line.ledger.received(ref).items() if sop in proven)
    return Settled(rows, files) if rows else None


def is_received(line: Line, ref: str) -> bool:
    """Whether the study came by a receiver."""
    return _origin(line, ref) is not None


def take_up(line: Line, source: ReceivedSource, study: FoundStudy, ref: str) -> bool:
    """Reopen a verified study of which something new came; returns whether.

    What is settled leaves before, so that it is not taken through once more.
    """
    with line.ledger.lock_study(ref) as ours:
        if not ours or line.ledger.state(ref) is not StudyState.VERIFIED:
            return False
        _, new = _leave_settled(line, source, study, ref)
        if new:
            line.rooms(ref).wipe()
            line.ledger.reopen(ref)
        return new


def leave(line: Line, ref: str) -> int:
    """Let a study's files go as its state allows, the lock held; returns how many left.

    Of a verified study goes what was taken through; a rejected one's files are in the quarantine
    first. Of any other, nothing.
    """
    origin = _origin(line, ref)
    return _leave(line, *origin, ref) if origin else 0


def give_up(line: Line, ref: str, sha256s: Collection[str]) -> int:
    """Let single held files of a study go that a steward rejected; returns how many left.

    The quarantine has each of them first. The lock is held.
    """
    origin = _origin(line, ref)
    if origin is None or not _ours(line, origin[0]):
        return 0
    source, study = origin
    rooms = line.rooms(ref)
    return source.let_go(study, lambda path: sha256_of(path) in sha256s and _set_aside(rooms, path))


def sweep_received(line: Line) -> int:
    """Let go of every study in a receiver's folder what its state allows; returns how many files.

    This finds those of withdrawn patients too, whose way back is destroyed.
    """
    gone = 0
    studies = line.ledger.studies(line.project.name)
    known = {study.ref for study in studies}
    for source in _receivers(line, {study.source for study in studies}):
        try:
            for uid in source.study_uids():
                ref = line.pseudonyms.reference(source.name, uid)
                if ref not in known:
                    continue
                with line.ledger.lock_study(ref) as ours:
                    if ours:
                        gone += _leave(line, source, FoundStudy(uid, ""), ref)
        except SourceUnavailable as error:
            log.warning("%s", error)
    if gone:
        log.info("%d received files left the receiver's folder", gone)
    return gone


def _receivers(line: Line, names: Collection[str]) -> Iterator[ReceivedSource]:
    """Give those of the sources that are receivers' folders."""
    for name in sorted(names):
        if name not in line.site.sources:
            continue
        with suppress(ConfigError):  # a PACS whose connection is not there any more
            settings = line.site.source(name)
            if settings.kind == "received":
                yield ReceivedSource(settings)


def _origin(line: Line, ref: str) -> tuple[ReceivedSource, FoundStudy] | None:
    """Return where a study came from; None when that is no receiver, or not known any more."""
    sealed = line.ledger.sealed(ref)
    if not sealed:
        return None
    identity = line.vault.open(ref, sealed)
    name = identity.get("source", "")
    if not identity["study_uid"] or name not in line.site.sources:
        return None
    settings = line.site.source(name)
    if settings.kind != "received":
        return None
    return ReceivedSource(settings), FoundStudy(identity["study_uid"], identity["patient_id"])


def _ours(line: Line, source: ReceivedSource) -> bool:
    """Whether what the receiver takes in is for this project; another one may only read it."""
    receiver = line.site.receiver
    if receiver is None or receiver.source != source.name:
        return True
    return receiver.project in ("", line.project.name)


def _leave(line: Line, source: ReceivedSource, study: FoundStudy, ref: str) -> int:
    state = line.ledger.state(ref)
    if not _ours(line, source):
        return 0
    if state is StudyState.VERIFIED:
        gone, new = _leave_settled(line, source, study, ref)
        if new:  # it may have been announced while the study was on its way
            source.announce_again(study)
        return gone
    if state is StudyState.WITHDRAWN:
        return source.let_go(study, lambda path: True)
    if state is StudyState.HELD and line.ledger.held_code(ref) in GIVEN_UP:
        rooms = line.rooms(ref)
        return source.let_go(study, lambda path: _set_aside(rooms, path))
    return 0


def _leave_settled(
    line: Line, source: ReceivedSource, study: FoundStudy, ref: str
) -> tuple[int, bool]:
    """Let go what a verified study was made of; returns how many, and whether anything is new."""
    ours = _ours(line, source)
    taken = line.ledger.received(ref)
    waiting = {sha for _, sha in line.ledger.held_items(ref)}
    new = False

    def goes(path: Path) -> bool:
        nonlocal new
        sha = sha256_of(path)
        new = new or not (sha in taken or sha in waiting)
        return ours and sha in taken

    return source.let_go(study, goes), new


def _set_aside(rooms: Rooms, path: Path) -> bool:
    """Have the quarantine hold a file; returns True."""
    twin = rooms.quarantine / path.name
    if not (twin.exists() and filecmp.cmp(twin, path, shallow=False)):
        rooms.keep(path)
    return True
