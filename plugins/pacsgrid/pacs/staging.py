"""Writing into the staging room so that a file under its final name is always whole."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

PART_SUFFIX = ".part"


def name_for(text: str) -> str:
    """Give a file name that tells nothing about the UID it is made of."""
    return hashlib.sha256(text.encode()).hexdigest()[:32] + ".dcm"


def prepare(into: Path) -> None:
    """Make the private directory and drop what an interrupted run left half written."""
    into.mkdir(parents=True, exist_ok=True, mode=0o700)
    for part in into.glob(f".*{PART_SUFFIX}"):
        part.unlink(missing_ok=True)


def sync_directory(path: Path) -> None:
    """Make renames in the directory survive a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(target: Path, chunks: Iterable[bytes | memoryview]) -> None:
    """Write to a temporary name in the same directory, fsync, rename."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".", suffix=PART_SUFFIX)
    try:
        with os.fdopen(handle, "wb") as out:
            for chunk in chunks:
                out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
