"""Two roles of PostgreSQL for the ledger: one owns it, another works with it.

Who owns a table can switch its triggers off, so an audit trail that is append-only by triggers is
so for everybody but its owner. The application's role owns nothing: it may add to the trail and
read it. The owner's password is needed for migrations and restores alone, and no service has it.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import parse_dsn

from pacsgrid.errors import ConfigError, RetryableError
from pacsgrid.ledger.migrate import migrate

# What is append-only says so itself: by the trigger of its migration.
_APPEND_ONLY = (
    "SELECT c.relname FROM pg_class c JOIN pg_trigger t ON t.tgrelid = c.oid"
    " WHERE t.tgfoid = 'pacsgrid.append_only()'::regprocedure"
)
_KEPT = ("schema_version",)


def prepare(owner_dsn: str, application_dsn: str) -> int:
    """Bring the ledger up to date as its owner, and let the application's role work with it.

    What another role owns of it, as in a ledger that had one role only, goes to the owner: for
    that the owner must be a superuser or a member of that role. Safe to repeat.

    Returns
    -------
    int
        The schema's version.

    Raises
    ------
    ConfigError
        Both are one role, the application's is a superuser, or the owner may not take over.
    RetryableError
        The database does not answer.
    """
    role = check_two(owner_dsn, application_dsn)
    with closing(_connect(owner_dsn)) as connection:
        with connection, connection.cursor() as cursor:
            _take_over(cursor, role)
        version = migrate(owner_dsn)
        with connection, connection.cursor() as cursor:
            _grant(cursor, sql.Identifier(role))
    return version


def check_two(owner_dsn: str, application_dsn: str) -> str:
    """Return the application's role when it is fit to work with what the owner owns.

    Raises
    ------
    ConfigError
        Both are one role, or the application's is a superuser or not there.
    RetryableError
        The database does not answer.
    """
    owner, role = parse_dsn(owner_dsn).get("user"), parse_dsn(application_dsn).get("user")
    if not role or owner == role:
        raise ConfigError("the ledger's owner and the application must be two roles of PostgreSQL")
    with closing(_connect(owner_dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = %s", (role,))
        if cursor.fetchone() != (False,):
            raise ConfigError(f"role {role} is a superuser, or not there; give another")
    return str(role)


def may_replace(dsn: str) -> bool:
    """Return whether a role may drop the ledger's schema, if there is one, and make it again.

    Raises RetryableError when the database does not answer.
    """
    with closing(_connect(dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT has_database_privilege(current_database(), 'CREATE') AND coalesce("
            "(SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace"
            " WHERE nspname = 'pacsgrid'), true)"
        )
        return bool(cursor.fetchone()[0])


def owns_its_trail(dsn: str) -> bool:
    """Return whether a role could switch the audit trail's triggers off.

    Raises RetryableError when the database does not answer.
    """
    with closing(_connect(dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(bool_or(pg_has_role(c.relowner, 'MEMBER')), false)"
            " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = 'pacsgrid' AND c.relkind = 'r'"
        )
        return bool(cursor.fetchone()[0])


def _connect(dsn: str) -> Any:
    try:
        return psycopg2.connect(dsn, connect_timeout=5)
    except psycopg2.OperationalError:
        raise RetryableError("the ledger's database does not answer") from None


def _take_over(cursor: Any, role: str) -> None:
    cursor.execute(
        "SELECT EXISTS (SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = 'pacsgrid' AND c.relowner = %(role)s::regrole)"
        " OR EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = 'pacsgrid'"
        " AND nspowner = %(role)s::regrole) OR EXISTS (SELECT 1 FROM pg_database"
        " WHERE datname = current_database() AND datdba = %(role)s::regrole)",
        {"role": f'"{role}"'},
    )
    if not cursor.fetchone()[0]:
        return
    try:
        cursor.execute(sql.SQL("REASSIGN OWNED BY {} TO CURRENT_USER").format(sql.Identifier(role)))
    except psycopg2.errors.InsufficientPrivilege:
        raise ConfigError(
            f"role {role} owns the ledger, and its owner may not take over: as a superuser, "
            f"GRANT {role} to the owner's role, run this again, and REVOKE it"
        ) from None


def _grant(cursor: Any, role: sql.Identifier) -> None:
    """Give the application what it needs of the schema as it is now, and nothing else."""
    cursor.execute("SELECT current_database()")
    database = sql.Identifier(cursor.fetchone()[0])
    cursor.execute(_APPEND_ONLY)
    trails = sorted({name for (name,) in cursor.fetchall()})
    statements = [
        sql.SQL("REVOKE ALL ON DATABASE {db} FROM {role}"),
        sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE {db} TO {role}"),
        sql.SQL("REVOKE ALL ON SCHEMA pacsgrid FROM {role}"),
        sql.SQL("GRANT USAGE ON SCHEMA pacsgrid TO {role}"),
        sql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA pacsgrid FROM {role}"),
        sql.SQL("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA pacsgrid TO {role}"),
        sql.SQL("GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA pacsgrid TO {role}"),
    ]
    for statement in statements:
        cursor.execute(statement.format(db=database, role=role))
    for name in trails:
        revoked = sql.SQL("REVOKE UPDATE, DELETE ON pacsgrid.{} FROM {}")
        cursor.execute(revoked.format(sql.Identifier(name), role))
    for name in _KEPT:
        revoked = sql.SQL("REVOKE INSERT, UPDATE, DELETE ON pacsgrid.{} FROM {}")
        cursor.execute(revoked.format(sql.Identifier(name), role))
