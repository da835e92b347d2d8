"""Sets and tables of texts that are larger than memory, in a temporary file without a name."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from hashlib import blake2b

_CACHE_KIB = 32 << 10
# Enough that two of 10^8 texts share a hash once in 10^22 runs.
_HASH_BYTES = 16


def open_scratch() -> sqlite3.Connection:
    """Return a database in a temporary file that goes with the connection.

    A few megabytes are in memory, the rest is in the file.
    """
    scratch = sqlite3.connect("", isolation_level=None)
    for setting in (f"cache_size = -{_CACHE_KIB}", "journal_mode = OFF", "temp_store = FILE"):
        scratch.execute(f"PRAGMA {setting}")
    scratch.execute("BEGIN")
    return scratch


class DiskSet:
    """A set of texts, of which only hashes are kept; the hashes have a key that is in memory only.

    So the file tells nothing of a text, even if it identifies a patient.
    """

    def __init__(self) -> None:
        self._key = os.urandom(32)
        self._rows = open_scratch()
        self._rows.execute("CREATE TABLE text (hash BLOB PRIMARY KEY) WITHOUT ROWID")

    def add(self, texts: Iterable[str]) -> None:
        """Add texts, all in the set already or not."""
        rows = ((self.hash_of(text),) for text in texts)
        self._rows.executemany("INSERT OR IGNORE INTO text VALUES (?)", rows)

    def __contains__(self, text: str) -> bool:
        """Return whether a text was added."""
        found = self._rows.execute("SELECT 1 FROM text WHERE hash = ?", (self.hash_of(text),))
        return found.fetchone() is not None

    def hash_of(self, text: str) -> bytes:
        """Return what is kept of a text."""
        return blake2b(
            text.encode("utf-8", "surrogateescape"), key=self._key, digest_size=_HASH_BYTES
        ).digest()


class ExpectedPaths:
    """The paths that something must have or may have, each with a study's reference.

    Paths are added, then those that are there are marked; what was not marked is told by study.
    """

    def __init__(self) -> None:
        self._rows = open_scratch()
        self._rows.execute(
            "CREATE TABLE path (hash BLOB PRIMARY KEY, ref TEXT, seen INTEGER) WITHOUT ROWID"
        )

    def add(self, path: str, ref: str) -> None:
        """Add a path.

        Parameters
        ----------
        path
            The path.
        ref
            The study that must have it; empty if it may be missing.
        """
        self._rows.execute(
            "INSERT INTO path VALUES (?, ?, 0)"
            " ON CONFLICT (hash) DO UPDATE SET ref = coalesce(excluded.ref, ref)",
            (_hash(path), ref or None),
        )

    def mark(self, path: str) -> bool:
        """Mark a path that is there; return whether it was added."""
        key = _hash(path)
        return self._rows.execute("UPDATE path SET seen = 1 WHERE hash = ?", (key,)).rowcount > 0

    def missing(self) -> Iterator[tuple[str, int]]:
        """Yield each study that lacks paths it must have, and how many."""
        yield from self._rows.execute(
            "SELECT ref, count(*) FROM path WHERE NOT seen AND ref IS NOT NULL"
            " GROUP BY ref ORDER BY ref"
        )


def _hash(path: str) -> bytes:
    return blake2b(path.encode("utf-8", "surrogateescape"), digest_size=_HASH_BYTES).digest()
