"""Where received instances go: a directory per study, every file whole under its name.

An instance is written to a temporary name, gets one that tells its size and the machine's boot
when all of it came, and is brought to disk and filed with others. What a killed process left
behind with such a name is filed later: its sender was told that it is safe. Of another boot it is
worth nothing, since the name may have reached the disk before the content did. Each writer locks
a file of its own, by which others know that it lives, whatever machine or container it runs in.
"""

from __future__ import annotations

import fcntl
import filecmp
import hashlib
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
    Malformed,
    is_uid,
    open_stored,
    text_of,
    walk,
)
from pacsgrid.pacs.header import read_header
from pacsgrid.pacs.part10 import write_head
from pacsgrid.pacs.staging import name_for

log = logging.getLogger(__name__)

PARTS, OWNERS = ".parts", ".owners"
MOST_WAITING = 64
MOST_BYTES = 64 << 20
MOST_SECONDS = 0.5
_HEAD = 64 * 1024
_NAMES = {
    SOP_CLASS: "SOPClassUID (0008,0016)",
    SOP_UID: "SOPInstanceUID (0008,0018)",
    STUDY_UID: "StudyInstanceUID (0020,000D)",
    SERIES_UID: "SeriesInstanceUID (0020,000E)",
}
_WHOLE = re.compile(r"-(\d+)-([0-9a-f]+)\.whole$")


class NotUnderstood(Exception):
    """A dataset is cut short, is not in its transfer syntax, or lacks a valid UID."""


class Disagrees(NotUnderstood):
    """A dataset is of another SOP class or instance than the request that brought it says."""


def directory_for(study_uid: str) -> str:
    """Give the name of a study's directory, which tells nothing about the UID."""
    return hashlib.sha256(study_uid.encode()).hexdigest()[:32]


