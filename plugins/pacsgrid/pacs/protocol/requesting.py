"""Associations that this side requests (PS3.8 section 7.1)."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from pacsgrid.pacs.protocol import wire
from pacsgrid.pacs.protocol.link import Link
from pacsgrid.pacs.protocol.wire import Accepted, Gone, Proposed, ProtocolError, Stream

_MOST_ANSWER = 1 << 20


class NotAssociated(Exception):
    """There is no association: the peer was not reached, or did not speak the protocol."""


class Rejected(NotAssociated):
    """The peer rejected it, with result, source and reason (PS3.8 9.3.4)."""

    def __init__(self, result: int, source: int, reason: int) -> None:
        super().__init__(f"result {result}, source {source}, reason {reason}")
        self.result, self.source, self.reason = result, source, reason


@dataclass(frozen=True)
class Peer:
    """Whom to associate with, and how.

    Attributes
    ----------
    tls
        None to speak plainly.
    connect_seconds, idle_seconds
        How long to wait for connection and association, and for bytes after that.
    """

    host: str
    port: int
    ae_title: str
    calling: str
    tls: ssl.SSLContext | None = None
    connect_seconds: float = 10.0
    idle_seconds: float = 60.0


@contextmanager
def associated(
    peer: Peer, contexts: Sequence[Proposed], most: int, more: bytes = b""
) -> Iterator[tuple[Link, Accepted]]:
    """Hold an association; it is released, or aborted after an error.

    Parameters
    ----------
    most
        The largest P-DATA-TF that is taken, in bytes.
    more
        User items beside the usual ones: `wire.role`, `wire.user_identity`.

    Raises
    ------
    NotAssociated, Rejected
        It cannot be had.
    """
    connection = _connect(peer)
    try:
        stream = Stream(connection, peer.connect_seconds)
        accepted = _negotiate(peer, stream, contexts, most, more)
        stream.wait(peer.idle_seconds)
        syntaxes = {one.number: one.transfers for one in contexts}
        # A syntax that was not proposed is as good as a refusal.
        good = {n: uid for n, uid in accepted.syntaxes.items() if uid in syntaxes.get(n, ())}
        link = Link(stream, good, most, accepted.max_pdu)
        try:
            yield link, Accepted(good, accepted.max_pdu)
        except BaseException:
            with suppress(Gone):
                link.abort()
            raise
        with suppress(Gone, struct.error):
            link.release()
    finally:
        connection.close()


def _negotiate(
    peer: Peer, stream: Stream, contexts: Sequence[Proposed], most: int, more: bytes
) -> Accepted:
    try:
        stream.send(wire.request(peer.ae_title, peer.calling, contexts, most, more))
        kind, length = struct.unpack(">BxI", stream.exactly(6))
        if length > _MOST_ANSWER:
            raise ProtocolError("an answer to A-ASSOCIATE-RQ that is too long")
        body = stream.exactly(length)
        if kind == wire.ASSOCIATE_RJ and length == 4:
            raise Rejected(*body[1:])
        if kind != wire.ASSOCIATE_AC:
            raise ProtocolError("no answer to A-ASSOCIATE-RQ")
        return wire.parse_accept(body)
    except (Gone, ProtocolError):
        raise NotAssociated("no association; it was aborted, or the time was up") from None


def _connect(peer: Peer) -> socket.socket:
    try:
        plain = socket.create_connection((peer.host, peer.port), timeout=peer.connect_seconds)
    except OSError as error:
        raise NotAssociated(error.strerror or "no connection in time") from None
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if peer.tls is None:
        return plain
    try:
        return peer.tls.wrap_socket(plain, server_hostname=peer.host)
    except OSError as error:
        plain.close()
        raise NotAssociated(f"no TLS: {type(error).__name__}; check ca_file") from None
