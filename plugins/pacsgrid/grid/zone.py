"""Connect to a zone, and translate iRODS errors into those of pacsgrid."""

from __future__ import annotations

import base64
import hashlib
import ssl
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Self, TypeVar

from irods import exception as irods_errors
from irods.session import iRODSSession

from pacsgrid.config import ZoneSettings
from pacsgrid.errors import PacsgridError, ResourceUnavailableError, ZoneError, ZoneUnavailableError

_T = TypeVar("_T")
_R = TypeVar("_R")

# Connections to use at once for work on many objects.
CONNECTIONS = 8
# Seconds without an answer after which a zone counts as unavailable.
TIMEOUT = 120
NEGOTIATION_TIMEOUT = 10
# Bytes a second at which the slowest storage computes checksums and replicates.
SLOWEST = 10 << 20
# Seconds after which an idle pooled connection is replaced: after hours of idling it is dead.
REFRESH_SECONDS = 600

_NOT_TRIED = "not tried after an earlier error"

_TRANSIENT = (
    irods_errors.NetworkException,
    irods_errors.LOCKED_DATA_OBJECT_ACCESS,
    irods_errors.HIERARCHY_ERROR,
    irods_errors.SYS_AGENT_INIT_ERR,
)
# What a zone answers while a resource is down, full or not mounted; a later try may succeed.
_STORAGE = (
    irods_errors.SYS_RESC_IS_DOWN,
    irods_errors.SYS_RESC_QUOTA_EXCEEDED,
    irods_errors.SYS_REPLICA_INACCESSIBLE,
    irods_errors.USER_FILE_TOO_LARGE,
    irods_errors.UNIX_FILE_CREATE_ERR,
    irods_errors.UNIX_FILE_OPEN_ERR,
    irods_errors.UNIX_FILE_READ_ERR,
    irods_errors.UNIX_FILE_WRITE_ERR,
    irods_errors.UNIX_FILE_MKDIR_ERR,
    irods_errors.UNIX_FILE_FSYNC_ERR,
    irods_errors.UNIX_FILE_CLOSE_ERR,
)


def _tls(ca_file: Path | None) -> dict[str, Any]:
    """Return the options that make python-irodsclient refuse servers without TLS, or misnamed."""
    if ca_file is None:
        return {}
    return {
        "client_server_negotiation": "request_server_negotiation",
        "client_server_policy": "CS_NEG_REQUIRE",
        "encryption_algorithm": "AES-256-CBC",
        "encryption_key_size": 32,
        "encryption_num_hash_rounds": 16,
        "encryption_salt_size": 8,
        "ssl_verify_server": "hostname",
        "ssl_ca_certificate_file": str(ca_file),
    }


@contextmanager
def translated_errors(zone: str) -> Iterator[None]:
    """Translate what python-irodsclient raises into errors of pacsgrid.

    Parameters
    ----------
    zone
        The zone's name, for the message.

    Raises
    ------
    ZoneUnavailableError
        The zone does not answer, or says that it cannot serve just now.
    ResourceUnavailableError
        A resource of the zone is down, full or not mounted.
    ZoneError
        The zone refused for another reason.
    """
    try:
        yield
    except PacsgridError:
        raise
    except _TRANSIENT as error:
        raise ZoneUnavailableError(f"zone {zone}: {type(error).__name__}") from None
    except _STORAGE as error:
        raise ResourceUnavailableError(
            f"zone {zone}: {type(error).__name__}; a resource is down, full or not mounted, look "
            "at it with `ilsresc -l`"
        ) from None
    except irods_errors.iRODSException as error:
        raise ZoneError(f"zone {zone} refused: {type(error).__name__}: {error}") from None
    except KeyError as error:
        # python-irodsclient has no exception class for the server's error code.
        if not (error.args and isinstance(error.args[0], int)):
            raise
        raise ZoneError(f"zone {zone} refused: iRODS error {error.args[0]}") from None
    except ssl.SSLCertVerificationError as error:
        raise ZoneError(
            f"zone {zone}: its certificate is not trusted ({error.verify_message}); check host "
            "and ca_file of the zone"
        ) from None
    except (OSError, EOFError) as error:
        raise ZoneUnavailableError(f"zone {zone} does not answer: {type(error).__name__}") from None


def requires_tls(settings: ZoneSettings) -> bool:
    """Return whether a server that closed a plain connection accepts TLS connections only."""
    session = iRODSSession(
        host=settings.host,
        port=settings.port,
        user=settings.user,
        password=settings.password.get_secret_value(),
        zone=settings.name,
        client_server_negotiation="request_server_negotiation",
        client_server_policy="CS_NEG_REFUSE",
    )
    session.connection_timeout = NEGOTIATION_TIMEOUT
    try:
        with session.pool.get_connection():
            return False
    except irods_errors.NetworkException as error:
        # The client's policy and the server's, in this order; the error has no code for it.
        return str(error).endswith("CS_NEG_REFUSE,CS_NEG_REQUIRE")
    except irods_errors.iRODSException:
        return False
    finally:
        session.cleanup()


