"""Vault files to delete once the catalog certainly no longer needs them.

They are scheduled in the transaction that removes their replicas from the catalog, in table
``doomed``, and deleted after it. If the server ends in between, the next start deletes them.
"""

from __future__ import annotations

import sqlite3

from .catalog import Catalog
from .vault import delete_files


def schedule(db: sqlite3.Connection, paths: list[str]) -> None:
    """Schedule files for deletion.

    Parameters
    ----------
    db : sqlite3.Connection
        The transaction that removes their replicas from the catalog.
    paths : list of str
        Vault files.
    """
    db.executemany("INSERT OR IGNORE INTO doomed VALUES(?)", [(path,) for path in paths])


def cancel(db: sqlite3.Connection, path: str) -> None:
    """Keep a scheduled file.

    Parameters
    ----------
    db : sqlite3.Connection
        The transaction that makes the file a replica's.
    path : str
        Vault file.
    """
    db.execute("DELETE FROM doomed WHERE path=?", (path,))


def delete_scheduled(catalog: Catalog, paths: list[str]) -> None:
    """Delete scheduled files, after the transaction.

    Parameters
    ----------
    catalog : Catalog
        The catalog.
    paths : list of str
        The files that were scheduled in the transaction.
    """
    if not paths:
        return
    delete_files(paths)
    with catalog.transaction() as db:
        db.executemany("DELETE FROM doomed WHERE path=?", [(path,) for path in paths])


def delete_leftovers(catalog: Catalog) -> None:
    """At the start, delete what was scheduled when the server ended, unless it is in use again."""
    rows = catalog.rows("SELECT path FROM doomed WHERE path NOT IN (SELECT path FROM data)")
    delete_scheduled(catalog, [row["path"] for row in rows])
    with catalog.transaction() as db:
        db.execute("DELETE FROM doomed")
