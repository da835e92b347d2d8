"""One zone and its sessions; iRODS's errors become pacsgrid's here."""

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

# Seconds without an answer after which a zone counts as away.
TIMEOUT = 120
NEGOTIATION_TIMEOUT = 10
# Bytes a second that the slowest storage is trusted to checksum and replicate.
SLOWEST = 10 << 20

_PASSING = (
    irods_errors.NetworkException,
    irods_errors.LOCKED_DATA_OBJECT_ACCESS,
    irods_errors.HIERARCHY_ERROR,
    irods_errors.SYS_AGENT_INIT_ERR,
)
# What a zone answers while a resource is down, full or not mounted; it may well serve later.
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
    """Return what python-irodsclient needs to refuse a server without TLS, or of another name."""
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
    """Turn what python-irodsclient raises into ZoneUnavailableError, ResourceUnavailableError or ZoneError."""
    try:
        yield
    except PacsgridError:
        raise
    except _PASSING as error:
        raise ZoneUnavailableError(f"zone {zone}: {type(error).__name__}") from None
    except _STORAGE as error:
        raise ResourceUnavailableError(
            f"zone {zone}: {type(error).__name__}; a resource is down, full or not mounted"
        ) from None
    except irods_errors.iRODSException as error:
        raise ZoneError(f"zone {zone} refused: {type(error).__name__}: {error}") from None
    except KeyError as error:
        # python-irodsclient looks up a class for the server's code and has none.
        if not (error.args and isinstance(error.args[0], int)):
            raise
        raise ZoneError(f"zone {zone} refused: iRODS error {error.args[0]}") from None
    except ssl.SSLCertVerificationError as error:
        raise ZoneError(
            f"zone {zone}: its certificate is not trusted ({error.verify_message}); look at the "
            "zone's host and ca_file"
        ) from None
    except (OSError, EOFError) as error:
        raise ZoneUnavailableError(f"zone {zone} does not answer: {type(error).__name__}") from None


def requires_tls(settings: ZoneSettings) -> bool:
    """Ask a server that broke off a plain connection whether it takes TLS connections only."""
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
        # The client's policy and the server's, in this order; no code tells them apart.
        return str(error).endswith("CS_NEG_REFUSE,CS_NEG_REQUIRE")
    except irods_errors.iRODSException:
        return False
    finally:
        session.cleanup()


class Zone:
    """A zone reached with the service account's credentials.

    Parameters
    ----------
    settings
        Address, account and the root resource of deposits.
    timeout
        Seconds without an answer after which the zone counts as away.
    """

    def __init__(self, settings: ZoneSettings, timeout: int = TIMEOUT) -> None:
        self.settings = settings
        self._session: Any = None
        self._catalog: Any = None
        self._asking = Lock()
        self._timeout = timeout

    def extend_timeout(self, size: int) -> None:
        """Wait long enough for a server that checksums and replicates an object of `size` bytes."""
        seconds = TIMEOUT + size // SLOWEST
        if seconds > self._timeout:
            self._timeout = seconds
            self.close()  # the next session has the new limit

    @property
    def session(self) -> Any:
        """The python-irodsclient session, opened at first use."""
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
            # Pooled connections that idled for hours are the classic stale ones.
            refresh_time=600,
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
                        "certificate of the authority that signed the server's"
                    ) from None
                raise
        return session

    def rows(
        self, columns: Sequence[Any], *criteria: Any, count: Any = None
    ) -> Iterator[dict[Any, Any]]:
        """Yield the answers to a catalog query, however many pages they fill.

        With `count`, a column, how often it occurs for each of the answers stands under it.

        The pages of an answer belong to one connection, while python-irodsclient asks for each
        on any idle one of its pool and takes the refusal for the end. So queries have a session
        of their own, used by one thread at a time, which keeps its pool at one connection.
        """
        with self._asking, translated_errors(self.settings.name):
            if self._catalog is None:
                self._catalog = self._open()
            query = self._catalog.query(*columns).filter(*criteria)
            if count is not None:
                query = query.count(count)
            for batch in query.get_batches():
                yield from batch

    def ping(self) -> None:
        """Ask the catalog something small; raises ZoneUnavailableError or ZoneError.

        A connection that died while it was idle is no sign of a zone that is away, so a second
        try is made with new ones.
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
        """Call `work` for every item over several connections; the first error is raised."""
        failed = False

        def guarded(item: _T) -> _R:
            nonlocal failed
            if failed:
                raise ZoneUnavailableError(f"zone {self.settings.name}: given up after an error")
            try:
                return work(item)
            except BaseException:
                failed = True
                raise

        with translated_errors(self.settings.name), ThreadPoolExecutor(max(1, connections)) as pool:
            done = [pool.submit(guarded, item) for item in items]
            wait(done)
            # The error that came first in time is the one worth telling.
            errors = [e for e in (one.exception() for one in done) if e is not None]
            if errors:
                raise min(errors, key=lambda e: "given up" in str(e))
            return [one.result() for one in done]

    def close(self) -> None:
        """Close every connection."""
        for session in (self._session, self._catalog):
            if session is not None:
                session.cleanup()
        self._session = self._catalog = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def bytes_checksum(data: bytes) -> str:
    """Return the SHA-256 of some bytes in iRODS's spelling."""
    return irods_checksum(hashlib.sha256(data).hexdigest())


def irods_checksum(sha256: str) -> str:
    """Return iRODS's spelling of a hex SHA-256."""
    return "sha2:" + base64.b64encode(bytes.fromhex(sha256)).decode()


def hex_checksum(checksum: str | None) -> str:
    """Return the hex SHA-256 of iRODS's spelling; empty for none or another scheme."""
    if not checksum or not checksum.startswith("sha2:"):
        return ""
    return base64.b64decode(checksum.removeprefix("sha2:")).hex()
