"""Write into the staging directory so that a file under its final name is always complete."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from pacsgrid.disk import cannot_store, storing, sync_directory, sync_files

PART_SUFFIX = ".part"
_CHUNK_BYTES = 1 << 20


def opaque_name(text: str) -> str:
    """Return a name derived from a UID that does not reveal it."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def name_for(sop_uid: str) -> str:
    """Return the name of an instance's file, which does not reveal the UID."""
    return opaque_name(sop_uid) + ".dcm"


def prepare(into: Path) -> None:
    """Create the private directory and remove what an interrupted run left half written."""
    into.mkdir(parents=True, exist_ok=True, mode=0o700)
    for part in into.glob(f".*{PART_SUFFIX}"):
        part.unlink(missing_ok=True)


def read_chunks(path: Path) -> Iterator[bytes]:
    """Yield a file's content in pieces of 1 MiB; raise OSError if it cannot be read."""
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            yield chunk


def write_durable(target: Path, chunks: Iterable[bytes | memoryview]) -> None:
    """Write a file that is complete and on disk when it has its name.

    Parameters
    ----------
    target
        The final path; the content is first written to a temporary name beside it.
    chunks
        The content.

    Raises
    ------
    StorageError
        It could not be written.
    """
    with WriteGroup(1) as group:
        group.write(target, chunks)


class WriteGroup:
    """Files that are written one by one, then synced and renamed many at a time.

    Syncing many files at once takes disks far less time than one after each file. Until then a
    file has a temporary name, so after a crash it is complete or not there. Leaving the context
    syncs the last ones, also after an error: each was written completely.

    Parameters
    ----------
    most_files, most_bytes
        How much may wait under temporary names before it is synced.
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
        """Return the group."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Sync and rename what waits; raise StorageError if that fails."""
        try:
            self.flush()
        finally:
            self._disk.shutdown()

    def write(self, target: Path, chunks: Iterable[bytes | memoryview]) -> None:
        """Write one file; several threads may call this at once.

        Parameters
        ----------
        target
            The final path.
        chunks
            The content; if it raises an error, nothing is left of the file.

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
                self._start_flush()

    def flush(self) -> None:
        """Return when everything written so far has its name and is on disk.

        Raises
        ------
        StorageError
            A file could not be synced or renamed.
        """
        with self._lock:
            self._start_flush()
            self._wait()

    def _start_flush(self) -> None:
        # One batch is synced while the next is written; a third must wait.
        self._wait()
        batch, self._waiting, self._bytes = self._waiting, [], 0
        if batch:
            self._running = self._disk.submit(_sync_and_rename, batch)

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


def _sync_and_rename(batch: list[tuple[int, str, Path]]) -> None:
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
