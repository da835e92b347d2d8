"""Many files to disk at once, durable when the call returns; and what a file holds, as checksum."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path

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
