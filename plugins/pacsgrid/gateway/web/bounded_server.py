"""The gateway's HTTP server: bounds of what strangers may make it hold.

uvicorn waits for a request's header as long as the client likes, and keeps any number of
connections. Here a header has a size and a deadline, a client that reads nothing is cut off, and
where connections run out the oldest that asks for nothing makes room for the new one: TLS
handshakes, unfinished headers and idle connections count as such.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import weakref
from collections import Counter
from dataclasses import dataclass
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

log = logging.getLogger(__name__)

_BACKLOG = 128
Peer = tuple[str, int]


@dataclass(frozen=True)
class ServerLimits:
    """What a server takes.

    Attributes
    ----------
    header_bytes
        Size of a request line with its header fields, and of a chunk's or trailer's lines.
    header_seconds
        How long a client may take for them, from the connection or the first byte on.
    stalled_seconds
        How long a client may read nothing of an answer.
    connections, per_address
        Connections at once, in all and from one address.
    """

    header_bytes: int = 64 << 10
    header_seconds: float = 20.0
    stalled_seconds: float = 60.0
    connections: int = 512
    per_address: int = 128


class ConnectionTable:
    """The open connections of a server, those first that asked for nothing the longest."""

    def __init__(self, limits: ServerLimits) -> None:
        self._limits = limits
        self._open: dict[Peer, socket.socket] = {}
        self._waiting: dict[Peer, None] = {}
        self._of_address: Counter[str] = Counter()

    def admit(self, connection: TrackedSocket, peer: Peer) -> bool:
        """Take a connection, in another one's place if need be; False if there is no room."""
        full = self._of_address[peer[0]] >= self._limits.per_address
        if full or len(self._open) >= self._limits.connections:
            # Strangers of one address make no room at the cost of others.
            places = (one for one in self._waiting if one[0] == peer[0] or not full)
            oldest = next(places, None)
            if oldest is None:
                return False
            self._forget(oldest)
        self._open[peer] = connection
        self._of_address[peer[0]] += 1
        self._waiting[peer] = None
        connection.on_close = weakref.finalize(connection, self.gone, peer, id(connection))
        return True

    def _forget(self, peer: Peer) -> None:
        # Its transport sees the end and closes it.
        with contextlib.suppress(OSError):
            self._open[peer].shutdown(socket.SHUT_RDWR)
        self._remove(peer)

    def asks(self, peer: Peer) -> None:
        """Note that a connection has a request under way; it stays until that is answered."""
        self._waiting.pop(peer, None)

    def waits(self, peer: Peer) -> None:
        """Note that a connection has none."""
        if peer in self._open:
            self._waiting.setdefault(peer)

    def gone(self, peer: Peer, identity: int) -> None:
        """Note that a connection is closed."""
        # Its address may be in use again.
        if peer in self._open and id(self._open[peer]) == identity:
            self._remove(peer)

    def _remove(self, peer: Peer) -> None:
        del self._open[peer]
        self._waiting.pop(peer, None)
        self._of_address[peer[0]] -= 1
        if not self._of_address[peer[0]]:
            del self._of_address[peer[0]]


class TrackedSocket(socket.socket):
    """A connection that tells when it is closed."""

    on_close: weakref.finalize[Any, TrackedSocket] | None = None

    def close(self) -> None:
        super().close()
        if self.on_close:
            self.on_close()


class LimitedListener(socket.socket):
    """A listening socket that takes as many connections as there may be.

    They are counted before TLS: a handshake that is never finished is a connection too.
    """

    connections: ConnectionTable

    def accept(self) -> tuple[socket.socket, Any]:
        """Return the next connection that is taken; raises as `socket.accept`."""
        while True:
            plain, address = super().accept()
            connection = TrackedSocket(plain.family, plain.type, plain.proto, plain.detach())
            # Left to itself, a small answer waits for the acknowledgement of its header.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.connections.admit(connection, address[:2]):
                return connection, address
            connection.close()


def bounded_protocol(limits: ServerLimits, connections: ConnectionTable) -> type[H11Protocol]:
    """Return uvicorn's protocol with deadlines.

    h11 alone keeps to a size of headers; uvicorn's setting for it means nothing to httptools.
    """

    class Bounded(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None
        _stalled: asyncio.TimerHandle | None = None
        _peer: Peer = ("", 0)

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._peer = transport.get_extra_info("peername")[:2]
            self._expect()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            for timer in (self._deadline, self._stalled):
                if timer:
                    timer.cancel()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._look()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._look()

        def _look(self) -> None:
            """Set the deadline where the client owes something, take it back where it does not."""
            answering = self.cycle is not None and not self.cycle.response_complete
            if answering:
                connections.asks(self._peer)
                if self._deadline:
                    self._deadline.cancel()
                    self._deadline = None
                return
            connections.waits(self._peer)
            # An unfinished header, or the rest of a body that nobody reads any more.
            owes = self.conn.trailing_data[0] or self.conn.their_state is h11.SEND_BODY
            if owes and not self._deadline:
                self._expect()

        def _expect(self) -> None:
            self._deadline = self.loop.call_later(limits.header_seconds, self._cut_off)

        def _cut_off(self) -> None:
            self.transport.abort()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._stalled = self.loop.call_later(limits.stalled_seconds, self._cut_off)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._stalled:
                self._stalled.cancel()
                self._stalled = None

    return Bounded


class BoundedServer(uvicorn.Server):
    """A server of an ASGI application that keeps to limits.

    Parameters
    ----------
    application
        What it serves.
    host, port
        Where it listens; port 0 for any free one.
    limits
        What it takes.
    options
        Further settings of `uvicorn.Config`.

    Raises
    ------
    OSError
        The address is in use or not this machine's.
    """

    def __init__(
        self,
        application: Any,
        host: str,
        port: int,
        limits: ServerLimits | None = None,
        **options: Any,
    ) -> None:
        limits = limits or ServerLimits()
        connections = ConnectionTable(limits)
        family, _, _, _, where = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        self._listener = LimitedListener(family, socket.SOCK_STREAM)
        self._listener.connections = connections
        try:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind(where)
        except OSError:
            self._listener.close()
            raise
        super().__init__(
            uvicorn.Config(
                application,
                # The only loop that takes connections by the listener's own method.
                loop="asyncio",
                # What is taken in one turn, before those are closed in whose place it comes.
                backlog=_BACKLOG,
                http=bounded_protocol(limits, connections),
                ws="none",
                h11_max_incomplete_event_size=limits.header_bytes,
                access_log=False,  # query strings name what was searched for
                log_config=None,
                log_level="error",  # or strangers fill the log with what is no request
                server_header=False,
                # Anybody can write X-Forwarded-For; `public_url` says how clients come here.
                proxy_headers=False,
                **options,
            )
        )

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._listener.getsockname()[1])

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until told to stop by SIGTERM or SIGINT, or by `should_exit`."""
        try:
            super().run(sockets or [self._listener])
        finally:
            self._listener.close()
