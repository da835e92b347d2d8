"""Many files to disk at once, durable when the call returns; and what a file holds, as checksum."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from .errors import StorageError

# A few files are not worth writing out what other programs have dirty in the file system.
FEW = 8


def _has_syncfs() -> bool:
    """Whether syncfs(2) is there and tells of write errors, which it does from Linux 5.8 on."""
    try:
        major, minor = (int(part) for part in platform.release().split(".")[:2])
    except ValueError:
        return False
    return (major, minor) >= (5, 8) and hasattr(ctypes.CDLL(None), "syncfs")


_SYNCFS = ctypes.CDLL(None, use_errno=True).syncfs if _has_syncfs() else None


@contextmanager
def storing(folder: Path) -> Iterator[None]:
    """Turn what the system says while a folder is written into a StorageError that names it."""
    try:
        yield
    except StorageError:
        raise  # it names a folder already
    except OSError as error:
        raise cannot_store(folder, error) from None


def cannot_store(folder: Path, error: OSError) -> StorageError:
    """Return the error that says which folder could not be written, why, and what to do."""
    why = error.strerror or type(error).__name__
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        help = "free space there, then run the same again: it goes on where it stopped"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        help = "make it writable for this account, then run the same again"
    else:
        help = "look at that disk, then run the same again"
    told = StorageError(f"{folder} cannot be written: {why}; {help}")
    told.errno = error.errno
    return told


def open_private(path: Path, mode: str) -> IO[bytes]:
    """Open a file for writing that nobody else may read, from its first byte on."""
    return open(path, mode, opener=lambda name, flags: os.open(name, flags, 0o600))


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 of a file's content in hex; raises OSError."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sync_files(handles: Sequence[int]) -> dict[int, OSError]:
    """Bring open files of one file system to disk; returns the errors by handle.

    The handles must have been open since before the first byte was written: a write error that
    happened since then is told, by the file system as a whole or, after that, file by file.
    """
    if _SYNCFS is not None and len(handles) > FEW and _SYNCFS(handles[0]) == 0:
        return {}
    errors: dict[int, OSError] = {}
    for handle in handles:
        try:
            os.fsync(handle)
        except OSError as error:
            errors[handle] = error
    return errors


def sync_directory(path: Path) -> None:
    """Make renames in the directory survive a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_directories(paths: Iterable[Path]) -> None:
    """Make renames in directories of one file system survive a power cut, all at once."""
    handles: list[int] = []
    try:
        handles += (os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in paths)
        for error in sync_files(handles).values():
            raise error
    finally:
        for handle in handles:
            os.close(handle)
