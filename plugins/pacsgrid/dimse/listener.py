"""A TCP listener that serves each connection in a thread of its own."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from pacsgrid.dimse.connection_limits import ConnectionAdmission, ConnectionLimits

log = logging.getLogger(__name__)

_RETRY_SECONDS = 0.2
_TICK_SECONDS = 0.5
_STOP_SECONDS = 5.0

Associate = Callable[[], bool]


class Listener:
    """Listen in the background for as long as the context lasts.

    Parameters
    ----------
    bind, port
        Address of the interface, "" for all, and port, 0 for any that is free.
    serve
        Serves one connection. Its arguments are the socket, the peer's address, and a function
        that it must call before it accepts an association: False means that the limits do not
        allow it. Of an exception only the type is logged: its text may quote what a peer sent.
    limits
        How many connections there may be; one that is not associated in time is closed.
    allowed
        Whether to accept a connection from an address at all.

    Raises
    ------
    OSError
        The address cannot be listened on.
    """

    def __init__(
        self,
        bind: str,
        port: int,
        serve: Callable[[socket.socket, str, Associate], None],
        limits: ConnectionLimits,
        allowed: Callable[[str], bool] = lambda address: True,
    ) -> None:
        self._serve_connection = serve
        self._allowed = allowed
        self._lock = threading.Lock()
        self._admission = ConnectionAdmission(limits)
        self._open: dict[int, socket.socket] = {}
        self._last_key = 0
        self._threads: set[threading.Thread] = set()
        self._stopping = False
        self._listener = socket.create_server((bind, port), backlog=128)
        self._listener.settimeout(_TICK_SECONDS)
        self.port: int = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, name="dicom", daemon=True)

    def __enter__(self) -> Self:
        """Start to listen."""
        self._accepting.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close every connection."""
        self._stopping = True
        with self._lock:
            connections = list(self._open.values())
        for one in (self._listener, *connections):
            _shut_down(one)
        self._accepting.join(_STOP_SECONDS)
        self._listener.close()
        for thread in list(self._threads):
            thread.join(_STOP_SECONDS)

    def _accept(self) -> None:
        while not self._stopping:
            try:
                connection, (address, *_) = self._listener.accept()
            except TimeoutError:
                self._close_overdue()
                continue
            except OSError as error:
                if self._stopping:
                    return
                log.error("cannot accept a connection: errno %s", error.errno)
                time.sleep(_RETRY_SECONDS)  # there may be too many open files
                continue
            self._close_overdue()
            if self._allowed(address):
                self._start(connection, address)
            else:
                connection.close()

    def _close_overdue(self) -> None:
        with self._lock:
            late = self._admission.remove_overdue(time.monotonic())
            for key in late:
                _shut_down(self._open[key])
        if late:
            log.warning("%d connections closed: not associated in time", len(late))

    def _start(self, connection: socket.socket, address: str) -> None:
        with self._lock:
            self._last_key += 1
            key = self._last_key
            evicted = self._admission.admit(key, address, time.monotonic())
            if evicted is None:
                connection.close()
                return
            for one in evicted:
                _shut_down(self._open[one])
            self._open[key] = connection
            thread = threading.Thread(target=self._serve, args=(key, address), daemon=True)
            self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError:
            log.error("cannot start a thread for a connection")
            self._remove(key, thread)

    def _serve(self, key: int, address: str) -> None:
        connection = self._open[key]
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._serve_connection(connection, address, lambda: self._associate(key))
        except OSError as error:
            log.warning("no association with %s: %s", address, type(error).__name__)
        except Exception as error:
            log.error("an association ended by %s", type(error).__name__)
        finally:
            self._remove(key, threading.current_thread())

    def _associate(self, key: int) -> bool:
        with self._lock:
            return self._admission.associate(key)

    def _remove(self, key: int, thread: threading.Thread) -> None:
        with self._lock:
            connection = self._open.pop(key)
            self._admission.remove(key)
            self._threads.discard(thread)
        _shut_down(connection)
        connection.close()


def _shut_down(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
