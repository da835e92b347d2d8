"""Specific queries: SQL that an administrator registered under an alias."""

from __future__ import annotations

import sqlite3
from typing import Any

from . import catalog_views
from .catalog import timestamp
from .error_codes import ErrorCode
from .errors import IrodsError
from .session import Session


def register(session: Session, db: sqlite3.Connection, sql: str, alias: str) -> None:
    """Register a query.

    Parameters
    ----------
    session : Session
        The client's connection.
    db : sqlite3.Connection
        The open transaction.
    sql : str
        The query.
    alias : str
        Its alias; may be empty.

    Raises
    ------
    IrodsError
        CAT_INVALID_ARGUMENT: it is not a SELECT, or the alias is taken.
    """
    if not sql.lstrip().lower().startswith("select"):
        raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, "not a select", to_client=True)
    if alias and session.catalog.one("SELECT 1 FROM specific WHERE alias=?", alias) is not None:
        raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, "Alias is not unique", to_client=True)
    db.execute("INSERT INTO specific VALUES(?,?,?)", (alias, sql, timestamp()))


def remove(db: sqlite3.Connection, name: str) -> None:
    """Remove a query.

    Parameters
    ----------
    db : sqlite3.Connection
        The open transaction.
    name : str
        Its alias or its SQL.

    Raises
    ------
    IrodsError
        CAT_UNKNOWN_SPECIFIC_QUERY.
    """
    if not db.execute("DELETE FROM specific WHERE alias=? OR sql=?", (name, name)).rowcount:
        raise IrodsError(ErrorCode.CAT_UNKNOWN_SPECIFIC_QUERY, name)


def run(session: Session, name: str, args: list[str]) -> list[tuple[Any, ...]]:
    """Run a registered query.

    Parameters
    ----------
    session : Session
        The client's connection.
    name : str
        Its alias or its SQL.
    args : list of str
        Values of its parameters.

    Returns
    -------
    list of tuple
        The rows.

    Raises
    ------
    IrodsError
        The query is unknown, or the database refuses; the client is told why.
    """
    row = session.catalog.one("SELECT sql FROM specific WHERE alias=? OR sql=?", name, name)
    if row is None:
        raise IrodsError(ErrorCode.CAT_UNKNOWN_SPECIFIC_QUERY, name)
    try:
        return catalog_views.run_readonly(session.catalog, row["sql"], tuple(args))
    except sqlite3.ProgrammingError as e:  # the number of arguments
        raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, str(e), to_client=True) from None
    except sqlite3.Error as e:
        raise IrodsError(ErrorCode.CAT_SQL_ERR, str(e), to_client=True) from None
