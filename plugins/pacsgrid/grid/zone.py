"""One zone and its sessions; iRODS's errors become pacsgrid's here."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

from irods import exception as irods_errors
from irods.session import iRODSSession

from pacsgrid.errors import PacsgridError, ZoneError, ZoneUnavailable
from pacsgrid.model import ZoneSettings

_T = TypeVar("_T")
_R = TypeVar("_R")

# Seconds without an answer after which a zone counts as away.
TIMEOUT = 120

_PASSING = (
    irods_errors.NetworkException,
    irods_errors.LOCKED_DATA_OBJECT_ACCESS,
    irods_errors.HIERARCHY_ERROR,
    irods_errors.SYS_AGENT_INIT_ERR,
)


@contextmanager
def translated(zone: str) -> Iterator[None]:
    """Turn what python-irodsclient raises into ZoneUnavailable or ZoneError."""
    try:
        yield
    except PacsgridError:
        raise
    except _PASSING as error:
        raise ZoneUnavailable(f"zone {zone}: {type(error).__name__}") from None
    except irods_errors.iRODSException as error:
        raise ZoneError(f"zone {zone} refused: {type(error).__name__}: {error}") from None
    except (OSError, EOFError) as error:
        raise ZoneUnavailable(f"zone {zone} does not answer: {type(error).__name__}") from None


class Zone:
    """A zone reached with the service account's credentials.

    Parameters
    ----------
    settings
        Address, account and the root resource of deposits.
    """

    def __init__(self, settings: ZoneSettings) -> None:
        self.settings = settings
        self._session: Any = None

    @property
    def session(self) -> Any:
        """The python-irodsclient session, opened at first use."""
        if self._session is None:
            s = self.settings
            self._session = iRODSSession(
                host=s.host,
                port=s.port,
                user=s.user,
                password=s.password,
                zone=s.name,
                # Pooled connections that idled for hours are the classic stale ones.
                refresh_time=600,
            )
            self._session.connection_timeout = TIMEOUT
        return self._session

    def ping(self) -> None:
        """Ask the catalog something small; raises ZoneUnavailable or ZoneError."""
        with translated(self.settings.name):
            self.session.collections.exists(f"/{self.settings.name}")

    def each(self, work: Callable[[_T], _R], items: Iterable[_T], connections: int) -> list[_R]:
        """Call `work` for every item over several connections; the first error is raised."""
        with translated(self.settings.name), ThreadPoolExecutor(max(1, connections)) as pool:
            return list(pool.map(work, items))

    def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            self._session.cleanup()
            self._session = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def irods_checksum(sha256: str) -> str:
    """Return iRODS's spelling of a hex SHA-256."""
    return "sha2:" + base64.b64encode(bytes.fromhex(sha256)).decode()


def hex_checksum(checksum: str | None) -> str:
    """Return the hex SHA-256 of iRODS's spelling; empty for none or another scheme."""
    if not checksum or not checksum.startswith("sha2:"):
        return ""
    return base64.b64decode(checksum.removeprefix("sha2:")).hex()
