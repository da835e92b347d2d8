"""An index of a drop folder: which file belongs to which study.

It is kept in SQLite beside the source's other state, so that all processes of a machine share it,
and a run reads the header of each file once, not once for each study. It identifies patients, as
the folder does: it must be private to the service account.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import astuple, dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from pydicom.uid import MediaStorageDirectoryStorage

from pacsgrid.pacs.header import StudyHeader, read_file_meta, read_header
from pacsgrid.uids import has_digits_and_dots

log = logging.getLogger(__name__)

_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE file (path BLOB PRIMARY KEY, version TEXT NOT NULL, study TEXT, header TEXT NOT NULL)
    WITHOUT ROWID;
CREATE INDEX file_study ON file (study, path);
CREATE TABLE folder (path BLOB PRIMARY KEY, changed INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE refreshed (at REAL NOT NULL);
"""
# How many headers are read between two commits; a killed refresh repeats that many.
_AT_ONCE = 500
# Part of the time that may go into refreshing while studies are copied.
_SHARE = 0.1


@dataclass(frozen=True)
class IndexedFile:
    """A file of the folder.

    Attributes
    ----------
    path
        The file.
    version
        What changes when the file changes: time, size and inode.
    header
        What its header says, empty for a file that belongs to no study.
    """

    path: Path
    version: str
    header: StudyHeader

    def is_unchanged(self) -> bool:
        """Return whether the file is as it was when it was indexed."""
        try:
            return self.version == _version(os.lstat(self.path))
        except OSError:
            return False


