"""Associations with the destinations of C-MOVE (PS3.4 C.4.2)."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from pacsgrid.errors import PacsgridError
from pacsgrid.gateway.dimse.contexts import EXPLICIT, IMPLICIT
from pacsgrid.gateway.dimse.link import Link
from pacsgrid.gateway.dimse.transfer import Storage
from pacsgrid.gateway.objects import Instance
from pacsgrid.gateway_settings import Destination
from pacsgrid.pacs.contexts import MOST
from pacsgrid.pacs.receiver import wire
from pacsgrid.pacs.receiver.wire import Gone, Proposed, ProtocolError, Stream
from pacsgrid.pacs.tls import client_context

_MOST_ANSWER = 1 << 20


class NoAssociation(PacsgridError):
    """The destination is not there, or does not take what is to be sent."""


def groups(instances: Sequence[Instance]) -> Iterator[list[Instance]]:
    """Split so that each group's presentation contexts fit into one association."""
    kinds: set[tuple[str, str]] = set()
    group: list[Instance] = []
    for one in sorted(instances, key=lambda item: (item.sop_class, item.syntax)):
        # As it is stored, and without compression.
        more = kinds | {(one.sop_class, one.syntax), (one.sop_class, "")}
        if len(more) >= MOST and group:
            yield group
            group, more = [], {(one.sop_class, one.syntax), (one.sop_class, "")}
        kinds = more
        group.append(one)
    if group:
        yield group


def _proposed(instances: Sequence[Instance]) -> tuple[Proposed, ...]:
    kinds: dict[tuple[str, tuple[str, ...]], None] = {}
    for one in instances:
        if one.syntax:
            kinds[one.sop_class, (one.syntax,)] = None
        kinds[one.sop_class, (EXPLICIT, IMPLICIT)] = None
    return tuple(
        Proposed(number * 2 + 1, sop_class, syntaxes)
        for number, (sop_class, syntaxes) in enumerate(kinds)
    )


@contextmanager
def associated(
    to: Destination, calling: str, instances: Sequence[Instance], max_pdu: int, seconds: float
) -> Iterator[tuple[Link, Storage]]:
    """Hold an association that can carry instances; it is released, or aborted after an error.

    Raises
    ------
    NoAssociation
        It cannot be had.
    """
    contexts = _proposed(instances)
    connection = _connect(to, seconds)
    try:
        stream = Stream(connection, seconds)
        try:
            stream.send(wire.request(to.ae_title, calling, contexts, max_pdu))
            kind, length = struct.unpack(">BxI", stream.exactly(6))
            if kind != wire.ASSOCIATE_AC or length > _MOST_ANSWER:
                raise NoAssociation(f"destination {to.ae_title} rejects the association")
            accepted = wire.parse_accept(stream.exactly(length))
        except (Gone, ProtocolError):
            raise NoAssociation(f"destination {to.ae_title} does not associate") from None
        storage: dict[str, dict[str, int]] = {}
        for one in contexts:
            syntax = accepted.syntaxes.get(one.number, "")
            if syntax in one.transfers:
                storage.setdefault(one.abstract, {}).setdefault(syntax, one.number)
        numbers = [number for known in storage.values() for number in known.values()]
        link = Link(stream, numbers, max_pdu, accepted.max_pdu)
        try:
            yield link, storage
        except BaseException:
            with suppress(Gone):
                link.abort()
            raise
        with suppress(Gone, struct.error):
            link.release()
    finally:
        connection.close()


def _connect(to: Destination, seconds: float) -> socket.socket:
    try:
        plain = socket.create_connection((to.host, to.port), timeout=seconds)
    except OSError as error:
        raise NoAssociation(f"destination {to.ae_title}: {error.strerror or 'timeout'}") from None
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not to.tls:
        return plain
    try:
        context = client_context(to.ca_file, to.cert_file, to.key_file)
        return context.wrap_socket(plain, server_hostname=to.host)
    except OSError as error:
        plain.close()
        raise NoAssociation(
            f"destination {to.ae_title}: no TLS: {type(error).__name__}; check ca_file"
        ) from None