class Zone:
    """A zone, reached with the service account's credentials.

    Parameters
    ----------
    settings
        Address, account, root resource of deposits and number of copies.
    timeout
        Seconds without an answer after which the zone counts as unavailable.
    """

    def __init__(self, settings: ZoneSettings, timeout: int = TIMEOUT) -> None:
        self.settings = settings
        self._session: Any = None
        self._query_session: Any = None
        self._query_lock = Lock()
        self._session_lock = Lock()
        self._timeout = timeout

    def extend_timeout(self, size: int) -> None:
        """Extend the timeout to what a server needs to handle an object of `size` bytes."""
        seconds = TIMEOUT + size // SLOWEST
        if seconds > self._timeout:
            self._timeout = seconds
            self.close()  # the next session has the new limit

    @property
    def session(self) -> Any:
        """The python-irodsclient session, opened at first use.

        Threads that ask at once get the same one: a second session would be dropped, and
        python-irodsclient then closes its connections under whoever uses them.
        """
        with self._session_lock:
            if self._session is None:
                self._session = self._open()
            return self._session

    def _open(self) -> Any:
        s = self.settings
        session = iRODSSession(
            host=s.host,
            port=s.port,
            user=s.user,
            password=s.password.get_secret_value(),
            zone=s.name,
            refresh_time=REFRESH_SECONDS,
            **_tls(s.ca_file),
        )
        session.connection_timeout = self._timeout
        with translated_errors(s.name):
            try:
                with session.pool.get_connection():
                    pass
            except irods_errors.NetworkException:
                session.cleanup()
                if s.ca_file is None and requires_tls(s):
                    raise ZoneUnavailableError(
                        f"zone {s.name} requires TLS: set zones.{s.name}.ca_file to the "
                        "certificate of the authority that signed the server's certificate"
                    ) from None
                raise
        return session

    def rows(
        self, columns: Sequence[Any], *criteria: Any, count: Any = None
    ) -> Iterator[dict[Any, Any]]:
        """Yield the rows of a catalog query, however many pages they fill.

        Queries have a session with a single connection, used by one thread at a time: the pages
        of an answer belong to one connection, but python-irodsclient asks for each page on any
        idle connection of its pool and takes the refusal for the end.

        Parameters
        ----------
        columns
            The columns of `irods.models` to select.
        criteria
            What the rows must match.
        count
            A column to count: each row then holds the number of its values under it.

        Yields
        ------
        dict
            The values of a row by column.

        Raises
        ------
        ZoneError, ZoneUnavailableError
            The zone refused, or does not answer.
        """
        with self._query_lock, translated_errors(self.settings.name):
            if self._query_session is None:
                self._query_session = self._open()
            query = self._query_session.query(*columns).filter(*criteria)
            if count is not None:
                query = query.count(count)
            for batch in query.get_batches():
                yield from batch

    def ping(self) -> None:
        """Ask the catalog something small, to see whether the zone answers.

        A connection that died while it was idle does not count: a second try is made with new
        ones.

        Raises
        ------
        ZoneError, ZoneUnavailableError
            The zone refused, or does not answer.
        """
        with translated_errors(self.settings.name):
            try:
                self.session.collections.exists(f"/{self.settings.name}")
            except irods_errors.NetworkException:
                self.close()
                self.session.collections.exists(f"/{self.settings.name}")

    def run_parallel(
        self, work: Callable[[_T], _R], items: Iterable[_T], connections: int
    ) -> list[_R]:
        """Call a function for every item, in parallel over several connections.

        After an error, no further call is begun.

        Parameters
        ----------
        work
            The function.
        items
            What it is called with.
        connections
            How many calls run at once.

        Returns
        -------
        list
            The results, in the order of the items.

        Raises
        ------
        PacsgridError
            The error that occurred first; errors of python-irodsclient are translated.
        """
        failed = False

        def guarded(item: _T) -> _R:
            nonlocal failed
            if failed:
                raise ZoneUnavailableError(f"zone {self.settings.name}: {_NOT_TRIED}")
            try:
                return work(item)
            except BaseException:
                failed = True
                raise

        with translated_errors(self.settings.name), ThreadPoolExecutor(max(1, connections)) as pool:
            done = [pool.submit(guarded, item) for item in items]
            wait(done)
            errors = [e for e in (one.exception() for one in done) if e is not None]
            if errors:
                # Not those of the calls that were not begun because of it.
                raise min(errors, key=lambda e: _NOT_TRIED in str(e))
            return [one.result() for one in done]

    def close(self) -> None:
        """Close every connection."""
        for session in (self._session, self._query_session):
            if session is not None:
                session.cleanup()
        self._session = self._query_session = None

    def __enter__(self) -> Self:
        """Return the zone itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close every connection."""
        self.close()


def bytes_checksum(data: bytes) -> str:
    """Return the SHA-256 of bytes as iRODS writes it."""
    return irods_checksum(hashlib.sha256(data).hexdigest())


def irods_checksum(sha256: str) -> str:
    """Return a hex SHA-256 as iRODS writes it (``sha2:`` and base64)."""
    return "sha2:" + base64.b64encode(bytes.fromhex(sha256)).decode()


def hex_checksum(checksum: str | None) -> str:
    """Return a checksum of iRODS as hex SHA-256; empty for none or another scheme."""
    if not checksum or not checksum.startswith("sha2:"):
        return ""
    return base64.b64decode(checksum.removeprefix("sha2:")).hex()
