"""The receiver's folder: one directory per study, every file under its name complete.

An instance is written to a temporary name. Once complete it is renamed to a name with its size and
the machine's boot ID; then it is synced and filed with others. What a killed process left under
such a name is filed later, since its sender was told that it is stored. Files from an earlier boot
are discarded: the name may have reached the disk before the content. Each writer locks a file of
its own, which tells other processes, machines and containers that it is alive.
"""

from __future__ import annotations

import fcntl
import filecmp
import logging
import os
import re
import secrets
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pacsgrid.disk import sha256_of, sync_directory, sync_files
from pacsgrid.pacs.dataset import (
    SERIES_UID,
    SOP_CLASS,
    SOP_UID,
    STUDY_UID,
    MalformedDatasetError,
    decode_text,
    open_stored,
    walk,
)
from pacsgrid.pacs.header import read_header
from pacsgrid.pacs.part10 import write_head
from pacsgrid.pacs.staging import name_for, opaque_name
from pacsgrid.uids import is_archived_uid

log = logging.getLogger(__name__)

PARTS, OWNERS = ".parts", ".owners"
MOST_WAITING = 64
MOST_BYTES = 64 << 20
MOST_SECONDS = 0.5
_HEAD_BYTES = 64 * 1024
_NAMES = {
    SOP_CLASS: "SOPClassUID (0008,0016)",
    SOP_UID: "SOPInstanceUID (0008,0018)",
    STUDY_UID: "StudyInstanceUID (0020,000D)",
    SERIES_UID: "SeriesInstanceUID (0020,000E)",
}
_COMPLETE = re.compile(r"-(\d+)-([0-9a-f]+)\.whole$")


class InvalidInstanceError(Exception):
    """A dataset is truncated, not in its transfer syntax, or lacks a valid UID."""


class InstanceMismatchError(InvalidInstanceError):
    """A dataset's SOP class or instance is not that of its C-STORE request."""


def directory_for(study_uid: str) -> str:
    """Return the name of a study's directory, which does not reveal the UID."""
    return opaque_name(study_uid)


