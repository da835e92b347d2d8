"""Keep held files in a quarantine, each under its checksum, with the reasons in a file beside them.

The folder identifies patients: only its owner can read it and the files in it.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from ..disk import open_private, sha256_of, storing, sync_directories
from ..errors import StorageError

REASONS = "reasons.jsonl"


def copy_to_quarantine(path: Path, room: Path) -> str:
    """Copy a file into a quarantine, where it appears complete or not at all.

    Parameters
    ----------
    path
        The file.
    room
        Folder of the quarantine; it is created with mode 0700.

    Returns
    -------
    str
        SHA-256 of the file in hex.

    Raises
    ------
    OSError
        The file cannot be read.
    StorageError
        The quarantine cannot be written.
    """
    digest = sha256_of(path)
    target = room / f"{digest}.dcm"
    with path.open("rb") as source, storing(room):
        room.mkdir(parents=True, exist_ok=True, mode=0o700)
        if target.exists() and target.stat().st_size == path.stat().st_size:
            return digest
        partial = room / f"{digest}.part"
        try:
            with open_private(partial, "wb") as copy:
                shutil.copyfileobj(source, copy, 1 << 20)
                copy.flush()
                os.fsync(copy.fileno())
            os.replace(partial, target)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        sync_directories([room])
    return digest


def displayable_path(path: Path) -> str:
    """Return a path as text; bytes that are not UTF-8 are escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


class Quarantine:
    """A folder of held files, with their names, checksums and reasons in ``reasons.jsonl``.

    A line of it has ``file``, ``sha256`` (null for a file that was not copied), ``code`` and
    ``detail``. No line is written twice.

    Parameters
    ----------
    room
        The folder; it is created with mode 0700.
    """

    def __init__(self, room: Path) -> None:
        self._room = room
        self._lines: set[str] | None = None

    def hold(self, path: Path, code: str, detail: str) -> None:
        """Copy a file into the quarantine and record the reason; only record an unreadable one.

        Parameters
        ----------
        path
            The file.
        code, detail
            Code and text of the reason.

        Raises
        ------
        StorageError
            The folder cannot be written.
        """
        try:
            digest: str | None = copy_to_quarantine(path, self._room)
        except StorageError:
            raise
        except OSError:
            digest = None
        self._write(path, digest, code, detail)

    def record(self, path: Path, code: str, detail: str) -> None:
        """Record a file that is not copied.

        Parameters
        ----------
        path
            The file.
        code, detail
            Code and text of the reason.

        Raises
        ------
        StorageError
            The folder cannot be written.
        """
        self._write(path, None, code, detail)

    def _write(self, path: Path, digest: str | None, code: str, detail: str) -> None:
        entry = {"file": displayable_path(path), "sha256": digest, "code": code, "detail": detail}
        line = json.dumps(entry, ensure_ascii=False) + "\n"
        with storing(self._room):
            lines = self._recorded_lines()
            if line in lines:
                return
            with open_private(self._room / REASONS, "ab") as stream:
                stream.write(line.encode())
                stream.flush()
                os.fsync(stream.fileno())
            lines.add(line)

    def _recorded_lines(self) -> set[str]:
        """Return the lines written so far; remove one that was cut by a crash."""
        if self._lines is None:
            self._room.mkdir(parents=True, exist_ok=True, mode=0o700)
            reasons = self._room / REASONS
            data = reasons.read_bytes() if reasons.exists() else b""
            whole = data[: data.rfind(b"\n") + 1]
            if whole != data:
                os.truncate(reasons, len(whole))
            self._lines = set(whole.decode("utf-8", "replace").splitlines(keepends=True))
        return self._lines
