"""The listener: who may connect, one process per association, what happens when one dies."""

from __future__ import annotations

import gc
import logging
import os
import selectors
import signal
import socket
import ssl
import sys
import time
from collections import Counter
from collections.abc import Callable

from pacsgrid.errors import ConfigError
from pacsgrid.pacs.protocol.wire import BUSY, Request, Stream
from pacsgrid.pacs.receiver.association import Association
from pacsgrid.pacs.receiver.incoming import Incoming, recover
from pacsgrid.pacs.tls import server_context
from pacsgrid.receiver_settings import ReceiverSettings

log = logging.getLogger(__name__)

STOP_SECONDS = 20.0
_TICK = 1.0


class Service:
    """Listens until it is told to stop by SIGTERM or SIGINT.

    A process per association: a peer that brings one down harms no other, memory goes back
    when it ends, and several associations use several processor cores.

    Parameters
    ----------
    settings
        The receiver's settings.
    watch
        Runs in a process of its own beside the listener, and again when it ended.

    Raises
    ------
    ConfigError
        The address, the certificate or the folder cannot be used.
    """

    def __init__(self, settings: ReceiverSettings, watch: Callable[[], None]) -> None:
        self._settings = settings
        self._watch = watch
        self._tls = _tls_context(settings)
        self._children: dict[int, str] = {}
        self._watcher = 0
        self._stopping = False
        try:
            Incoming(settings.folder, 0)
            self._listener = socket.create_server(
                (settings.bind, settings.port), backlog=128, reuse_port=False
            )
        except OSError as error:
            raise ConfigError(
                f"receiver: folder, or bind and port, cannot be used: {error.strerror}"
            ) from None
        self.port: int = self._listener.getsockname()[1]

    def run(self) -> None:
        """Serve until told to stop; associations under way may end within STOP_SECONDS."""
        if filed := recover(self._settings.folder):
            log.warning("%d instances of an interrupted run were filed", filed)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        gc.freeze()
        self._listener.setblocking(False)
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            while not self._stopping:
                self._reap()
                if not self._watcher:
                    self._watcher = self._fork(self._watch)
                if selector.select(_TICK):
                    self._take()
        self._listener.close()
        self._end()

    def _stop(self, number: int, frame: object) -> None:
        self._stopping = True

    def _take(self) -> None:
        try:
            connection, (address, *_) = self._listener.accept()
        except OSError:
            return
        self._reap()  # one that has just ended must not count
        with connection:
            busy = self._is_full(address)
            if busy and len(self._children) >= 2 * self._settings.max_associations:
                return  # not even a process to say so
            pid = self._fork(lambda: self._serve(connection, address, busy))
            if pid:
                self._children[pid] = address

    def _is_full(self, address: str) -> bool:
        peers = Counter(self._children.values())
        return (
            len(self._children) >= self._settings.max_associations
            or peers[address] >= self._settings.max_per_peer
        )

    def _fork(self, work: Callable[[], None]) -> int:
        try:
            pid = os.fork()
        except OSError as error:
            log.error("no process for an association: errno %s", error.errno)
            return 0
        if pid:
            return pid
        code = 1
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            self._listener.close()
            work()
            code = 0
        except BaseException as error:
            # The text may quote what the peer sent.
            log.error("a process ended by %s", type(error).__name__)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _serve(self, connection: socket.socket, address: str, busy: bool) -> None:
        """In a process of its own: serve one peer."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(self._settings.idle_seconds)
        if not any(peer.fits_address(address) for peer in self._settings.allow):
            log.warning("a connection from %s closed: the address is not allowed", address)
            return
        if self._tls:
            try:
                connection = self._tls.wrap_socket(connection, server_side=True)
            except OSError as error:
                log.warning("no TLS with %s: %s", address, type(error).__name__)
                return
        incoming = Incoming(self._settings.folder, self._settings.reserve_mb << 20)

        def admit(request: Request) -> tuple[int, int, int] | None:
            if busy:
                return BUSY
            return self._refusal(request, address, incoming)

        stream = Stream(connection, self._settings.idle_seconds)
        started = time.monotonic()
        association = Association(stream, incoming, admit, self._settings.max_pdu)
        association.serve()
        incoming.close()
        took = time.monotonic() - started
        log.info("%s: %d instances in %.1f s", address, association.stored, took)

    def _refusal(
        self, request: Request, address: str, incoming: Incoming
    ) -> tuple[int, int, int] | None:
        """Say why a peer is rejected: result, source, reason (PS3.8 9.3.4)."""
        if refused := request.refusal(self._settings.ae_title):
            return refused
        if not any(peer.fits(request.calling, address) for peer in self._settings.allow):
            return 1, 1, 3
        if not incoming.has_room():
            log.error("the disk has less than the reserve free; peers are asked to come later")
            return 2, 3, 1
        return None

    def _reap(self) -> None:
        died = False
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if not pid:
                break
            if pid == self._watcher:
                self._watcher = 0
            elif self._children.pop(pid, None) is not None:
                died = died or status != 0
        if died:
            filed = recover(self._settings.folder)
            log.error("a process of an association died; %d of its instances were filed", filed)

    def _end(self) -> None:
        if self._watcher:
            os.kill(self._watcher, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while self._children and time.monotonic() < deadline:
            self._reap()
            time.sleep(0.05)
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)
        while self._children or self._watcher:
            try:
                pid, _ = os.wait()
            except ChildProcessError:
                break
            self._children.pop(pid, None)
        recover(self._settings.folder)


def _tls_context(settings: ReceiverSettings) -> ssl.SSLContext | None:
    """Give the TLS context; None where no certificate is given."""
    if not settings.cert_file:
        return None
    try:
        return server_context(settings.cert_file, settings.key_file, settings.ca_file)
    except OSError as error:
        raise ConfigError(
            f"receiver: cert_file, key_file or ca_file cannot be used: {error}"
        ) from None
