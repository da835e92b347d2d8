"""Versioned schema migrations: numbered SQL files, each applied once, in a transaction."""

from __future__ import annotations

from contextlib import closing
from importlib.resources import files
from importlib.resources.abc import Traversable

import psycopg2

from pacsgrid.errors import RetryableError

# Any constant will do, as long as every pacsgrid uses the same.
_MIGRATION_LOCK = 0x70616373


def _scripts() -> list[Traversable]:
    found = files("pacsgrid.ledger").joinpath("migrations").iterdir()
    return sorted((one for one in found if one.name.endswith(".sql")), key=lambda one: one.name)


def _number(script: Traversable) -> int:
    return int(script.name.split("_", 1)[0])


def newest() -> int:
    """Return the version of the schema that this pacsgrid knows."""
    return _number(_scripts()[-1])


def migrate(dsn: str) -> int:
    """Bring the schema up to date; safe to call from many processes at once.

    Returns
    -------
    int
        The schema's version, the number of the newest migration.

    Raises
    ------
    RetryableError
        The database does not answer.
    """
    scripts = _scripts()
    try:
        connection = psycopg2.connect(dsn)
    except psycopg2.OperationalError:
        raise RetryableError("the ledger's database does not answer") from None
    with closing(connection):
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", (_MIGRATION_LOCK,))
            cursor.execute("CREATE SCHEMA IF NOT EXISTS pacsgrid")
            cursor.execute(
                "CREATE TABLE IF NOT EXISTS pacsgrid.schema_version"
                " (version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
            )
            cursor.execute("SELECT coalesce(max(version), 0) FROM pacsgrid.schema_version")
            (version,) = cursor.fetchone() or (0,)
            for script in scripts:
                number = _number(script)
                if number <= version:
                    continue
                cursor.execute("BEGIN")
                cursor.execute(script.read_text())
                cursor.execute(
                    "INSERT INTO pacsgrid.schema_version (version) VALUES (%s)", (number,)
                )
                cursor.execute("COMMIT")
                version = number
    return int(version)
