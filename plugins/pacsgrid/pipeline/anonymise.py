"""Anonymise: staging to outbox, checked, with what cannot go on held file by file."""

from __future__ import annotations

import logging
import shutil
from collections import defaultdict
from pathlib import Path

import pydicom

from pacsgrid.deid import Checker, anonymise_file, collect_identifiers
from pacsgrid.errors import HeldError
from pacsgrid.model import AnonymisedInstance
from pacsgrid.pipeline.context import Line

log = logging.getLogger(__name__)


def anonymise(line: Line, ref: str) -> None:
    """Anonymise and check a staged study.

    A single bad file is held and the rest goes on; an identifying value that the checker finds
    stops the whole study, since the profile then cannot be trusted with any of it.

    Raises
    ------
    HeldError
        The checker refused, the files name several patients, or no instance is left.
    """
    rooms = line.rooms(ref)
    shutil.rmtree(rooms.outbox, ignore_errors=True)
    rooms.outbox.mkdir(parents=True, mode=0o700)
    files = sorted(path for path in rooms.staging.iterdir() if path.suffix == ".dcm")
    identifiers = collect_identifiers(files)
    checker = Checker(line.profile)
    checker.learn(files)
    clashing = _clashing(files)
    done: list[AnonymisedInstance] = []
    first: HeldError | None = None
    for path in files:
        try:
            if path in clashing:
                raise HeldError(
                    "duplicate-conflict",
                    "several files of this study bear the same SOPInstanceUID (0008,0018) with "
                    "different content; keep the right one at the source",
                )
            made = anonymise_file(path, rooms.outbox, line.pseudonyms, line.profile, identifiers)
        except HeldError as error:
            first = first or error
            _hold_file(line, ref, path, error)
            continue
        checker.check(path, made.path)
        done.append(made)
    if not done:
        raise first or HeldError("empty", "no file of this study was left to anonymise")
    if len({made.subject for made in done}) > 1:
        raise HeldError(
            "patient-mismatch",
            "the files of this study bear different PatientIDs (0010,0020); correct it at the "
            "source",
        )
    line.ledger.add_instances(ref, done)
    log.info("%s: %d instances anonymised, %d held", ref, len(done), len(files) - len(done))


def _clashing(files: list[Path]) -> set[Path]:
    by_uid: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        try:
            header = pydicom.dcmread(
                path, specific_tags=["SOPInstanceUID"], stop_before_pixels=True
            )
        except Exception:
            continue  # anonymise_file names what is wrong with it
        if uid := str(header.get("SOPInstanceUID", "")):
            by_uid[uid].append(path)
    return {path for paths in by_uid.values() if len(paths) > 1 for path in paths}


def _hold_file(line: Line, ref: str, path: Path, error: HeldError) -> None:
    digest = line.rooms(ref).keep(path)
    line.ledger.hold_item(ref, error.code, error.detail, digest)
    log.warning("%s: one file held, %s", ref, error.code)
