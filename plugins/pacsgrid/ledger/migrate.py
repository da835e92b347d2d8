"""Schema migrations: numbered SQL files, each applied once in a transaction of its own."""

from __future__ import annotations

from contextlib import closing
from importlib.resources import files
from importlib.resources.abc import Traversable

from pacsgrid.errors import ConfigError
from pacsgrid.ledger.connection import Cursor, connect

# An arbitrary constant; every process must use the same.
_MIGRATION_LOCK = 0x70616373


def _scripts() -> list[Traversable]:
    found = files("pacsgrid.ledger").joinpath("migrations").iterdir()
    return sorted((one for one in found if one.name.endswith(".sql")), key=lambda one: one.name)


def _number(script: Traversable) -> int:
    return int(script.name.split("_", 1)[0])


def newest() -> int:
    """Return the newest schema version that this release of pacsgrid brings."""
    return _number(_scripts()[-1])


def _version(cursor: Cursor) -> int:
    """Return the schema's version; 0 when there is no schema."""
    cursor.execute("SELECT to_regclass('pacsgrid.schema_version') IS NOT NULL")
    if cursor.fetchone() != (True,):
        return 0
    cursor.execute("SELECT coalesce(max(version), 0) FROM pacsgrid.schema_version")
    (version,) = cursor.fetchone() or (0,)
    return int(version)


def _may_change(cursor: Cursor) -> bool:
    """Return whether the role owns the schema, or may create it."""
    cursor.execute(
        "SELECT coalesce((SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace"
        " WHERE nspname = 'pacsgrid'),"
        " has_database_privilege(current_database(), 'CREATE'))"
    )
    return cursor.fetchone() == (True,)


def migrate(dsn: str) -> int:
    """Bring the schema up to date.

    Many processes may call it at once. A role that does not own the schema can only check its
    version. `Database` calls it once per process, before the first use.

    Parameters
    ----------
    dsn
        libpq connection string of the ledger.

    Returns
    -------
    int
        The schema's version: the number of the newest migration.

    Raises
    ------
    RetryableError
        The database does not answer.
    ConfigError
        The schema is older and belongs to another role; the message says how that role updates it.
    """
    scripts = _scripts()
    with closing(connect(dsn)) as opened:
        opened.autocommit = True
        with opened.cursor() as cursor:
            version = _version(cursor)
            if version >= newest():
                return version
            if not _may_change(cursor):
                raise ConfigError(
                    f"the ledger's schema is version {version}, this pacsgrid needs {newest()}, "
                    "and another role owns it: run pacsgrid ledger --owner-dsn-file FILE"
                )
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
