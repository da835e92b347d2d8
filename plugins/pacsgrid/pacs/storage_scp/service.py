"""The storage SCP's listener: admission, one process per association, recovery of dead ones."""

from __future__ import annotations

import gc
import logging
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass

from pacsgrid.config import ReceiverSettings
from pacsgrid.dimse.connection_limits import ConnectionAdmission, ConnectionLimits
from pacsgrid.dimse.pdu import (
    CALLING_TITLE_UNKNOWN,
    LOCAL_LIMIT_EXCEEDED,
    TEMPORARY_CONGESTION,
    AssociateRequest,
)
from pacsgrid.dimse.stream import Stream
from pacsgrid.dimse.tls import server_tls
from pacsgrid.errors import ConfigError
from pacsgrid.pacs.storage_scp.association import StorageAssociation
from pacsgrid.pacs.storage_scp.commitment_requests import CommitmentRequests
from pacsgrid.pacs.storage_scp.incoming import Incoming, recover

log = logging.getLogger(__name__)

STOP_SECONDS = 20.0
_TICK_SECONDS = 0.5
_ASK, _YES, _NO = b"?", b"y", b"n"


@dataclass(frozen=True)
class _Child:
    """A process that serves a connection.

    Attributes
    ----------
    key
        The connection's key, see `ConnectionAdmission`.
    channel
        Where it asks whether it may associate.
    """

    key: int
    channel: socket.socket


