"""Writing into the staging room so that a file under its final name is always whole."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from pacsgrid.disk import cannot_store, storing, sync_directory, sync_files

PART_SUFFIX = ".part"


def name_for(text: str) -> str:
    """Give a file name that tells nothing about the UID it is made of."""
    return hashlib.sha256(text.encode()).hexdigest()[:32] + ".dcm"


def prepare(into: Path) -> None:
    """Make the private directory and drop what an interrupted run left half written."""
    into.mkdir(parents=True, exist_ok=True, mode=0o700)
    for part in into.glob(f".*{PART_SUFFIX}"):
        part.unlink(missing_ok=True)


def write_whole(target: Path, chunks: Iterable[bytes | memoryview]) -> None:
    """Write to a temporary name in the same directory, fsync, rename."""
    with WriteGroup(1) as group:
        group.write(target, chunks)


class WriteGroup:
    """Files written one by one, brought to disk and renamed many at a time.

    Disks take the fsync of many files at once far better than one after each file; until
    then a file bears a temporary name, so a crash leaves it whole or not there. Leaving the
    context brings the last ones to disk, also after an error: each file was written whole.

    Parameters
    ----------
    most_files, most_bytes
        What may wait under temporary names before it is brought to disk.
    """

    def __init__(self, most_files: int = 64, most_bytes: int = 64 << 20) -> None:
        self._most_files = most_files
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._waiting: list[tuple[int, str, Path]] = []
        self._bytes = 0
        self._disk = ThreadPoolExecutor(1)
        self._running: Future[None] | None = None

    def __enter__(self) -> WriteGroup:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Bring what waits to disk; a StorageError of that is not kept back."""
        try:
            self.flush()
        finally:
            self._disk.shutdown()

    def write(self, target: Path, chunks: Iterable[bytes | memoryview]) -> None:
        """Write one file; from several threads at once if need be.

        Raises
        ------
        StorageError
            This file or earlier ones of the group could not be written.
        """
        with storing(target.parent):
            handle, name = tempfile.mkstemp(dir=target.parent, prefix=".", suffix=PART_SUFFIX)
        size = 0
        try:
            for chunk in chunks:
                try:
                    size += _write_all(handle, chunk)
                except OSError as error:
                    raise cannot_store(target.parent, error) from None
        except BaseException:
            os.close(handle)
            Path(name).unlink(missing_ok=True)
            raise
        with self._lock:
            self._waiting.append((handle, name, target))
            self._bytes += size
            if len(self._waiting) >= self._most_files or self._bytes >= self._most_bytes:
                self._start()

    def flush(self) -> None:
        """Return when everything written so far stands under its name, on disk."""
        with self._lock:
            self._start()
            self._wait()

    def _start(self) -> None:
        # One batch goes to disk while the next is written; a third would have to wait.
        self._wait()
        batch, self._waiting, self._bytes = self._waiting, [], 0
        if batch:
            self._running = self._disk.submit(_to_disk, batch)

    def _wait(self) -> None:
        running, self._running = self._running, None
        if running:
            running.result()


def _write_all(handle: int, chunk: bytes | memoryview) -> int:
    view = memoryview(chunk)
    done = 0
    while done < len(view):
        done += os.write(handle, view[done:])
    return done


def _to_disk(batch: list[tuple[int, str, Path]]) -> None:
    error: OSError | None = None
    failed = sync_files([handle for handle, _, _ in batch])
    for handle, name, target in batch:
        try:
            if handle in failed:
                raise failed[handle]
            os.replace(name, target)
        except OSError as problem:
            error = error or problem
            Path(name).unlink(missing_ok=True)
        finally:
            os.close(handle)
    for directory in {target.parent for _, _, target in batch}:
        sync_directory(directory)
    if error:
        raise cannot_store(batch[0][2].parent, error)