class FolderIndex:
    """The files of a folder, by study.

    Parameters
    ----------
    folder
        The folder; symbolic links in it are not followed.
    file
        Where the index is kept; None keeps it in memory.
    """

    def __init__(self, folder: Path, file: Path | None) -> None:
        self._folder = folder
        self._file = file
        self._opened: tuple[int, sqlite3.Connection] | None = None
        self._refreshed = self._took = float("-inf")

    def refresh(self) -> None:
        """Bring the index up to date; only new and changed files are read."""
        start = time.monotonic()
        try:
            self._refresh(self._connection())
        except sqlite3.DatabaseError as error:
            if self._file is None or isinstance(error, sqlite3.OperationalError):
                raise
            log.warning("the index of a drop folder is damaged (%s); it is made anew", error)
            self._remove()
            self._refresh(self._connection())
        self._refreshed = time.monotonic()
        self._took = self._refreshed - start

    def refresh_if_changed(self, study_uid: str) -> None:
        """Bring the index up to date if it is new, or if the folders of a study have changed.

        While a folder keeps changing, a tenth of the time at most goes into this.

        Parameters
        ----------
        study_uid
            The study's original StudyInstanceUID.
        """
        if not self._is_filled():
            self.refresh()
        elif time.monotonic() - self._refreshed > self._took / _SHARE:
            folders = {self._folder} | {file.path.parent for file in self.files(study_uid)}
            if any(self._has_changed(folder) for folder in folders):
                self.refresh()

    def studies(self) -> Iterator[tuple[str, list[StudyHeader]]]:
        """Yield each study's UID and the headers of its files; files of no study are left out."""
        rows = self._connection().execute(
            "SELECT study, header FROM file WHERE study <> '' ORDER BY study, path"
        )
        for uid, files in groupby(rows, key=itemgetter(0)):
            yield uid, [_header(text) for _, text in files]

    def files(self, study_uid: str) -> list[IndexedFile]:
        """Return a study's files by path; those of no study for an empty UID."""
        rows = self._connection().execute(
            "SELECT path, version, header FROM file WHERE study = ? ORDER BY path", (study_uid,)
        )
        return [
            IndexedFile(self._folder / os.fsdecode(path), version, _header(text))
            for path, version, text in rows
        ]

    def _connection(self) -> sqlite3.Connection:
        """Return this process's connection; a forked process opens one of its own."""
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = os.getpid(), self._open()
        return self._opened[1]

    def _open(self) -> sqlite3.Connection:
        if self._file is None:
            opened = sqlite3.connect(":memory:", check_same_thread=False)
        else:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(self._file, os.O_CREAT | os.O_RDWR, 0o600))
            opened = sqlite3.connect(self._file, timeout=60, check_same_thread=False)
        try:
            _prepare(opened)
        except sqlite3.DatabaseError as error:
            opened.close()
            if self._file is None or isinstance(error, sqlite3.OperationalError):
                raise
            log.warning("the index of a drop folder is damaged; it is made anew")
            self._remove()
            return self._open()
        return opened

    def _remove(self) -> None:
        if self._opened is not None and self._opened[0] == os.getpid():
            self._opened[1].close()
        self._opened = None
        if self._file is not None:
            for suffix in ("", "-wal", "-shm", "-journal"):
                Path(f"{self._file}{suffix}").unlink(missing_ok=True)

    def _is_filled(self) -> bool:
        return bool(self._connection().execute("SELECT 1 FROM refreshed").fetchone())

    def _has_changed(self, folder: Path) -> bool:
        row = (
            self._connection()
            .execute("SELECT changed FROM folder WHERE path = ?", (self._relative(folder),))
            .fetchone()
        )
        try:
            return row is None or row[0] != folder.stat().st_mtime_ns
        except OSError:
            return True

    def _relative(self, path: Path | str) -> bytes:
        return os.fsencode(os.path.relpath(path, self._folder))

    def _refresh(self, opened: sqlite3.Connection) -> None:
        opened.execute("CREATE TEMP TABLE IF NOT EXISTS seen (path BLOB PRIMARY KEY, version TEXT)")
        opened.execute("CREATE TEMP TABLE IF NOT EXISTS seen_folder (path BLOB PRIMARY KEY, c INT)")
        with opened:
            opened.execute("DELETE FROM seen")
            opened.execute("DELETE FROM seen_folder")
            for folder, changed, files in self._walk():
                opened.execute("INSERT INTO seen_folder VALUES (?, ?)", (folder, changed))
                opened.executemany("INSERT INTO seen VALUES (?, ?)", files)
        changed_files = "SELECT path, version FROM seen EXCEPT SELECT path, version FROM file"
        while some := opened.execute(f"{changed_files} LIMIT {_AT_ONCE}").fetchall():
            read = [(path, version, *self._read(path)) for path, version in some]
            with opened:
                opened.executemany("INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?)", read)
        with opened:
            opened.execute("DELETE FROM file WHERE path NOT IN (SELECT path FROM seen)")
            opened.execute("DELETE FROM folder")
            opened.execute("INSERT INTO folder SELECT * FROM seen_folder")
            opened.execute("DELETE FROM refreshed")
            opened.execute("INSERT INTO refreshed VALUES (?)", (time.time(),))

    def _walk(self) -> Iterator[tuple[bytes, int, list[tuple[bytes, str]]]]:
        """Yield each folder below, when it changed, and its files with their versions."""
        waiting = [os.fspath(self._folder)]
        while waiting:
            folder = waiting.pop()
            files = []
            try:
                # Before its entries are read: what comes meanwhile is noticed later.
                changed = os.stat(folder).st_mtime_ns
                with os.scandir(folder) as entries:
                    for entry in entries:
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(entry.path)
                        elif entry.is_file(follow_symlinks=False) and entry.name != "DICOMDIR":
                            version = _version(entry.stat(follow_symlinks=False))
                            files.append((self._relative(entry.path), version))
            except OSError:
                if folder == os.fspath(self._folder):
                    raise
                continue  # removed meanwhile, or closed to this account
            yield self._relative(folder), changed, files

    def _read(self, relative: bytes) -> tuple[str | None, str]:
        """Return a file's study and header; no study is empty, None for a DICOMDIR (PS3.10 8.6)."""
        path = self._folder / os.fsdecode(relative)
        try:
            meta = read_file_meta(path)
            if meta and meta.sop_class == MediaStorageDirectoryStorage:
                return None, "[]"
            header = read_header(path, require_preamble=False)
        except OSError:
            header = None
        if header is None or not has_digits_and_dots(header.study_uid):
            header = StudyHeader()
        return header.study_uid, json.dumps(astuple(header))


def _prepare(opened: sqlite3.Connection) -> None:
    opened.execute("PRAGMA journal_mode = WAL")
    opened.execute("PRAGMA synchronous = NORMAL")
    with opened:
        opened.execute("BEGIN IMMEDIATE")
        (version,) = opened.execute("PRAGMA user_version").fetchone()
        if version == _SCHEMA_VERSION:
            return
        with closing(opened.execute("SELECT name FROM sqlite_master WHERE type = 'table'")) as rows:
            names = [name for (name,) in rows]
        for name in names:
            opened.execute(f'DROP TABLE "{name}"')
        for statement in _SCHEMA.split(";"):
            opened.execute(statement)
        opened.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")


def _version(stat: os.stat_result) -> str:
    return f"{stat.st_mtime_ns}.{stat.st_ctime_ns}.{stat.st_size}.{stat.st_ino}"


def _header(text: str) -> StudyHeader:
    return StudyHeader(*json.loads(text))
