"""The zone server: listens, and gives every connection a thread."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
import ssl
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from .catalog import Catalog
from .negotiation import server_context
from .session import Session
from .setup import populate


class ZoneServer:
    """A zone: catalog, vault and listener. Use it as a context manager."""

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
    ) -> None:
        if not re.fullmatch(r"[\w.-]+", zone):
            raise ValueError(f"bad zone name {zone!r}")
        self.zone = zone
        self.directory = Path(directory)
        self.host = host
        self.port = port
        self.admin = admin
        self.password = password
        self.federate = dict(federate or {})
        self.tls: ssl.SSLContext | None = server_context(*tls) if tls else None
        self.tls_required = tls_required and tls is not None
        self.catalog: Catalog
        self.locks: dict[int, Any] = {}
        self.default_resource = "demoResc"
        self.lock = threading.RLock()
        self._listener: socket.socket | None = None
        self._sessions: dict[int, tuple[Session, threading.Thread]] = {}
        self._thread: threading.Thread | None = None
        self._stopping = False

    def start(self) -> None:
        """Open the catalog and accept connections."""
        from . import apis

        apis.load()
        self.directory.mkdir(parents=True, exist_ok=True)
        os.chmod(self.directory, 0o700)
        self.catalog = Catalog(self.directory / "catalog.sqlite")
        populate(
            self.catalog, self.zone, self.directory / "vault" / "demoResc", self.host,
            self.admin, self.password, list(self.federate),
        )  # fmt: skip
        self._listener = socket.create_server((self.host, self.port), backlog=512)
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name=f"{self.zone}-accept")
        self._thread.daemon = True
        self._thread.start()

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
            # A machine that vanished without a word is noticed within two minutes.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 6)
            session = Session(self, sock)
            thread = threading.Thread(target=self._serve, args=(session,), daemon=True)
            with self.lock:
                self._sessions[id(session)] = (session, thread)
            thread.start()

    def _serve(self, session: Session) -> None:
        try:
            session.run()
        finally:
            with self.lock:
                self._sessions.pop(id(session), None)

    def stop(self) -> None:
        """Stop accepting, end the connections, close the catalog."""
        self._stopping = True
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        with self.lock:
            running = list(self._sessions.values())
        for session, _ in running:
            with contextlib.suppress(OSError):
                session.sock.shutdown(socket.SHUT_RDWR)
        for _, thread in running:
            thread.join(5)
        if self._thread is not None:
            self._thread.join(5)
        self.catalog.close()

    def __enter__(self) -> ZoneServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def new_challenge(self) -> bytes:
        """A fresh challenge: 64 characters of hex."""
        return secrets.token_hex(32).encode()
