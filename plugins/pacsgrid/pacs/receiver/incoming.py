"""Where received instances go: a directory per study, every file whole under its name.

An instance is written to a temporary name, gets one that tells its size and checksum when all of
it came, and is brought to disk and filed with others. What a killed process left behind with
such a name is filed later: its sender was told that it is safe.
"""

from __future__ import annotations

import filecmp
import hashlib
import logging
import os
import re
import time
import zlib
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from pydicom import dcmread
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag

from pacsgrid.disk import sync_directory, sync_files
from pacsgrid.pacs.part10 import write_head
from pacsgrid.pacs.quiet import hush
from pacsgrid.pacs.staging import name_for

hush()
log = logging.getLogger(__name__)

PARTS = ".parts"
MOST_WAITING = 64
MOST_BYTES = 64 << 20
MOST_SECONDS = 0.5
_HEAD = 64 * 1024
_STUDY_UID = BaseTag(0x0020000D)
_DEFLATED = "1.2.840.10008.1.2.1.99"
_WHOLE = re.compile(r"-(\d+)-([0-9a-f]{8})\.whole$")


class NotUnderstood(Exception):
    """The dataset cannot be read up to its StudyInstanceUID."""


def directory_for(study_uid: str) -> str:
    """Give the name of a study's directory, which tells nothing about the UID."""
    return hashlib.sha256(study_uid.encode()).hexdigest()[:32]


@dataclass
class Arrival:
    """An instance that is being written."""

    path: Path
    handle: int
    sop_uid: str
    syntax: str
    head: bytes
    meta_size: int
    size: int = 0
    crc: int = 0

    def write(self, piece: bytes | memoryview) -> None:
        """Append; raises OSError."""
        done = 0
        while done < len(piece):
            done += os.write(self.handle, piece[done:])
        self.crc = zlib.crc32(piece, self.crc)
        self.size += len(piece)
        if len(self.head) < _HEAD:
            self.head += bytes(piece[: _HEAD - len(self.head)])

    def drop(self) -> None:
        """Forget it."""
        os.close(self.handle)
        self.path.unlink(missing_ok=True)


class Incoming:
    """The receiver's folder, as one process writes to it.

    Parameters
    ----------
    folder
        The folder of the settings.
    reserve
        Bytes of free disk space that are left for others.
    """

    def __init__(self, folder: Path, reserve: int) -> None:
        self._folder = folder
        self._parts = folder / PARTS
        self._reserve = reserve
        self._parts.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._waiting: list[tuple[int, Path, Path]] = []
        self._bytes = 0
        self._since = 0.0
        self._number = 0
        self._disk: ThreadPoolExecutor | None = None
        self._running: Future[None] | None = None

    def has_room(self) -> bool:
        """Whether the disk has more free than the reserve."""
        state = os.statvfs(self._parts)
        return state.f_bavail * state.f_frsize > self._reserve

    def begin(self, sop_class: str, sop_uid: str, syntax: str) -> Arrival:
        """Start a file with its preamble and file meta information (PS3.10 7.1).

        Raises
        ------
        OSError
            The disk does not take it, or did not take earlier ones.
        """
        if len(self._waiting) >= MOST_WAITING or self._bytes >= MOST_BYTES:
            self.begin_flush()
        self._number += 1
        path = self._parts / f"{os.getpid()}-{self._number}.part"
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        arrival = Arrival(path, handle, sop_uid, syntax, b"", 0)
        try:
            arrival.write(write_head(sop_class, sop_uid, syntax))
        except OSError:
            arrival.drop()
            raise
        arrival.meta_size = arrival.size
        return arrival

    def finish(self, arrival: Arrival) -> None:
        """Take a file that is whole; it stands under its name after the next flush.

        Raises
        ------
        NotUnderstood
            It cannot be told which study it belongs to.
        """
        study = study_uid(arrival.head[arrival.meta_size :], arrival.path, arrival.syntax)
        mark = f"{arrival.path.stem}-{arrival.size}-{arrival.crc:08x}.whole"
        whole = arrival.path.with_name(mark)
        os.rename(arrival.path, whole)
        target = self._folder / directory_for(study) / name_for(arrival.sop_uid)
        if not self._waiting:
            self._since = time.monotonic()
        self._waiting.append((arrival.handle, whole, target))
        self._bytes += arrival.size

    def patience(self) -> float | None:
        """Seconds until what waits should be flushed; None when nothing waits."""
        if not self._waiting:
            return None
        return max(0.0, self._since + MOST_SECONDS - time.monotonic())

    def begin_flush(self) -> None:
        """Start to bring what is whole to disk, while more may be written.

        Raises
        ------
        OSError
            What an earlier flush started could not be brought to disk.
        """
        self._wait()
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        if waiting:
            # No thread before there is something to do: the process may have been forked.
            self._disk = self._disk or ThreadPoolExecutor(1)
            self._running = self._disk.submit(_to_disk, waiting)

    def flush(self) -> None:
        """Return when everything that is whole stands under its name, on disk."""
        self.begin_flush()
        self._wait()

    def _wait(self) -> None:
        running, self._running = self._running, None
        if running:
            running.result()


