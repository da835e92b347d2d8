"""Bound what staging and outbox of a machine hold, whatever number of tasks fill them.

A study is admitted before it is retrieved, and leaves once it is deposited, held or given up.
While it is in work its process holds a lock on a file of its own, which the kernel frees when the
process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

from pacsgrid.errors import RetryableError
from pacsgrid.uids import named

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.5
# Files of studies that nobody has worked on for so long may be removed: the source has them.
IDLE_SECONDS = 3600.0


class StagingSpace:
    """The space of one machine's staging and outbox.

    Parameters
    ----------
    staging, outbox
        The two directories.
    limit
        How many bytes they may hold together; 0 for no limit.
    lock
        Locks a study, by its reference, against everybody who works on it, and yields whether that
        succeeded. Its rooms are removed under this lock when space is needed.
    idle_seconds
        How long nothing may have changed in such rooms.
    """

    def __init__(
        self,
        staging: Path,
        outbox: Path,
        limit: int,
        lock: Callable[[str], AbstractContextManager[bool]] = lambda ref: nullcontext(False),
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._rooms = (staging, outbox)
        self._limit = limit
        self._lock = lock
        self._idle_seconds = idle_seconds
        self._folder = staging / ".space"
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    @contextmanager
    def study(self, ref: str) -> Iterator[StudySpace]:
        """Mark a study as being in work for the length of a ``with`` block.

        Parameters
        ----------
        ref
            The study's reference.

        Yields
        ------
        StudySpace
            Call its `admit` before anything is written.
        """
        space = StudySpace(self, named(ref))
        try:
            yield space
        finally:
            space.leave()

    def used(self) -> int:
        """Return how many bytes both directories hold, and what the outbox will need.

        A staged study needs about as much again in the outbox when it is anonymised.
        """
        total = 0
        for ref in self.refs():
            staged, made = (_size(room / ref) for room in self._rooms)
            total += staged + max(staged, made)
        return total

    def refs(self) -> set[str]:
        """Return the references of the studies that have files in either directory."""
        found: set[str] = set()
        for room in self._rooms:
            with suppress(FileNotFoundError):
                found.update(one.name for one in os.scandir(room) if one.name.startswith("st-"))
        return found

    # -- what `StudySpace` uses -----------------------------------------------------------

    def _wait_for_room(self, ref: str, give_up: Callable[[], bool]) -> int:
        """Return the handle of the study's lock once it may be retrieved."""
        said = False
        while True:
            with self._locked():
                in_work = self._in_work()
                if ref in in_work:
                    raise RetryableError(f"{ref}: another task of this machine has it")
                if self._has_room(ref, in_work):
                    return self._enter(ref)
                # Who waits is not in work, so that two tasks never wait for each other.
                if not in_work and not self._remove_idle(ref):
                    raise RetryableError(
                        f"staging and outbox hold {self.used() / 1e9:.1f} GB of studies that wait "
                        f"to be tried again, and staging_gb is {self._limit / 1e9:g}: see why "
                        "these do not go on, or raise it"
                    )
            if give_up():
                raise RetryableError(f"{ref}: no room in staging yet")
            if not said:
                log.info("%s: waits, staging and outbox hold what staging_gb allows", ref)
                said = True
            time.sleep(_POLL_SECONDS)

    def _enter(self, ref: str) -> int:
        (self._folder / f"{ref}.arriving").touch()
        path = self._folder / f"{ref}.lock"
        handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return handle

    def _has_room(self, ref: str, in_work: set[str]) -> bool:
        """Return whether a study may be retrieved now; one that has files here already may."""
        arriving = self._arriving(in_work)
        used = self.used()
        if not arriving:
            return used < self._limit or any(room.is_dir() for room in self._of(ref))
        # What arrives has no known size yet: count each as the largest so far.
        largest = self._largest()
        used += sum(max(0, largest - _size(self._rooms[0] / one)) * 2 for one in arriving)
        return largest > 0 and used + 2 * largest <= self._limit

    def _arrived(self, ref: str) -> None:
        size = _size(self._rooms[0] / ref)
        with self._locked():
            (self._folder / f"{ref}.arriving").unlink(missing_ok=True)
            if size > self._largest():
                (self._folder / "largest").write_text(str(size))

    def _largest(self) -> int:
        """Return the size of the largest study that has arrived on this machine."""
        with suppress(OSError, ValueError):
            return int((self._folder / "largest").read_text())
        return 0

    def _arriving(self, in_work: set[str]) -> set[str]:
        marks = {path.stem for path in self._folder.glob("st-*.arriving")}
        for left in marks - in_work:
            (self._folder / f"{left}.arriving").unlink(missing_ok=True)
        return marks & in_work

    def _in_work(self) -> set[str]:
        """Return the references of studies that some process works on."""
        found: set[str] = set()
        for path in self._folder.glob("st-*.lock"):
            with suppress(FileNotFoundError):
                handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink(missing_ok=True)
                except BlockingIOError:
                    found.add(path.stem)
                finally:
                    os.close(handle)
        return found

    def _remove_idle(self, but: str) -> bool:
        """Remove the rooms of one study that nobody works on; return whether there was one."""
        now = time.time()
        for ref in sorted(self.refs() - {but}):
            ages = [now - room.stat().st_mtime for room in self._of(ref) if room.exists()]
            if min(ages, default=0) < self._idle_seconds:
                continue
            # Not every worker on a study is in work here: verification may retrieve it again.
            with self._lock(ref) as ours:
                if ours:
                    log.warning("%s: its work files are removed to make room", ref)
                    for room in self._of(ref):
                        shutil.rmtree(room, ignore_errors=True)
                    return True
        return False

    def _of(self, ref: str) -> list[Path]:
        return [room / ref for room in self._rooms]

    @contextmanager
    def _locked(self) -> Iterator[None]:
        handle = os.open(self._folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


class StudySpace:
    """One study's part of a `StagingSpace`; made by `StagingSpace.study`."""

    def __init__(self, space: StagingSpace, ref: str) -> None:
        self._space = space
        self._ref = ref
        self._handle: int | None = None

    def admit(self, give_up: Callable[[], bool] = lambda: False) -> None:
        """Wait until there is room for the study.

        Parameters
        ----------
        give_up
            Asked between two looks; True ends the waiting.

        Raises
        ------
        RetryableError
            Waiting was given up, or can never end, as nobody works on what takes the space.
        """
        if not self._space._limit:
            return
        self._handle = self._space._wait_for_room(self._ref, give_up)

    def arrived(self) -> None:
        """Say that all of the study is in staging, so that its size is known."""
        if self._handle is not None:
            self._space._arrived(self._ref)

    def leave(self) -> None:
        """Say that nobody works on the study any more; safe to repeat."""
        if self._handle is None:
            return
        handle, self._handle = self._handle, None
        with self._space._locked():
            for suffix in ("arriving", "lock"):
                (self._space._folder / f"{self._ref}.{suffix}").unlink(missing_ok=True)
        os.close(handle)


def _size(folder: Path) -> int:
    """Return the bytes of a folder's files; those that vanish meanwhile count as none."""
    total = 0
    waiting = [os.fspath(folder)]
    while waiting:
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    with suppress(FileNotFoundError):
                        total += entry.stat(follow_symlinks=False).st_size
    return total
