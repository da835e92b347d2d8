"""The DICOM node of the gateway: who may connect, and a thread for each association."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
from collections import Counter
from types import TracebackType
from typing import Self

from pacsgrid.errors import ConfigError
from pacsgrid.gateway.core import Gateway
from pacsgrid.gateway.dimse.association import Association
from pacsgrid.gateway.dimse.contexts import Kinds
from pacsgrid.gateway_settings import GatewaySettings
from pacsgrid.pacs.protocol.wire import BUSY, Request, Stream
from pacsgrid.pacs.quiet import hush
from pacsgrid.pacs.tls import server_context

hush()
log = logging.getLogger(__name__)

_PAUSE_SECONDS = 0.2


class Node:
    """Listens in the background from the context's start to its end.

    Parameters
    ----------
    gateway
        What is served, by its settings.

    Raises
    ------
    ConfigError
        The address or the certificate cannot be used.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._settings = gateway.settings
        self._tls = _tls_context(self._settings)
        self._kinds = Kinds(gateway.index)
        self._lock = threading.Lock()
        self._open: dict[socket.socket, str] = {}
        self._threads: set[threading.Thread] = set()
        self._ending = False
        try:
            self._listener = socket.create_server(
                (self._settings.bind, self._settings.dicom_port), backlog=128
            )
        except OSError as error:
            raise ConfigError(
                f"gateway: bind and dicom_port cannot be used: {error.strerror}"
            ) from None
        self.port: int = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, name="dicom", daemon=True)

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End every association."""
        self._ending = True
        for one in (self._listener, *self._now()):
            _shut(one)
        self._accepting.join(5)
        self._listener.close()
        for thread in list(self._threads):
            thread.join(5)

    def _now(self) -> list[socket.socket]:
        with self._lock:
            return list(self._open)

    def _accept(self) -> None:
        while True:
            try:
                connection, (address, *_) = self._listener.accept()
            except OSError as error:
                if self._ending:
                    return
                log.error("no connection can be taken: errno %s", error.errno)
                time.sleep(_PAUSE_SECONDS)  # too many open files, say
                continue
            with self._lock:
                peers = Counter(self._open.values())
                total = len(self._open)
                busy = (
                    total >= self._settings.max_associations
                    or peers[address] >= self._settings.max_per_peer
                )
                if busy and total >= 2 * self._settings.max_associations:
                    connection.close()  # not even a thread to say so
                    continue
                self._open[connection] = address
                thread = threading.Thread(
                    target=self._serve, args=(connection, address, busy), daemon=True
                )
                self._threads.add(thread)
            try:
                thread.start()
            except RuntimeError:
                log.error("no thread for an association")
                self._forget(connection, thread)

    def _serve(self, connection: socket.socket, address: str, busy: bool) -> None:
        secure: socket.socket | None = None
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(self._settings.idle_seconds)
            if self._tls:
                secure = self._tls.wrap_socket(connection.dup(), server_side=True)

            def admit(request: Request) -> str | tuple[int, int, int]:
                return BUSY if busy else self._admitted(request, address)

            stream = Stream(secure or connection, self._settings.idle_seconds)
            Association(self._gateway, stream, self._kinds, admit).serve()
        except OSError as error:
            log.warning("no association with %s: %s", address, type(error).__name__)
        except Exception as error:
            # The text may quote what the peer sent.
            log.error("an association ended by %s", type(error).__name__)
        finally:
            if secure:
                secure.close()
            self._forget(connection, threading.current_thread())

    def _forget(self, connection: socket.socket, thread: threading.Thread) -> None:
        with self._lock:
            self._open.pop(connection, None)
            self._threads.discard(thread)
        _shut(connection)
        connection.close()

    def _admitted(self, request: Request, address: str) -> str | tuple[int, int, int]:
        """Give the user, or why a peer is rejected: result, source, reason (PS3.8 9.3.4)."""
        if refused := request.refusal(self._settings.ae_title):
            return refused
        peer = self._settings.peer(request.calling, address)
        return peer.user if peer else (1, 1, 3)


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


def _tls_context(settings: GatewaySettings) -> ssl.SSLContext | None:
    """Give the TLS context; None where no certificate is given."""
    if not settings.cert_file:
        return None
    try:
        return server_context(settings.cert_file, settings.key_file, settings.ca_file)
    except OSError as error:
        raise ConfigError(
            f"gateway: cert_file, key_file or ca_file cannot be used: {error}"
        ) from None