def _to_disk(waiting: list[tuple[int, Path, Path]]) -> None:
    failed = sync_files([handle for handle, _, _ in waiting])
    for handle, _, _ in waiting:
        os.close(handle)
    if failed:
        raise next(iter(failed.values()))
    for _, whole, target in waiting:
        file_under(whole, target)
    for directory in {target.parent for _, _, target in waiting}:
        sync_directory(directory)


def study_uid(head: bytes, path: Path, syntax: str) -> str:
    """Read the StudyInstanceUID from a dataset's start, or from its file if it stands later."""
    uid = ""
    if syntax != _DEFLATED:
        try:
            data = read_dataset(
                BytesIO(head),
                syntax == "1.2.840.10008.1.2",
                syntax != "1.2.840.10008.1.2.2",
                stop_when=lambda tag, vr, length: tag > _STUDY_UID,
                specific_tags=[_STUDY_UID],
            )
            uid = str(data.get("StudyInstanceUID") or "").strip("\0 ")
        except Exception:  # whatever a malformed dataset makes of it, the file decides
            uid = ""
    if not uid:
        try:
            data = dcmread(path, stop_before_pixels=True, specific_tags=["StudyInstanceUID"])
            uid = str(data.get("StudyInstanceUID") or "").strip("\0 ")
        except Exception as error:
            raise NotUnderstood(f"its dataset cannot be read: {type(error).__name__}") from None
    if not uid:
        raise NotUnderstood("it has no StudyInstanceUID (0020,000D)")
    return uid


def file_under(whole: Path, target: Path) -> None:
    """Give a file its name; one that came before stays, other content beside it.

    The ingest holds a study with two contents of one instance.
    """
    target.parent.mkdir(mode=0o700, exist_ok=True)
    if target.exists():
        if filecmp.cmp(whole, target, shallow=False):
            whole.unlink()
            return
        with whole.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()[:16]
        log.error("an instance came again with other content; both are kept")
        target = target.with_name(f"{target.stem}-{digest}.dcm")
    os.replace(whole, target)


def recover(folder: Path, alive: set[int]) -> int:
    """File what processes that are no more left whole, drop the rest; gives how many were filed."""
    filed = 0
    for path in list((folder / PARTS).iterdir()):
        owner = path.name.split("-", 1)[0]
        if owner.isdigit() and int(owner) in alive:
            continue
        told = _WHOLE.search(path.name)
        if told and _is_whole(path, int(told[1]), int(told[2], 16)):
            try:
                data = dcmread(path, stop_before_pixels=True, specific_tags=["StudyInstanceUID"])
                study = str(data.StudyInstanceUID)
                sop_uid = str(data.file_meta.MediaStorageSOPInstanceUID)
            except Exception:  # it was read once already, so this is the disk's doing
                log.error("a received file cannot be read any more; it stays in %s", PARTS)
                continue
            file_under(path, folder / directory_for(study) / name_for(sop_uid))
            filed += 1
        else:
            path.unlink(missing_ok=True)
    return filed


def _is_whole(path: Path, size: int, crc: int) -> bool:
    if path.stat().st_size != size:
        return False
    found = 0
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            found = zlib.crc32(piece, found)
        os.fsync(stream.fileno())
    return found == crc
