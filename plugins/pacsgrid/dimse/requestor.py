"""Associations that this side requests, for messages whose datasets stream (PS3.8 section 7.1)."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from pacsgrid.dimse import pdu
from pacsgrid.dimse.association_settings import AssociationSettings
from pacsgrid.dimse.exceptions import (
    AssociationFailedError,
    AssociationRejectedError,
    ConnectionLostError,
    ProtocolError,
)
from pacsgrid.dimse.message_channel import MessageChannel
from pacsgrid.dimse.pdu import MAX_ASSOCIATE_BYTES, AssociateAccept, ProposedContext
from pacsgrid.dimse.stream import Stream


@contextmanager
def open_association(
    settings: AssociationSettings,
    contexts: Sequence[ProposedContext],
    user_items: bytes = b"",
) -> Iterator[tuple[MessageChannel, AssociateAccept]]:
    """Hold an association; it is released, or aborted after an error.

    Parameters
    ----------
    settings
        The peer and how to associate with it.
    contexts
        The presentation contexts to propose.
    user_items
        Encoded user information items beside the usual ones and the user identity, see
        `pdu.encode_role`.

    Yields
    ------
    MessageChannel
        For messages over the association.
    AssociateAccept
        What the peer accepted. A transfer syntax that was not proposed counts as a refusal.

    Raises
    ------
    AssociationFailedError, AssociationRejectedError
        There is no association.
    """
    connection = _connect(settings)
    try:
        stream = Stream(connection, settings.connect_seconds)
        accepted = _negotiate(settings, stream, contexts, user_items)
        stream.set_timeout(settings.idle_seconds)
        proposed = {one.number: one.transfer_syntaxes for one in contexts}
        syntaxes = {n: uid for n, uid in accepted.syntaxes.items() if uid in proposed.get(n, ())}
        channel = MessageChannel(stream, syntaxes, settings.max_pdu, accepted.max_pdu)
        try:
            yield channel, AssociateAccept(syntaxes, accepted.max_pdu)
        except BaseException:
            with suppress(ConnectionLostError):
                channel.abort()
            raise
        stream.set_timeout(settings.connect_seconds)
        with suppress(ConnectionLostError, struct.error):
            channel.release()
    finally:
        connection.close()


def _negotiate(
    settings: AssociationSettings,
    stream: Stream,
    contexts: Sequence[ProposedContext],
    user_items: bytes,
) -> AssociateAccept:
    request = pdu.encode_request(
        settings.called_ae_title,
        settings.calling_ae_title,
        contexts,
        settings.max_pdu,
        user_items + settings.encoded_user_identity(),
    )
    try:
        stream.send(request)
        kind, length = struct.unpack(">BxI", stream.read_exactly(6))
        if length > MAX_ASSOCIATE_BYTES:
            raise ProtocolError("the answer to an A-ASSOCIATE-RQ is too long")
        body = stream.read_exactly(length)
        if kind == pdu.ASSOCIATE_RJ and length == 4:
            raise AssociationRejectedError(*body[1:])
        if kind != pdu.ASSOCIATE_AC:
            raise ProtocolError("no answer to an A-ASSOCIATE-RQ")
        return pdu.parse_accept(body)
    except (ConnectionLostError, ProtocolError):
        raise AssociationFailedError("no association; it was aborted or timed out") from None


def _connect(settings: AssociationSettings) -> socket.socket:
    address = (settings.host, settings.port)
    try:
        plain = socket.create_connection(address, timeout=settings.connect_seconds)
    except OSError as error:
        raise AssociationFailedError(
            f"no association: {error.strerror or 'no connection in time'}"
        ) from None
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if settings.tls is None:
        return plain
    try:
        return settings.tls.wrap_socket(plain, server_hostname=settings.host)
    except OSError as error:
        plain.close()
        raise AssociationFailedError(
            f"no association, no TLS: {type(error).__name__}; check ca_file"
        ) from None
