"""Two PostgreSQL roles for the ledger: the owner of its tables, and the application.

Triggers make the audit trail append-only, but the owner of a table can disable its triggers. The
application's role therefore owns nothing: it may add to the trail and read it. The owner's
password is needed for migrations and restores only, and no service has it.
"""

from __future__ import annotations

from contextlib import closing

from psycopg2 import sql
from psycopg2.errors import InsufficientPrivilege
from psycopg2.extensions import parse_dsn

from pacsgrid.errors import ConfigError
from pacsgrid.ledger.connection import Cursor, connect
from pacsgrid.ledger.migrate import migrate

# The append-only tables are those that a migration gave this trigger.
_APPEND_ONLY = (
    "SELECT c.relname FROM pg_class c JOIN pg_trigger t ON t.tgrelid = c.oid"
    " WHERE t.tgfoid = 'pacsgrid.append_only()'::regprocedure"
)
_PARTS = (
    "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname = 'pacsgrid' AND c.relkind = 'r' AND c.relispartition"
)
_READ_ONLY = ("schema_version", "audit_part")
_YEARS_AHEAD = 5


def prepare(owner_dsn: str, application_dsn: str) -> int:
    """Bring the schema up to date as its owner, and grant the application's role what it needs.

    Tables that the application's role owns, as in a ledger that had one role only, go to the
    owner; for that the owner must be a superuser or a member of that role. It may be repeated.

    Parameters
    ----------
    owner_dsn
        libpq connection string of the ledger with the owner's role.
    application_dsn
        The same with the application's role.

    Returns
    -------
    int
        The schema's version.

    Raises
    ------
    ConfigError
        Both are one role, the application's is a superuser, or the owner may not take its tables.
    RetryableError
        The database does not answer.
    """
    role = check_two(owner_dsn, application_dsn)
    with closing(connect(owner_dsn)) as opened:
        with opened, opened.cursor() as cursor:
            _take_over(cursor, role)
        version = migrate(owner_dsn)
        with opened, opened.cursor() as cursor:
            cursor.execute("SELECT pacsgrid.extend_audit(%s)", (_YEARS_AHEAD,))
            _grant(cursor, sql.Identifier(role))
    return version


def check_two(owner_dsn: str, application_dsn: str) -> str:
    """Check that owner and application are two roles, and the application's no superuser.

    Parameters
    ----------
    owner_dsn
        libpq connection string of the ledger with the owner's role.
    application_dsn
        The same with the application's role.

    Returns
    -------
    str
        The application's role.

    Raises
    ------
    ConfigError
        Both are one role, or the application's is a superuser or does not exist.
    RetryableError
        The database does not answer.
    """
    owner, role = parse_dsn(owner_dsn).get("user"), parse_dsn(application_dsn).get("user")
    if not role or owner == role:
        raise ConfigError("the ledger's owner and the application must be two roles of PostgreSQL")
    with closing(connect(owner_dsn)) as opened, opened, opened.cursor() as cursor:
        cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = %s", (role,))
        if cursor.fetchone() != (False,):
            raise ConfigError(f"role {role} is a superuser or does not exist; name another")
    return str(role)


def may_replace(dsn: str) -> bool:
    """Return whether a role may drop the ledger's schema, if there is one, and create it again.

    Raises
    ------
    RetryableError
        The database does not answer.
    """
    return _is_true(
        dsn,
        "SELECT has_database_privilege(current_database(), 'CREATE') AND coalesce("
        "(SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace"
        " WHERE nspname = 'pacsgrid'), true)",
    )


def owns_its_trail(dsn: str) -> bool:
    """Return whether a role could disable the audit trail's triggers.

    Raises
    ------
    RetryableError
        The database does not answer.
    """
    return _is_true(
        dsn,
        "SELECT coalesce(bool_or(pg_has_role(c.relowner, 'MEMBER')), false)"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = 'pacsgrid' AND c.relkind IN ('r', 'p')",
    )


def _is_true(dsn: str, question: str) -> bool:
    with closing(connect(dsn)) as opened, opened.cursor() as cursor:
        cursor.execute(question)
        return cursor.fetchone() == (True,)


def _take_over(cursor: Cursor, role: str) -> None:
    cursor.execute(
        "SELECT EXISTS (SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = 'pacsgrid' AND c.relowner = %(role)s::regrole)"
        " OR EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = 'pacsgrid'"
        " AND nspowner = %(role)s::regrole) OR EXISTS (SELECT 1 FROM pg_database"
        " WHERE datname = current_database() AND datdba = %(role)s::regrole)",
        {"role": f'"{role}"'},
    )
    if cursor.fetchone() != (True,):
        return
    try:
        cursor.execute(sql.SQL("REASSIGN OWNED BY {} TO CURRENT_USER").format(sql.Identifier(role)))
    except InsufficientPrivilege:
        raise ConfigError(
            f"role {role} owns the ledger's tables and the new owner may not take them: as a "
            f"superuser, GRANT {role} to the owner's role, run this again, then REVOKE it"
        ) from None


def _grant(cursor: Cursor, role: sql.Identifier) -> None:
    """Grant the application what it needs of the present schema, and nothing else."""
    cursor.execute("SELECT current_database()")
    (name,) = cursor.fetchone() or ("",)
    database = sql.Identifier(name)
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
    # A part is written to through its table only; a backup reads it.
    cursor.execute(_PARTS)
    for name in (*_READ_ONLY, *(name for (name,) in cursor.fetchall())):
        revoked = sql.SQL("REVOKE INSERT, UPDATE, DELETE ON pacsgrid.{} FROM {}")
        cursor.execute(revoked.format(sql.Identifier(name), role))
