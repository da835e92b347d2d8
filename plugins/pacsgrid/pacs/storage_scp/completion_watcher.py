"""Find out when a received study is complete, and announce it to the ingest."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pacsgrid.errors import PacsgridError
from pacsgrid.pacs.header import read_header
from pacsgrid.pacs.storage_scp.incoming import OWNERS, PARTS

log = logging.getLogger(__name__)

ANNOUNCED = ".announced"


@dataclass(frozen=True)
class CompleteStudy:
    """A complete study: its directory's opaque name, and its number of instances."""

    directory: str
    instances: int


def announced(directory: Path) -> dict[str, int]:
    """Return the files that a study had when it was last announced.

    Returns
    -------
    dict
        Modification time in ns by file name. The time distinguishes an instance that came again
        from one that was ingested and removed.
    """
    try:
        return dict(json.loads((directory / ANNOUNCED).read_text())["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def is_complete(directory: Path) -> bool:
    """Return whether all files of a study were announced; False for an empty directory."""
    files = _files(directory)
    return bool(files) and files.items() <= announced(directory).items()


def _files(directory: Path) -> dict[str, int]:
    files: dict[str, int] = {}
    # Files that were ingested may be removed meanwhile, and the directory with them.
    with suppress(FileNotFoundError), os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.endswith(".dcm"):
                with suppress(FileNotFoundError):
                    files[entry.name] = entry.stat().st_mtime_ns
    return files


class CompletionWatcher:
    """Scans the receiver's folder and announces each study once it is complete.

    Its state is on disk, so it may be killed at any time. A study that gets more instances is
    announced again.

    Parameters
    ----------
    folder
        The receiver's folder.
    quiet_seconds, count_seconds
        A study is complete when nothing arrived for `quiet_seconds`, or for `count_seconds` if it
        has as many instances as `count` returns.
    announce
        Tells the ingest; after a `PacsgridError` it is called again later.
    count
        Returns a study's number of instances by its UID, None if it is not known.
    """

    def __init__(
        self,
        folder: Path,
        quiet_seconds: float,
        count_seconds: float,
        announce: Callable[[CompleteStudy], None],
        count: Callable[[str], int | None] | None = None,
    ) -> None:
        self._folder = folder
        self._quiet_seconds = quiet_seconds
        self._count_seconds = count_seconds if count else quiet_seconds
        self._announce = announce
        self._count = count
        self._counted_at: dict[str, int] = {}

    def scan(self) -> int:
        """Scan the folder once; return how many studies were announced."""
        done = 0
        for directory in sorted(self._folder.iterdir()):
            if directory.name in (PARTS, OWNERS) or not directory.is_dir():
                continue
            files = self._files_to_announce(directory)
            if not files:
                continue
            study = CompleteStudy(directory.name, len(files))
            try:
                self._announce(study)
            except PacsgridError as error:
                log.warning("%s could not be announced: %s", study.directory, error)
                continue
            with suppress(FileNotFoundError):
                mark = directory / f"{ANNOUNCED}.part"
                mark.write_text(json.dumps({"files": files}))
                os.replace(mark, directory / ANNOUNCED)
            log.info("%s is complete with %d instances", study.directory, study.instances)
            done += 1
        return done

    def run(self, pause_seconds: float = 1.0) -> None:
        """Scan repeatedly until the service that started this process has ended."""
        parent = os.getppid()
        while os.getppid() == parent:
            try:
                self.scan()
            except OSError as error:
                log.error("cannot scan the receiver's folder: errno %s", error.errno)
            time.sleep(pause_seconds)

    def _files_to_announce(self, directory: Path) -> dict[str, int]:
        """Return the files of a complete study that was not announced with all of them."""
        files = _files(directory)
        silence = time.time() - max(files.values(), default=0) / 1e9
        if (
            not files
            or silence < self._count_seconds
            or files.items() <= announced(directory).items()
            or (silence < self._quiet_seconds and not self._has_all(directory, files))
        ):
            return {}
        return files

    def _has_all(self, directory: Path, files: dict[str, int]) -> bool:
        """Return whether a study has as many files as its source counts instances."""
        name = directory.name
        if self._count is None or self._counted_at.get(name) == len(files):
            return False
        try:
            header = read_header(directory / min(files))
            total = self._count(header.study_uid) if header else None
        except PacsgridError as error:
            log.warning("%s: its source does not say how many instances it has: %s", name, error)
            total = None
        # Ask once for each number of files: otherwise the quiet time decides.
        self._counted_at[name] = len(files)
        return total is not None and len(files) >= total
