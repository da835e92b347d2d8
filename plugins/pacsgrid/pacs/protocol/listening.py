"""Taking connections, each in a thread of its own, for as long as a context lasts."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from pacsgrid.pacs.protocol.places import Limits, Places

log = logging.getLogger(__name__)

_PAUSE_SECONDS = 0.2
_TICK = 0.5
_END_SECONDS = 5.0

Take = Callable[[], bool]


class Listener:
    """Listens in the background from the context's start to its end.

    Parameters
    ----------
    bind, port
        Address of the interface, "" for all, and port, 0 for any that is free.
    serve
        Serves one connection; gets it, the peer's address, and what it must call before it
        associates: False means that there is no room. What it raises is logged by its kind
        alone: a text may quote what a peer sent.
    limits
        How many there may be; a connection that is not associated in time is closed.
    allowed
        Whether a connection from an address is taken at all.

    Raises
    ------
    OSError
        The address cannot be listened on.
    """

    def __init__(
        self,
        bind: str,
        port: int,
        serve: Callable[[socket.socket, str, Take], None],
        limits: Limits,
        allowed: Callable[[str], bool] = lambda address: True,
    ) -> None:
        self._work = serve
        self._allowed = allowed
        self._lock = threading.Lock()
        self._places = Places(limits)
        self._open: dict[int, socket.socket] = {}
        self._number = 0
        self._threads: set[threading.Thread] = set()
        self._ending = False
        self._listener = socket.create_server((bind, port), backlog=128)
        self._listener.settimeout(_TICK)
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
        """End every connection."""
        self._ending = True
        for one in (self._listener, *self._now()):
            _shut(one)
        self._accepting.join(_END_SECONDS)
        self._listener.close()
        for thread in list(self._threads):
            thread.join(_END_SECONDS)

    def _now(self) -> list[socket.socket]:
        with self._lock:
            return list(self._open.values())

    def _accept(self) -> None:
        while not self._ending:
            try:
                connection, (address, *_) = self._listener.accept()
            except TimeoutError:
                self._close_overdue()
                continue
            except OSError as error:
                if self._ending:
                    return
                log.error("no connection can be taken: errno %s", error.errno)
                time.sleep(_PAUSE_SECONDS)  # too many open files, say
                continue
            self._close_overdue()
            if self._allowed(address):
                self._begin(connection, address)
            else:
                connection.close()

    def _close_overdue(self) -> None:
        with self._lock:
            late = self._places.overdue(time.monotonic())
            for key in late:
                _shut(self._open[key])
        if late:
            log.warning("%d connections closed that were not associated in time", len(late))

    def _begin(self, connection: socket.socket, address: str) -> None:
        with self._lock:
            self._number += 1
            key = self._number
            gone = self._places.enter(key, address, time.monotonic())
            if gone is None:
                connection.close()
                return
            for one in gone:
                _shut(self._open[one])
            self._open[key] = connection
            thread = threading.Thread(target=self._serve, args=(key, address), daemon=True)
            self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError:
            log.error("no thread for a connection")
            self._forget(key, thread)

    def _serve(self, key: int, address: str) -> None:
        connection = self._open[key]
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._work(connection, address, lambda: self._take(key))
        except OSError as error:
            log.warning("no association with %s: %s", address, type(error).__name__)
        except Exception as error:
            log.error("an association ended by %s", type(error).__name__)
        finally:
            self._forget(key, threading.current_thread())

    def _take(self, key: int) -> bool:
        with self._lock:
            return self._places.take(key)

    def _forget(self, key: int, thread: threading.Thread) -> None:
        with self._lock:
            connection = self._open.pop(key)
            self._places.leave(key)
            self._threads.discard(thread)
        _shut(connection)
        connection.close()


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
