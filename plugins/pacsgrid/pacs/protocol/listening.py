"""Taking connections, each in a thread of its own, for as long as a context lasts."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

log = logging.getLogger(__name__)

_PAUSE_SECONDS = 0.2
_END_SECONDS = 5.0


class Listener:
    """Listens in the background from the context's start to its end.

    Parameters
    ----------
    bind, port
        Address of the interface, "" for all, and port, 0 for any that is free.
    serve
        Serves one connection; gets it, the peer's address, and how many others are open by
        address. What it raises is logged by its kind alone: a text may quote what a peer sent.
    most
        Connections at once; more are closed without a word.

    Raises
    ------
    OSError
        The address cannot be listened on.
    """

    def __init__(
        self,
        bind: str,
        port: int,
        serve: Callable[[socket.socket, str, Counter[str]], None],
        most: int,
    ) -> None:
        self._work = serve
        self._most = most
        self._lock = threading.Lock()
        self._open: dict[socket.socket, str] = {}
        self._threads: set[threading.Thread] = set()
        self._ending = False
        self._listener = socket.create_server((bind, port), backlog=128)
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
                others = Counter(self._open.values())
                if others.total() >= self._most:
                    connection.close()
                    continue
                self._open[connection] = address
                thread = threading.Thread(
                    target=self._serve, args=(connection, address, others), daemon=True
                )
                self._threads.add(thread)
            try:
                thread.start()
            except RuntimeError:
                log.error("no thread for a connection")
                self._forget(connection, thread)

    def _serve(self, connection: socket.socket, address: str, others: Counter[str]) -> None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._work(connection, address, others)
        except OSError as error:
            log.warning("no association with %s: %s", address, type(error).__name__)
        except Exception as error:
            log.error("an association ended by %s", type(error).__name__)
        finally:
            self._forget(connection, threading.current_thread())

    def _forget(self, connection: socket.socket, thread: threading.Thread) -> None:
        with self._lock:
            self._open.pop(connection, None)
            self._threads.discard(thread)
        _shut(connection)
        connection.close()


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
