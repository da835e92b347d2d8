"""Durable writes of many files, errors of full disks, and checksums of files."""

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

# Up to this many files are synced one by one: syncfs also writes what other programs have dirty.
FEW = 8


def _has_syncfs() -> bool:
    """Return whether syncfs(2) exists and reports write errors, which it does from Linux 5.8 on."""
    try:
        major, minor = (int(part) for part in platform.release().split(".")[:2])
    except ValueError:
        return False
    return (major, minor) >= (5, 8) and hasattr(ctypes.CDLL(None), "syncfs")


_SYNCFS = ctypes.CDLL(None, use_errno=True).syncfs if _has_syncfs() else None


@contextmanager
def storing(folder: Path) -> Iterator[None]:
    """Raise errors of the system while a folder is written as a StorageError that names it.

    Parameters
    ----------
    folder
        The folder.

    Raises
    ------
    StorageError
        It cannot be written. The message says what to do.
    """
    try:
        yield
    except StorageError:
        raise  # it already names a folder
    except OSError as error:
        raise cannot_store(folder, error) from None


def cannot_store(folder: Path, error: OSError) -> StorageError:
    """Return the error that says which folder could not be written, why, and what to do.

    Parameters
    ----------
    folder
        The folder.
    error
        The system's error; its number is kept.
    """
    why = error.strerror or type(error).__name__
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        advice = "free space there, then run the same again: it continues where it stopped"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        advice = "make it writable for this account, then run the same again"
    else:
        advice = "check that disk, then run the same again"
    storage_error = StorageError(f"{folder} cannot be written: {why}; {advice}")
    storage_error.errno = error.errno
    return storage_error


def open_private(path: Path, mode: str) -> IO[bytes]:
    """Open a file that other users may not read, with mode 0600 from the start.

    Parameters
    ----------
    path
        The file; it is created if it does not exist.
    mode
        As for `open`; binary.

    Returns
    -------
    file object
        The open file; the caller closes it.
    """
    return open(path, mode, opener=lambda name, flags: os.open(name, flags, 0o600))


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 of a file's content, in lower-case hex; raises OSError."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sync_files(handles: Sequence[int]) -> dict[int, OSError]:
    """Bring open files of one file system to disk.

    A write error is reported only to a handle that was open when it happened, so the handles must
    have been opened before the first byte was written.

    Parameters
    ----------
    handles
        File descriptors.

    Returns
    -------
    dict of int to OSError
        The errors by handle; empty when all are on disk.
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
    """Make renames in a directory survive a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_directories(paths: Iterable[Path]) -> None:
    """Make renames in several directories of one file system survive a power cut, at once."""
    handles: list[int] = []
    try:
        handles += (os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in paths)
        for error in sync_files(handles).values():
            raise error
    finally:
        for handle in handles:
            os.close(handle)