class StorageService:
    """Listens until SIGTERM or SIGINT.

    There is a process per association: a peer that crashes one harms no other, memory is freed
    when it ends, and several associations use several processor cores.

    Parameters
    ----------
    settings
        The receiver's settings.
    watch
        Runs in a process of its own beside the listener, and is started again when it ends.
    commit
        The same, where storage commitment is answered.

    Raises
    ------
    ConfigError
        The address, the certificate or the folder cannot be used.
    """

    def __init__(
        self,
        settings: ReceiverSettings,
        watch: Callable[[], None],
        commit: Callable[[], None] | None = None,
    ) -> None:
        self._settings = settings
        # What runs beside the listener, each with the process that it runs in.
        self._helpers = {watch: 0} if commit is None else {watch: 0, commit: 0}
        self._commitments = (
            CommitmentRequests(settings.folder, {one.ae_title for one in settings.commitment})
            if commit is not None
            else None
        )
        files = (settings.cert_file, settings.key_file, settings.ca_file)
        self._tls = server_tls("receiver", *files)
        self._children: dict[int, _Child] = {}
        limits = ConnectionLimits(
            settings.max_associations, settings.max_per_peer, settings.associate_seconds
        )
        self._admission = ConnectionAdmission(limits)
        self._last_key = self._not_allowed = 0
        self._selector = selectors.DefaultSelector()
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
        """Serve until SIGTERM or SIGINT; open associations have STOP_SECONDS to end."""
        if filed := recover(self._settings.folder):
            log.warning("filed %d instances of an interrupted run", filed)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        gc.freeze()
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        while not self._stopping:
            self._reap()
            for work, pid in self._helpers.items():
                if not pid:
                    self._helpers[work] = self._fork(work)
            for key, _ in self._selector.select(_TICK_SECONDS):
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    self._answer_child(key.data)
            self._close_overdue()
        self._selector.close()
        self._listener.close()
        self._end()

    def _stop(self, number: int, frame: object) -> None:
        self._stopping = True

    def _accept(self) -> None:
        """Accept a connection in a process of its own, so its TLS and request block no other."""
        try:
            connection, (address, *_) = self._listener.accept()
        except OSError:
            return
        with connection:
            if not any(peer.fits_address(address) for peer in self._settings.allow):
                self._not_allowed += 1
                return
            self._last_key += 1
            evicted = self._admission.admit(self._last_key, address, time.monotonic())
            if evicted is None:
                return
            self._kill(evicted)
            ours, theirs = socket.socketpair()
            with theirs:
                pid = self._fork(lambda: self._serve(connection, address, theirs))
            if not pid:
                ours.close()
                self._admission.remove(self._last_key)
                return
        self._children[pid] = _Child(self._last_key, ours)
        self._selector.register(ours, selectors.EVENT_READ, pid)

    def _answer_child(self, pid: int) -> None:
        """Tell a process whether the limits allow its association."""
        self._reap()  # do not count a process that has just ended
        child = self._children.get(pid)
        if child is None:
            return
        with suppress(OSError):
            if child.channel.recv(1) == _ASK:
                child.channel.sendall(_YES if self._admission.associate(child.key) else _NO)
                return
        self._selector.unregister(child.channel)  # it has its answer, and closed its end

    def _close_overdue(self) -> None:
        if late := self._admission.remove_overdue(time.monotonic()):
            log.warning("%d connections closed: not associated in time", len(late))
            self._kill(late)
        if self._not_allowed:
            count, self._not_allowed = self._not_allowed, 0
            log.warning("%d connections closed: their addresses are not allowed", count)

    def _kill(self, keys: Collection[int]) -> None:
        """Kill the processes of connections that were not associated: they receive nothing."""
        for pid in [pid for pid, child in self._children.items() if child.key in keys]:
            os.kill(pid, signal.SIGKILL)
            self._forget(pid)

    def _forget(self, pid: int) -> _Child | None:
        child = self._children.pop(pid, None)
        if child:
            self._admission.remove(child.key)
            with suppress(KeyError, ValueError):
                self._selector.unregister(child.channel)
            child.channel.close()
        return child

    def _fork(self, work: Callable[[], None]) -> int:
        try:
            pid = os.fork()
        except OSError as error:
            log.error("cannot start a process for an association: errno %s", error.errno)
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
            # Its text may quote what the peer sent.
            log.error("a process ended by %s", type(error).__name__)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _serve(self, connection: socket.socket, address: str, channel: socket.socket) -> None:
        """Serve one peer, in a process of its own."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(self._settings.associate_seconds)
        if self._tls:
            try:
                connection = self._tls.wrap_socket(connection, server_side=True)
            except OSError as error:
                log.warning("no TLS with %s: %s", address, type(error).__name__)
                return
        incoming = Incoming(self._settings.folder, self._settings.reserve_mb << 20)

        def admit(request: AssociateRequest) -> tuple[int, int, int] | None:
            if reason := self._reason_to_reject(request, address, incoming):
                return reason
            channel.sendall(_ASK)
            return None if channel.recv(1) == _YES else LOCAL_LIMIT_EXCEEDED

        stream = Stream(connection, self._settings.idle_seconds)
        started = time.monotonic()
        association = StorageAssociation(
            stream, incoming, admit, self._settings.max_pdu, self._commitments
        )
        association.serve()
        incoming.close()
        took = time.monotonic() - started
        log.info("%s: %d instances in %.1f s", address, association.stored, took)

    def _reason_to_reject(
        self, request: AssociateRequest, address: str, incoming: Incoming
    ) -> tuple[int, int, int] | None:
        """Return result, source and reason of a rejection (PS3.8 9.3.4), None to accept."""
        if reason := request.reason_to_reject(self._settings.ae_title):
            return reason
        if not any(peer.fits(request.calling, address) for peer in self._settings.allow):
            return CALLING_TITLE_UNKNOWN
        if not incoming.has_room():
            log.error("less disk space is free than reserve_mb; peers are told to retry later")
            return TEMPORARY_CONGESTION
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
            if pid in self._helpers.values():
                self._helper_ended(pid)
            elif self._forget(pid):
                died = died or status != 0
        if died:
            filed = recover(self._settings.folder)
            log.error("the process of an association died; filed %d of its instances", filed)

    def _helper_ended(self, pid: int) -> None:
        for work, its in self._helpers.items():
            if its == pid:
                self._helpers[work] = 0

    def _end(self) -> None:
        for pid in filter(None, self._helpers.values()):
            os.kill(pid, signal.SIGTERM)
        self._kill(self._admission.pending())
        deadline = time.monotonic() + STOP_SECONDS
        while self._children and time.monotonic() < deadline:
            self._reap()
            time.sleep(0.05)
        for pid in list(self._children):
            os.kill(pid, signal.SIGKILL)
        while self._children or any(self._helpers.values()):
            try:
                pid, _ = os.wait()
            except ChildProcessError:
                break
            if pid in self._helpers.values():
                self._helper_ended(pid)
            else:
                self._forget(pid)
        recover(self._settings.folder)
