"""The gateway's HTTP server, with limits that unknown clients cannot exceed.

uvicorn waits without limit for the header of a request, and keeps any number of connections. This
server limits the size and time of a header, closes connections whose client stops reading, and
limits the number of connections. When that is reached, a new connection replaces the one that has
been without a request for longest: unfinished TLS handshakes and headers, and idle connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import weakref
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

log = logging.getLogger(__name__)

_BACKLOG = 128
Peer = tuple[str, int]


@dataclass(frozen=True)
class ServerLimits:
    """Limits of a server.

    Attributes
    ----------
    header_bytes
        Size of a request line with its header fields, and of the header of a chunk or a trailer.
    header_seconds
        Time for a client to send these, from the connection or their first byte on.
    stalled_seconds
        Time for which a client may read nothing of an answer.
    connections, per_address
        Simultaneous connections, in total and from one address.
    """

    header_bytes: int = 64 << 10
    header_seconds: float = 20.0
    stalled_seconds: float = 60.0
    connections: int = 512
    per_address: int = 128


class ConnectionTable:
    """The open connections of a server.

    Parameters
    ----------
    limits
        The limits of the server.
    """

    def __init__(self, limits: ServerLimits) -> None:
        self._limits = limits
        self._open: dict[Peer, socket.socket] = {}
        # Connections without a request, the longest waiting first.
        self._waiting: dict[Peer, None] = {}
        self._of_address: Counter[str] = Counter()

    def admit(self, connection: TrackedSocket, peer: Peer) -> bool:
        """Add a connection; close a waiting one if there are too many.

        Parameters
        ----------
        connection
            The accepted connection.
        peer
            The client's address and port.

        Returns
        -------
        bool
            False if there are too many connections, and none that may be closed.
        """
        full = self._of_address[peer[0]] >= self._limits.per_address
        if full or len(self._open) >= self._limits.connections:
            # An address with too many connections only replaces its own.
            replaceable = (other for other in self._waiting if other[0] == peer[0] or not full)
            oldest = next(replaceable, None)
            if oldest is None:
                return False
            self._shut_down(oldest)
        self._open[peer] = connection
        self._of_address[peer[0]] += 1
        self._waiting[peer] = None
        connection.on_close = weakref.finalize(connection, self.closed, peer, id(connection))
        return True

    def _shut_down(self, peer: Peer) -> None:
        # The transport then reads the end of the stream and closes the socket.
        with contextlib.suppress(OSError):
            self._open[peer].shutdown(socket.SHUT_RDWR)
        self._remove(peer)

    def request_started(self, peer: Peer) -> None:
        """Record that a connection has a request; it is not replaced until that is answered."""
        self._waiting.pop(peer, None)

    def request_ended(self, peer: Peer) -> None:
        """Record that a connection has no request, so that it may be replaced."""
        if peer in self._open:
            self._waiting.setdefault(peer)

    def closed(self, peer: Peer, identity: int) -> None:
        """Record that a connection is closed.

        Parameters
        ----------
        peer
            The client's address and port.
        identity
            The `id` of the connection's socket object.
        """
        # A newer connection may have the same address and port.
        if peer in self._open and id(self._open[peer]) == identity:
            self._remove(peer)

    def _remove(self, peer: Peer) -> None:
        del self._open[peer]
        self._waiting.pop(peer, None)
        self._of_address[peer[0]] -= 1
        if not self._of_address[peer[0]]:
            del self._of_address[peer[0]]


class TrackedSocket(socket.socket):
    """A connection that calls `on_close` when it is closed."""

    on_close: weakref.finalize[Any, TrackedSocket] | None = None

    def close(self) -> None:
        """Close the socket, then call `on_close`."""
        super().close()
        if self.on_close:
            self.on_close()


class LimitedListener(socket.socket):
    """A listening socket that accepts connections up to the limits.

    Connections are counted before TLS, so that unfinished handshakes count too.

    Attributes
    ----------
    connections
        The server's connections; to be set before the first `accept`.
    """

    connections: ConnectionTable

    def accept(self) -> tuple[socket.socket, Any]:
        """Return the next connection within the limits; raises the errors of `socket.accept`."""
        while True:
            plain, address = super().accept()
            connection = TrackedSocket(plain.family, plain.type, plain.proto, plain.detach())
            # Otherwise a small body is sent only when the client has acknowledged the header.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.connections.admit(connection, address[:2]):
                return connection, address
            connection.close()


def bounded_protocol(limits: ServerLimits, connections: ConnectionTable) -> type[H11Protocol]:
    """Return uvicorn's protocol class for HTTP/1.1, extended by deadlines.

    It is based on h11, because uvicorn cannot limit the size of headers with httptools.

    Parameters
    ----------
    limits
        The limits of the server.
    connections
        Learns which connections have a request.

    Returns
    -------
    type
        The class, for the setting ``http`` of `uvicorn.Config`.
    """

    class BoundedProtocol(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None
        _stalled: asyncio.TimerHandle | None = None
        _peer: Peer = ("", 0)

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._peer = transport.get_extra_info("peername")[:2]
            self._start_deadline()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            for timer in (self._deadline, self._stalled):
                if timer:
                    timer.cancel()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._update_deadline()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._update_deadline()

        def _update_deadline(self) -> None:
            """Start the deadline if the client has to send something; cancel it if it has not."""
            answering = self.cycle is not None and not self.cycle.response_complete
            if answering:
                connections.request_started(self._peer)
                if self._deadline:
                    self._deadline.cancel()
                    self._deadline = None
                return
            connections.request_ended(self._peer)
            # An unfinished header, or the rest of a body that is no longer read.
            must_send = self.conn.trailing_data[0] or self.conn.their_state is h11.SEND_BODY
            if must_send and not self._deadline:
                self._start_deadline()

        def _start_deadline(self) -> None:
            self._deadline = self.loop.call_later(limits.header_seconds, self._abort)

        def _abort(self) -> None:
            self.transport.abort()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._stalled = self.loop.call_later(limits.stalled_seconds, self._abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._stalled:
                self._stalled.cancel()
                self._stalled = None

    return BoundedProtocol


class BoundedServer(uvicorn.Server):
    """An HTTP server with limits, for one ASGI application.

    Parameters
    ----------
    application
        The application to serve.
    host, port
        The address to listen on; an empty host for all addresses, port 0 for any free port.
    limits
        Limits of connections and headers.
    ssl_certfile, ssl_keyfile
        Files with the certificate chain and the key for TLS; without them, the server speaks
        plain HTTP.

    Raises
    ------
    OSError
        The address is in use, or is not an address of this machine.
    """

    def __init__(
        self,
        application: ASGIApp,
        host: str,
        port: int,
        limits: ServerLimits | None = None,
        ssl_certfile: Path | None = None,
        ssl_keyfile: Path | None = None,
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
                # uvloop would not call the listener's `accept`.
                loop="asyncio",
                # asyncio accepts up to this many connections before it closes replaced ones.
                backlog=_BACKLOG,
                http=bounded_protocol(limits, connections),
                ws="none",
                h11_max_incomplete_event_size=limits.header_bytes,
                access_log=False,  # query strings contain what was searched for
                log_config=None,
                # Otherwise unknown clients could fill the log with invalid requests.
                log_level="error",
                server_header=False,
                # X-Forwarded-For can be forged, and `public_url` makes it unnecessary.
                proxy_headers=False,
                ssl_certfile=ssl_certfile,
                ssl_keyfile=ssl_keyfile,
            )
        )

    @property
    def port(self) -> int:
        """The port that the server listens on."""
        return int(self._listener.getsockname()[1])

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until SIGTERM or SIGINT, or until `should_exit` is set."""
        try:
            super().run(sockets or [self._listener])
        finally:
            self._listener.close()
