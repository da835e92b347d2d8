"""When a received study is complete, and telling the ingest so, once for what it holds."""

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
from pacsgrid.pacs.receiver.incoming import OWNERS, PARTS

log = logging.getLogger(__name__)

ANNOUNCED = ".announced"


@dataclass(frozen=True)
class Complete:
    """A study that is complete: its opaque directory name and how many instances it has."""

    directory: str
    instances: int


def announced(directory: Path) -> dict[str, int]:
    """Give the files that the study had when it was announced last, with their mtimes in ns.

    The time tells an instance that came again from one that was taken through and left.
    """
    try:
        return dict(json.loads((directory / ANNOUNCED).read_text())["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def is_complete(directory: Path) -> bool:
    """Whether everything that is there of a study was announced; false for an empty directory."""
    files = _files(directory)
    return bool(files) and files.items() <= announced(directory).items()


def _files(directory: Path) -> dict[str, int]:
    files: dict[str, int] = {}
    # What was taken through may leave meanwhile, and the directory with it.
    with suppress(FileNotFoundError), os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.endswith(".dcm"):
                with suppress(FileNotFoundError):
                    files[entry.name] = entry.stat().st_mtime_ns
    return files


class Watcher:
    """Looks over the folder and announces each study once it is complete.

    All it knows is on disk, so it may be killed at any time. A study that gets more instances
    is announced again.

    Parameters
    ----------
    folder
        The receiver's folder.
    quiet_seconds, count_seconds
        A study is complete when nothing came for `quiet_seconds`, or for `count_seconds` when
        it holds as many instances as `count` says.
    announce
        Tells the ingest; an error means that it is told again later.
    count
        Gives the number of a study's instances by its UID, None where it is not known.
    """

    def __init__(
        self,
        folder: Path,
        quiet_seconds: float,
        count_seconds: float,
        announce: Callable[[Complete], None],
        count: Callable[[str], int | None] | None = None,
    ) -> None:
        self._folder = folder
        self._quiet = quiet_seconds
        self._count_quiet = count_seconds if count else quiet_seconds
        self._announce = announce
        self._count = count
        self._asked: dict[str, int] = {}

    def look(self) -> int:
        """Look once; gives how many studies were announced."""
        done = 0
        for directory in sorted(self._folder.iterdir()):
            if directory.name in (PARTS, OWNERS) or not directory.is_dir():
                continue
            files = self._complete(directory)
            if not files:
                continue
            study = Complete(directory.name, len(files))
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

    def run(self, pause: float = 1.0) -> None:
        """Look for ever, or until the service that started this process is no more."""
        parent = os.getppid()
        while os.getppid() == parent:
            try:
                self.look()
            except OSError as error:
                log.error("cannot look over the folder: errno %s", error.errno)
            time.sleep(pause)

    def _complete(self, directory: Path) -> dict[str, int]:
        """Give the files of a study that is complete and was not announced as it is."""
        files = _files(directory)
        silence = time.time() - max(files.values(), default=0) / 1e9
        if (
            not files
            or silence < self._count_quiet
            or files.items() <= announced(directory).items()
            or (silence < self._quiet and not self._is_all(directory, files))
        ):
            return {}
        return files

    def _is_all(self, directory: Path, files: dict[str, int]) -> bool:
        name = directory.name
        if self._count is None or self._asked.get(name) == len(files):
            return False
        try:
            header = read_header(directory / min(files))
            told = self._count(header.study_uid) if header else None
        except PacsgridError as error:
            log.warning("%s: its source does not say how many instances it has: %s", name, error)
            told = None
        # Asked once for each number of files: the quiet time is there for the rest.
        self._asked[name] = len(files)
        return told is not None and len(files) >= told
