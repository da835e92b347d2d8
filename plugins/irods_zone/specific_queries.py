"""Specific queries: SQL that an administrator registered under an alias."""

from __future__ import annotations

import sqlite3
from typing import Any

from . import catalog_views as views
from .catalog import timestamp
from .error_codes import ErrorCode
from .errors import IrodsError
from .session import Session


def register(session: Session, db: Any, sql: str, alias: str) -> None:
    """Add a query; it must be a select, and its alias new."""
    if not sql.lstrip().lower().startswith("select"):
        raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, "not a select", to_client=True)
    if alias and session.catalog.one("SELECT 1 FROM specific WHERE alias=?", alias) is not None:
        raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, "Alias is not unique", to_client=True)
    db.execute("INSERT INTO specific VALUES(?,?,?)", (alias, sql, timestamp()))


def remove(db: Any, name: str) -> None:
    """Take a query out, by its alias or its SQL."""
    if not db.execute("DELETE FROM specific WHERE alias=? OR sql=?", (name, name)).rowcount:
        raise IrodsError(ErrorCode.CAT_UNKNOWN_SPECIFIC_QUERY, name)


def run(session: Session, name: str, args: list[str]) -> list[tuple[Any, ...]]:
    """Rows of a registered query."""
    row = session.catalog.one("SELECT sql FROM specific WHERE alias=? OR sql=?", name, name)
    if row is None:
        raise IrodsError(ErrorCode.CAT_UNKNOWN_SPECIFIC_QUERY, name)
    try:
        return views.run_readonly(session.catalog, row["sql"], tuple(args))
    except sqlite3.ProgrammingError as e:  # the number of arguments
        raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, str(e), to_client=True) from None
    except sqlite3.Error as e:
        raise IrodsError(ErrorCode.CAT_SQL_ERR, str(e), to_client=True) from None