def _boot_id() -> str:
    """Return an ID of the machine's boot; page cache and disk agree until the next one."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")


@dataclass(slots=True)
class Arrival:
    """An instance that is being written.

    Attributes
    ----------
    path, handle
        The temporary file.
    sop_class, sop_uid, syntax
        UIDs of the request and its presentation context.
    head
        The file's first 64 KiB.
    meta_size
        Length of what precedes the dataset, in bytes.
    size
        Bytes written so far.
    study
        StudyInstanceUID, once it was read.
    """

    path: str
    handle: int
    sop_class: str
    sop_uid: str
    syntax: str
    head: bytes
    meta_size: int
    size: int = 0
    study: str = ""

    def write(self, piece: bytes | memoryview) -> None:
        """Append to the file; raise OSError if the disk does not take it."""
        done = os.write(self.handle, piece)
        while done < len(piece):
            done += os.write(self.handle, piece[done:])
        self.size += len(piece)
        if len(self.head) < _HEAD_BYTES:
            self.head += bytes(piece[: _HEAD_BYTES - len(self.head)])

    def discard(self) -> None:
        """Close and remove the file."""
        os.close(self.handle)
        with suppress(FileNotFoundError):
            os.unlink(self.path)


class Incoming:
    """The receiver's folder, as one association or request writes to it.

    Parameters
    ----------
    folder
        The folder of the settings.
    reserve
        Free disk space to leave, in bytes.
    """

    def __init__(self, folder: Path, reserve: int) -> None:
        self._folder = folder
        self._parts = folder / PARTS
        self._reserve = reserve
        self._owners = folder / OWNERS
        folder.parent.mkdir(parents=True, exist_ok=True)
        for directory in (folder, self._parts, self._owners):
            directory.mkdir(exist_ok=True, mode=0o700)
        self._owner, self._lock = "", -1
        self._boot = _boot_id()
        self._waiting: list[tuple[int, str, str]] = []
        self._bytes = 0
        self._since = 0.0
        self._number = 0
        self._disk: ThreadPoolExecutor | None = None
        self._running: Future[None] | None = None

    def has_room(self) -> bool:
        """Return whether the disk has more free space than the reserve."""
        state = os.statvfs(self._parts)
        return state.f_bavail * state.f_frsize > self._reserve

    def _next_path(self) -> str:
        """Return the next temporary path; the first call makes this writer known to others."""
        while not self._owner:
            owner = secrets.token_hex(8)
            lock = os.open(self._owners / owner, os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Another process may have removed it meanwhile, as a dead writer's.
            if (self._owners / owner).exists():
                self._owner, self._lock = owner, lock
            else:
                os.close(lock)
        self._number += 1
        return f"{self._parts}/{self._owner}-{self._number}.part"

    def begin(self, sop_class: str, sop_uid: str, syntax: str) -> Arrival:
        """Start a file with preamble and file meta information (PS3.10 section 7.1).

        Parameters
        ----------
        sop_class, sop_uid, syntax
            UIDs of SOP class, SOP instance and transfer syntax.

        Returns
        -------
        Arrival
            The file, to which the data set is written.

        Raises
        ------
        OSError
            The disk does not take this file, or did not take earlier ones.
        """
        if len(self._waiting) >= MOST_WAITING or self._bytes >= MOST_BYTES:
            self.begin_flush()
        path = self._next_path()
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        arrival = Arrival(path, handle, sop_class, sop_uid, syntax, b"", 0)
        try:
            arrival.write(write_head(sop_class, sop_uid, syntax))
        except OSError:
            arrival.discard()
            raise
        arrival.meta_size = arrival.size
        return arrival

    def finish(self, arrival: Arrival) -> None:
        """Accept a complete file; the next flush gives it its name.

        Raises
        ------
        InvalidInstanceError, InstanceMismatchError
            See `study_of`.
        """
        study = self.study_of(arrival)
        complete = f"{arrival.path[: -len('.part')]}-{arrival.size}-{self._boot}.whole"
        os.rename(arrival.path, complete)
        target = f"{self._folder}/{directory_for(study)}/{name_for(arrival.sop_uid)}"
        if not self._waiting:
            self._since = time.monotonic()
        self._waiting.append((arrival.handle, complete, target))
        self._bytes += arrival.size

    def study_of(self, arrival: Arrival) -> str:
        """Return the StudyInstanceUID of a complete file.

        Raises
        ------
        InvalidInstanceError
            The dataset is truncated or in another transfer syntax, or one of its UIDs is not valid.
        InstanceMismatchError
            It is another instance than the request said.
        """
        if not arrival.study:
            arrival.study = _validate(arrival)
        return arrival.study

    def seconds_to_flush(self) -> float | None:
        """Return in how many seconds waiting files should be flushed; None if none wait."""
        if not self._waiting:
            return None
        return max(0.0, self._since + MOST_SECONDS - time.monotonic())

    def begin_flush(self) -> None:
        """Start to sync and file complete files, while more may be written.

        Raises
        ------
        OSError
            An earlier flush failed.
        """
        self._wait()
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        if waiting:
            # Start the thread late: this process may still be forked before.
            self._disk = self._disk or ThreadPoolExecutor(1)
            self._running = self._disk.submit(_sync_and_file, waiting)

    def flush(self) -> None:
        """Return when every complete file has its name and is on disk.

        Raises
        ------
        OSError
            A file could not be synced or filed.
        """
        self.begin_flush()
        self._wait()

    def close(self) -> None:
        """End this writer; `recover` files what was not flushed."""
        if self._disk:
            self._disk.shutdown()
        if self._owner:
            (self._owners / self._owner).unlink(missing_ok=True)
            os.close(self._lock)
            self._owner = ""

    def _wait(self) -> None:
        running, self._running = self._running, None
        if running:
            running.result()


def _sync_and_file(waiting: list[tuple[int, str, str]]) -> None:
    failed = sync_files([handle for handle, _, _ in waiting])
    for handle, _, _ in waiting:
        os.close(handle)
    if failed:
        raise next(iter(failed.values()))
    for _, complete, target in waiting:
        file_under(complete, target)
    for directory in {os.path.dirname(target) for _, _, target in waiting}:
        with suppress(FileNotFoundError):  # all of it was there before, and was ingested meanwhile
            sync_directory(Path(directory))


def _validate(arrival: Arrival) -> str:
    """Walk a dataset to its end, compare it with its request, return its StudyInstanceUID."""
    start, size = arrival.meta_size, arrival.size - arrival.meta_size
    head = arrival.head[start:]
    try:
        source = open_stored(arrival.handle, start, size, arrival.syntax, head)
        values = walk(source, arrival.syntax, _NAMES)
    except MalformedDatasetError as error:
        raise InvalidInstanceError(str(error)) from None
    uids = {tag: decode_text(values.get(tag, b"")) for tag in _NAMES}
    for tag, uid in uids.items():
        if not is_archived_uid(uid):
            raise InvalidInstanceError(f"it has no valid {_NAMES[tag]}")
    for tag, requested in ((SOP_CLASS, arrival.sop_class), (SOP_UID, arrival.sop_uid)):
        if uids[tag] != requested:
            raise InstanceMismatchError(f"its {_NAMES[tag]} is not that of its request")
    return uids[STUDY_UID]


def file_under(complete: str, target: str) -> None:
    """Move a complete file to its final path.

    A file that came earlier stays, and one with other content is filed beside it: the ingest holds
    a study with two contents of one instance.

    Parameters
    ----------
    complete
        The temporary path.
    target
        The final path. Its directory may be removed at any time once its files are ingested.
    """
    while True:
        try:
            _link(complete, target)
            break
        except FileNotFoundError:
            if not os.path.exists(complete):
                raise
            with suppress(FileExistsError):
                os.mkdir(os.path.dirname(target), 0o700)
    os.unlink(complete)


def _link(complete: str, target: str) -> None:
    try:
        # Two associations may bring the same instance at once: a rename would let the later one
        # replace the earlier.
        os.link(complete, target)
    except FileExistsError:
        if not filecmp.cmp(complete, target, shallow=False):
            digest = sha256_of(complete)[:16]
            log.error("an instance came again with other content; both are kept")
            with suppress(FileExistsError):  # named by its content, so it is the same
                os.link(complete, f"{target.removesuffix('.dcm')}-{digest}.dcm")


def recover(folder: Path) -> int:
    """File the complete files of writers that died, and remove their incomplete ones.

    Returns
    -------
    int
        How many files were filed.
    """
    filed = 0
    boot = _boot_id()
    # In this order: a writer that starts after the list was made has no file in it.
    parts = list((folder / PARTS).iterdir())
    alive = _alive(folder / OWNERS)
    for path in parts:
        if path.name.split("-", 1)[0] in alive or not path.exists():
            continue
        match = _COMPLETE.search(path.name)
        if match and match[2] == boot and path.stat().st_size == int(match[1]):
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
            header = read_header(path)
            if header is None:  # it was readable when it arrived, so the disk failed
                log.error("a received file can no longer be read; it stays in %s", PARTS)
                continue
            directory = folder / directory_for(header.study_uid)
            file_under(str(path), str(directory / name_for(header.sop_uid)))
            sync_directory(directory)
            filed += 1
        else:
            path.unlink(missing_ok=True)
    return filed


def _alive(owners: Path) -> set[str]:
    """Return the writers that hold their lock, and remove the lock files of the others."""
    alive = set()
    for path in list(owners.iterdir()):
        try:
            lock = os.open(path, os.O_RDWR)
        except FileNotFoundError:  # it has just ended, after filing everything
            alive.add(path.name)
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
        except BlockingIOError:
            alive.add(path.name)
        finally:
            os.close(lock)
    return alive
