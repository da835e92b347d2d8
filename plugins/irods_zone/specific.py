"""Specific queries: SQL that an administrator registered under an alias."""

from __future__ import annotations

import sqlite3
from typing import Any

from . import codes, views
from .catalog import now
from .session import Session
from .wire import IrodsError


def register(s: Session, db: Any, sql: str, alias: str) -> None:
    """Add a query; it must be a select, and its alias new."""
    if not sql.lstrip().lower().startswith("select"):
        raise IrodsError(codes.CAT_INVALID_ARGUMENT, "not a select", tell=True)
    if alias and s.cat.one("SELECT 1 FROM specific WHERE alias=?", alias) is not None:
        raise IrodsError(codes.CAT_INVALID_ARGUMENT, "Alias is not unique", tell=True)
    db.execute("INSERT INTO specific VALUES(?,?,?)", (alias, sql, now()))


def remove(db: Any, name: str) -> None:
    """Take a query out, by its alias or its SQL."""
    if not db.execute("DELETE FROM specific WHERE alias=? OR sql=?", (name, name)).rowcount:
        raise IrodsError(codes.CAT_UNKNOWN_SPECIFIC_QUERY, name)


def run(s: Session, name: str, args: list[str]) -> list[tuple[Any, ...]]:
    """Rows of a registered query."""
    row = s.cat.one("SELECT sql FROM specific WHERE alias=? OR sql=?", name, name)
    if row is None:
        raise IrodsError(codes.CAT_UNKNOWN_SPECIFIC_QUERY, name)
    try:
        return views.read(s.cat, row["sql"], tuple(args))
    except sqlite3.ProgrammingError as e:  # the number of arguments
        raise IrodsError(codes.CAT_INVALID_ARGUMENT, str(e), tell=True) from None
    except sqlite3.Error as e:
        raise IrodsError(codes.CAT_SQL_ERR, str(e), tell=True) from None
