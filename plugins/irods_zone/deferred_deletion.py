"""Files to delete: noted with the change of the catalog, deleted after it.

A file goes only when the catalog no longer needs it for certain. If the server ends in between, the
next start deletes what was noted.
"""

from __future__ import annotations

import sqlite3

from .catalog import Catalog
from .vault import delete_files


def schedule(db: sqlite3.Connection, paths: list[str]) -> None:
    """Note files in the transaction that takes their replicas out of the catalog."""
    db.executemany("INSERT OR IGNORE INTO doomed VALUES(?)", [(path,) for path in paths])


def cancel(db: sqlite3.Connection, path: str) -> None:
    """Keep a noted file after all, in the transaction that gives it its replica."""
    db.execute("DELETE FROM doomed WHERE path=?", (path,))


def delete_scheduled(catalog: Catalog, paths: list[str]) -> None:
    """Delete noted files, now that the transaction is over."""
    if not paths:
        return
    delete_files(paths)
    with catalog.transaction() as db:
        db.executemany("DELETE FROM doomed WHERE path=?", [(path,) for path in paths])


def delete_leftovers(catalog: Catalog) -> None:
    """Delete what was noted before the server's last end, unless it is in use again."""
    rows = catalog.rows("SELECT path FROM doomed WHERE path NOT IN (SELECT path FROM data)")
    delete_scheduled(catalog, [row["path"] for row in rows])
    with catalog.transaction() as db:
        db.execute("DELETE FROM doomed")
