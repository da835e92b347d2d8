"""How a connection to PostgreSQL is opened, and how its errors are translated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Any, TypeAlias

import psycopg2
from psycopg2.extensions import connection, cursor, parse_dsn

from pacsgrid.errors import ConfigError, RetryableError

# Used where the connection string does not set them. Without keepalives a statement could wait for
# hours on a connection that a firewall dropped silently.
_DEFAULTS = {
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
}

Cursor: TypeAlias = cursor

LOST = (psycopg2.OperationalError, psycopg2.InterfaceError)
"""What psycopg2 raises when a server or a connection is gone."""


def connect_options(dsn: str) -> dict[str, Any]:
    """Return the connection parameters that `dsn` leaves to us: timeouts and keepalives.

    Raises
    ------
    ConfigError
        libpq does not understand `dsn`.
    """
    try:
        given = parse_dsn(dsn)
    except psycopg2.ProgrammingError:
        # Without the text: it may quote the password.
        raise ConfigError(
            "the database's connection string is malformed; write it as libpq expects it, for "
            "example: host=db dbname=ledger user=pacsgrid"
        ) from None
    return {name: value for name, value in _DEFAULTS.items() if name not in given}


@contextmanager
def answering(dsn: str) -> Iterator[None]:
    """Translate a failure to connect.

    Raises
    ------
    RetryableError
        The database does not answer; the message names host and database only.
    """
    try:
        yield
    except psycopg2.OperationalError:
        parts = parse_dsn(dsn)
        name, host = parts.get("dbname", ""), parts.get("host", "this machine")
        raise RetryableError(
            f"database {name} on {host} does not answer; check that PostgreSQL runs and that "
            "the connection string is right"
        ) from None


def connect(dsn: str) -> connection:
    """Open a connection outside the pool: for migrations, roles, and databases not the ledger.

    Raises
    ------
    RetryableError
        The database does not answer.
    ConfigError
        libpq does not understand `dsn`.
    """
    options = connect_options(dsn)
    with answering(dsn):
        opened: connection = psycopg2.connect(dsn, **options)
    return opened


def server_time(dsn: str) -> datetime:
    """Return the database server's clock, with its time zone.

    Raises
    ------
    RetryableError
        The database does not answer.
    """
    with closing(connect(dsn)) as opened, opened.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (now,) = cursor.fetchone() or (None,)
    assert isinstance(now, datetime)
    return now
