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
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass

from pacsgrid.config import ReceiverSettings
from pacsgrid.errors import ConfigError
from pacsgrid.pacs.protocol.places import Limits, Places
from pacsgrid.pacs.protocol.wire import BUSY, Request, Stream
from pacsgrid.pacs.receiver.association import Association
from pacsgrid.pacs.receiver.incoming import Incoming, recover
from pacsgrid.pacs.tls import server_context

log = logging.getLogger(__name__)

STOP_SECONDS = 20.0
_TICK = 0.5
_ASK, _YES, _NO = b"?", b"y", b"n"


@dataclass(frozen=True)
class _Child:
    """A process that serves a connection: its place, and the channel on which it asks for it."""

    place: int
    channel: socket.socket


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
        self._children: dict[int, _Child] = {}
        self._places = Places(
            Limits(settings.max_associations, settings.max_per_peer, settings.associate_seconds)
        )
        self._number = self._strangers = 0
        self._selector = selectors.DefaultSelector()
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
        self._selector.register(self._listener, selectors.EVENT_READ)
        while not self._stopping:
            self._reap()
            if not self._watcher:
                self._watcher = self._fork(self._watch)
            for key, _ in self._selector.select(_TICK):
                if key.fileobj is self._listener:
                    self._take()
                else:
                    self._answer(key.data)
            self._close_overdue()
        self._selector.close()
        self._listener.close()
        self._end()

    def _stop(self, number: int, frame: object) -> None:
        self._stopping = True

    def _take(self) -> None:
        """Take a connection into a process of its own, whose TLS and request harm no other."""
        try:
            connection, (address, *_) = self._listener.accept()
        except OSError:
            return
        with connection:
            if not any(peer.fits_address(address) for peer in self._settings.allow):
                self._strangers += 1
                return
            self._number += 1
            gone = self._places.enter(self._number, address, time.monotonic())
            if gone is None:
                return
            self._close(gone)
            ours, theirs = socket.socketpair()
            with theirs:
                pid = self._fork(lambda: self._serve(connection, address, theirs))
            if not pid:
                ours.close()
                self._places.leave(self._number)
                return
        self._children[pid] = _Child(self._number, ours)
        self._selector.register(ours, selectors.EVENT_READ, pid)

    def _answer(self, pid: int) -> None:
        """Tell a process whether the association that it was asked for has a place."""
        self._reap()  # one that has just ended must not count
        child = self._children.get(pid)
        if child is None:
            return
        with suppress(OSError):
            if child.channel.recv(1) == _ASK:
                child.channel.sendall(_YES if self._places.take(child.place) else _NO)
                return
        self._selector.unregister(child.channel)  # it was told, and has closed its end

    def _close_overdue(self) -> None:
        if late := self._places.overdue(time.monotonic()):
            log.warning("%d connections closed that were not associated in time", len(late))
            self._close(late)
        if self._strangers:
            log.warning("%d connections closed: their addresses are not allowed", self._strangers)
            self._number = self._strangers = 0

    def _close(self, places: Collection[int]) -> None:
        """End processes whose connections were not associated: they have nothing under way."""
        for pid in [pid for pid, child in self._children.items() if child.place in places]:
            os.kill(pid, signal.SIGKILL)
            self._forget(pid)

    def _forget(self, pid: int) -> _Child | None:
        child = self._children.pop(pid, None)
        if child:
            self._places.leave(child.place)
            with suppress(KeyError, ValueError):
                self._selector.unregister(child.channel)
            child.channel.close()
        return child

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
            for child in self._children.values():
                child.channel.close()
            work()
            code = 0
        except BaseException as error:
            # The text may quote what the peer sent.
            log.error("a process ended by %s", type(error).__name__)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _serve(self, connection: socket.socket, address: str, channel: socket.socket) -> None:
        """In a process of its own: serve one peer."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(self._settings.associate_seconds)
        if self._tls:
            try:
                connection = self._tls.wrap_socket(connection, server_side=True)
            except OSError as error:
                log.warning("no TLS with %s: %s", address, type(error).__name__)
                return
        incoming = Incoming(self._settings.folder, self._settings.reserve_mb << 20)

        def admit(request: Request) -> tuple[int, int, int] | None:
            if refused := self._refusal(request, address, incoming):
                return refused
            channel.sendall(_ASK)
            return None if channel.recv(1) == _YES else BUSY

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
            elif self._forget(pid):
                died = died or status != 0
        if died:
            filed = recover(self._settings.folder)
            log.error("a process of an association died; %d of its instances were filed", filed)

    def _end(self) -> None:
        if self._watcher:
            os.kill(self._watcher, signal.SIGTERM)
        self._close(self._places.waiting())
        deadline = time.monotonic() + STOP_SECONDS
        while self._children and time.monotonic() < deadline:
            self._reap()
            time.sleep(0.05)
        for pid in list(self._children):
            os.kill(pid, signal.SIGKILL)
        while self._children or self._watcher:
            try:
                pid, _ = os.wait()
            except ChildProcessError:
                break
            self._forget(pid)
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
