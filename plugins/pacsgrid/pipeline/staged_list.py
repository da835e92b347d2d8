"""The list of what was retrieved of a study, which tells whole staging folders from others.

A folder alone proves nothing: a retrieval or a removal that was killed leaves one with some of the
files, and another machine may have retrieved the study since. The list lies beside the files, and
its digest in the ledger.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from pacsgrid.disk import open_private, sync_directory
from pacsgrid.errors import WorkFilesMissingError

LIST = ".retrieved"


def write_list(staging: Path) -> str:
    """Write the list of a study's staged files, whole or not at all.

    Parameters
    ----------
    staging
        The study's staging folder, into which it was retrieved just now.

    Returns
    -------
    str
        The list's SHA-256 in hex, for the ledger.
    """
    text = "".join(f"{path.stat().st_size} {path.name}\n" for path in _files(staging)).encode()
    partial = staging / f"{LIST}.part"
    partial.unlink(missing_ok=True)
    with open_private(partial, "wb") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(partial, staging / LIST)
    sync_directory(staging)
    return hashlib.sha256(text).hexdigest()


def staged_files(staging: Path, digest: str) -> list[Path]:
    """Return a study's staged files, all that the source gave.

    Parameters
    ----------
    staging
        The study's staging folder.
    digest
        The SHA-256 of the list, from the ledger.

    Returns
    -------
    list of Path
        The files, sorted.

    Raises
    ------
    WorkFilesMissingError
        The folder is not here, lacks a file, or is of another retrieval.
    """
    try:
        text = (staging / LIST).read_bytes()
        found = [(path, path.stat().st_size) for path in _files(staging)]
    except OSError:
        raise WorkFilesMissingError("the retrieved files are no longer in staging") from None
    if hashlib.sha256(text).hexdigest() != digest:
        raise WorkFilesMissingError("staging holds files of another retrieval")
    listed = "".join(f"{size} {path.name}\n" for path, size in found).encode()
    if listed != text:
        raise WorkFilesMissingError("staging has not all files that were retrieved")
    return [path for path, _ in found]


def _files(staging: Path) -> list[Path]:
    return sorted(path for path in staging.iterdir() if path.suffix == ".dcm")