def _boot() -> str:
    """Name the time since the machine was started last; page cache and disk agree within it."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")


@dataclass(slots=True)
class Arrival:
    """An instance that is being written."""

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
        """Append; raises OSError."""
        done = os.write(self.handle, piece)
        while done < len(piece):
            done += os.write(self.handle, piece[done:])
        self.size += len(piece)
        if len(self.head) < _HEAD:
            self.head += bytes(piece[: _HEAD - len(self.head)])

    def drop(self) -> None:
        """Forget it."""
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
        Bytes of free disk space that are left for others.
    """

    def __init__(self, folder: Path, reserve: int) -> None:
        self._folder = folder
        self._parts = folder / PARTS
        self._reserve = reserve
        self._owners = folder / OWNERS
        folder.parent.mkdir(parents=True, exist_ok=True)
        for place in (folder, self._parts, self._owners):
            place.mkdir(exist_ok=True, mode=0o700)
        self._owner, self._lock = "", -1
        self._boot = _boot()
        self._waiting: list[tuple[int, str, str]] = []
        self._bytes = 0
        self._since = 0.0
        self._number = 0
        self._disk: ThreadPoolExecutor | None = None
        self._running: Future[None] | None = None

    def has_room(self) -> bool:
        """Whether the disk has more free than the reserve."""
        state = os.statvfs(self._parts)
        return state.f_bavail * state.f_frsize > self._reserve

    def _next(self) -> str:
        """Return the next file's path; the first one makes others know of this writer."""
        while not self._owner:
            owner = secrets.token_hex(8)
            lock = os.open(self._owners / owner, os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if (self._owners / owner).exists():  # nobody took it for a dead one's meanwhile
                self._owner, self._lock = owner, lock
            else:
                os.close(lock)
        self._number += 1
        return f"{self._parts}/{self._owner}-{self._number}.part"

    def begin(self, sop_class: str, sop_uid: str, syntax: str) -> Arrival:
        """Start a file with its preamble and file meta information (PS3.10 7.1).

        Raises
        ------
        OSError
            The disk does not take it, or did not take earlier ones.
        """
        if len(self._waiting) >= MOST_WAITING or self._bytes >= MOST_BYTES:
            self.begin_flush()
        path = self._next()
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        arrival = Arrival(path, handle, sop_class, sop_uid, syntax, b"", 0)
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
        NotUnderstood, Disagrees
            As `study_of` does.
        """
        study = self.study_of(arrival)
        whole = f"{arrival.path[: -len('.part')]}-{arrival.size}-{self._boot}.whole"
        os.rename(arrival.path, whole)
        target = f"{self._folder}/{directory_for(study)}/{name_for(arrival.sop_uid)}"
        if not self._waiting:
            self._since = time.monotonic()
        self._waiting.append((arrival.handle, whole, target))
        self._bytes += arrival.size

    def study_of(self, arrival: Arrival) -> str:
        """Return the StudyInstanceUID of a file that is whole.

        Raises
        ------
        NotUnderstood
            The dataset is cut short or in another transfer syntax, or one of its UIDs is none.
        Disagrees
            It is another instance than it was announced as.
        """
        if not arrival.study:
            arrival.study = _proven(arrival)
        return arrival.study

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

    def close(self) -> None:
        """Say that nothing more comes from here; what was not flushed is filed by `recover`."""
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


def _to_disk(waiting: list[tuple[int, str, str]]) -> None:
    failed = sync_files([handle for handle, _, _ in waiting])
    for handle, _, _ in waiting:
        os.close(handle)
    if failed:
        raise next(iter(failed.values()))
    for _, whole, target in waiting:
        file_under(whole, target)
    for directory in {os.path.dirname(target) for _, _, target in waiting}:
        with suppress(FileNotFoundError):  # all of it was there before, and is taken through now
            sync_directory(Path(directory))


def _proven(arrival: Arrival) -> str:
    """Walk a dataset to its end and compare it with its request; returns its study's UID."""
    start, size = arrival.meta_size, arrival.size - arrival.meta_size
    head = arrival.head[start:]
    try:
        source = open_stored(arrival.handle, start, size, arrival.syntax, head)
        values = walk(source, arrival.syntax, _NAMES)
    except Malformed as error:
        raise NotUnderstood(str(error)) from None
    uids = {tag: text_of(values.get(tag, b"")) for tag in _NAMES}
    for tag, uid in uids.items():
        if not is_uid(uid):
            raise NotUnderstood(f"it has no valid {_NAMES[tag]}")
    for tag, told in ((SOP_CLASS, arrival.sop_class), (SOP_UID, arrival.sop_uid)):
        if uids[tag] != told:
            raise Disagrees(f"its {_NAMES[tag]} is not that of its request")
    return uids[STUDY_UID]


def file_under(whole: str, target: str) -> None:
    """Give a file its name; one that came before stays, other content beside it.

    The ingest holds a study with two contents of one instance. What it took through leaves
    meanwhile, and an emptied directory too.
    """
    while True:
        try:
            _link(whole, target)
            break
        except FileNotFoundError:
            if not os.path.exists(whole):
                raise
            with suppress(FileExistsError):
                os.mkdir(os.path.dirname(target), 0o700)
    os.unlink(whole)


def _link(whole: str, target: str) -> None:
    try:
        # A link, since two associations may bring the same at once and a rename would let
        # the later one replace the earlier.
        os.link(whole, target)
    except FileExistsError:
        if not filecmp.cmp(whole, target, shallow=False):
            digest = sha256_of(whole)[:16]
            log.error("an instance came again with other content; both are kept")
            with suppress(FileExistsError):  # named by its content, so it is the same
                os.link(whole, f"{target.removesuffix('.dcm')}-{digest}.dcm")


def recover(folder: Path) -> int:
    """File what writers that are no more left whole, drop the rest; gives how many were filed."""
    filed = 0
    boot = _boot()
    # In this order: whoever begins after the list was made has nothing in it.
    parts = list((folder / PARTS).iterdir())
    alive = _alive(folder / OWNERS)
    for path in parts:
        if path.name.split("-", 1)[0] in alive or not path.exists():
            continue
        told = _WHOLE.search(path.name)
        if told and told[2] == boot and path.stat().st_size == int(told[1]):
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
            header = read_header(path)
            if header is None:  # it was read once already, so this is the disk's doing
                log.error("a received file cannot be read any more; it stays in %s", PARTS)
                continue
            directory = folder / directory_for(header.study_uid)
            file_under(str(path), str(directory / name_for(header.sop_uid)))
            sync_directory(directory)
            filed += 1
        else:
            path.unlink(missing_ok=True)
    return filed


def _alive(owners: Path) -> set[str]:
    """Return the writers that hold their lock; the files of the others are removed."""
    alive = set()
    for path in list(owners.iterdir()):
        try:
            lock = os.open(path, os.O_RDWR)
        except FileNotFoundError:  # it has just ended, and what it wrote is filed
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
