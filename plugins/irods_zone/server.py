"""The zone's server: it listens and gives every connection a thread."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import ssl
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from . import api as _api  # registers the API handlers  # noqa: F401
from .catalog import Catalog
from .connection import Connection
from .initial_catalog import populate
from .negotiation import server_context
from .session import Session
from .zone_state import ZoneState

__all__ = ["ZoneServer"]


class ZoneServer:
    """An iRODS zone of one server: catalog, vaults and listener.

    Use it as a context manager, or call `start` and `stop`. Another server on the same directory
    goes on with the data that are there.

    Parameters
    ----------
    zone : str
        Name of the zone.
    directory : Path or str
        Where catalog and vaults lie; made if it does not exist.
    port : int
        Port to listen on; 0 takes a free one, which `port` then tells.
    admin, password : str
        Name and password of the administrator, used when the directory is new.
    host : str
        Address to listen on. Authentication protects a zone, but it is meant for tests: keep it
        off networks that you do not trust.
    federate : Mapping of str to tuple, optional
        Host, port and shared key of each zone to federate with, by name.
    tls : tuple, optional
        Certificate chain and private key (PEM); None as key if it is in the same file.
    tls_required : bool
        Refuse clients that do not use TLS.
    federate_ca : Path or str, optional
        Authorities of the federated zones' certificates (PEM): their servers are asked over TLS
        alone. By default connections to them are not encrypted.

    Attributes
    ----------
    zone, directory, host, port, admin, password, federate
        As given, with the real port once the server runs.
    state : ZoneState
        What all connections share, once the server runs.

    Raises
    ------
    ValueError
        The zone's name has other characters than letters, digits and ``_.-``.
    OSError, ssl.SSLError
        Certificate or key cannot be used.
    """

    state: ZoneState

    def __init__(
        self,
        zone: str,
        directory: Path | str,
        port: int = 0,
        admin: str = "rods",
        password: str = "rods",
        host: str = "127.0.0.1",
        federate: Mapping[str, tuple[str, int, str]] | None = None,
        tls: tuple[Path | str, Path | str | None] | None = None,
        tls_required: bool = False,
        federate_ca: Path | str | None = None,
    ) -> None:
        if not re.fullmatch(r"[\w.-]+", zone):
            raise ValueError(f"zone name {zone!r}: use letters, digits and _.- only")
        self.zone = zone
        self.directory = Path(directory)
        self.host = host
        self.port = port
        self.admin = admin
        self.password = password
        self.federate = dict(federate or {})
        self._tls: ssl.SSLContext | None = server_context(*tls) if tls else None
        self._trust = ssl.create_default_context(cafile=federate_ca) if federate_ca else None
        self._tls_required = tls_required and tls is not None
        self._lock = threading.RLock()
        self._listener: socket.socket | None = None
        self._connections: dict[int, tuple[Connection, threading.Thread]] = {}
        self._thread: threading.Thread | None = None
        self._stopping = False

    def start(self) -> None:
        """Open the catalog and accept connections.

        Raises `OSError` if the port is taken or the directory cannot be written.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        os.chmod(self.directory, 0o700)
        catalog = Catalog(self.directory / "catalog.sqlite")
        self.state = ZoneState(
            self.zone,
            self.directory,
            self.host,
            self.admin,
            self.federate,
            catalog,
            trust=self._trust,
        )
        try:
            populate(self.state, self.directory / "vault" / "demoResc", self.password)
            self._listener = socket.create_server((self.host, self.port), backlog=512)
        except BaseException:
            catalog.close()
            raise
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name=f"{self.zone}-accept")
        self._thread.daemon = True
        self._thread.start()

    def stop(self) -> None:
        """Stop accepting, end the connections, close the catalog."""
        self._stopping = True
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        with self._lock:
            running = list(self._connections.values())
        for connection, _ in running:
            connection.stop()
        for _, thread in running:
            thread.join(5)
        if self._thread is not None:
            self._thread.join(5)
        self.state.catalog.close()

    def session_arguments(
        self, user: str | None = None, password: str | None = None
    ) -> dict[str, str | int]:
        """Return the arguments of python-irodsclient's ``iRODSSession`` for this zone.

        Parameters
        ----------
        user, password : str, optional
            Who connects; by default the administrator.

        Returns
        -------
        dict
            ``host``, ``port``, ``user``, ``password`` and ``zone``.
        """
        return {
            "host": self.host,
            "port": self.port,
            "user": self.admin if user is None else user,
            "password": self.password if password is None else password,
            "zone": self.zone,
        }

    def __enter__(self) -> Self:
        """Start the server."""
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

    def _accept(self) -> None:
        assert self._listener is not None
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            if self._stopping:
                sock.close()
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _detect_dead_peer(sock)
            connection = Connection(Session(self.state, sock), self._tls, self._tls_required)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            with self._lock:
                self._connections[id(connection)] = (connection, thread)
            thread.start()

    def _serve(self, connection: Connection) -> None:
        try:
            connection.run()
        finally:
            with self._lock:
                self._connections.pop(id(connection), None)


def _detect_dead_peer(sock: socket.socket) -> None:
    """Have a peer that vanished without closing the connection noticed within two minutes."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 6}
    for name, value in options.items():
        if hasattr(socket, name):  # not on every system
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
