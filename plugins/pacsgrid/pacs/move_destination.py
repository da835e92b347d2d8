"""The destination of our own C-MOVEs: accepts requested instances from any peer (PS3.4 C.4.2)."""

from __future__ import annotations

import logging
import socket
from contextlib import suppress

from pacsgrid.dimse import pdu, status
from pacsgrid.dimse.association_settings import DEFAULT_MAX_PDU
from pacsgrid.dimse.command_set import (
    AFFECTED_SOP_CLASS,
    C_ECHO,
    C_STORE,
    COMMAND_FIELD,
    MESSAGE_ID,
    RESPONDED_TO,
    RESPONSE,
    STATUS,
)
from pacsgrid.dimse.connection_limits import ConnectionLimits
from pacsgrid.dimse.exceptions import (
    AssociationReleasedError,
    ConnectionLostError,
    ProtocolError,
)
from pacsgrid.dimse.listener import Associate, Listener
from pacsgrid.dimse.message_channel import MessageChannel
from pacsgrid.dimse.presentation_contexts import accept_storage
from pacsgrid.dimse.stream import Stream
from pacsgrid.pacs.cstore_writer import CStoreWriter

log = logging.getLogger(__name__)

_MAX_ASSOCIATIONS = 64
_ASSOCIATE_SECONDS = 30.0


class MoveDestination(Listener):
    """A storage SCP that listens while the context lasts and writes each instance as it arrives.

    Parameters
    ----------
    ae_title
        This node's AE title, as the source knows it; associations for another are rejected.
    bind, port
        Address of the interface, "" for all, and port.
    writer
        Writes the instances.
    idle_seconds
        How long to wait for the next bytes.

    Raises
    ------
    OSError
        The address cannot be listened on.
    """

    def __init__(
        self, ae_title: str, bind: str, port: int, writer: CStoreWriter, idle_seconds: float
    ) -> None:
        self._ae_title = ae_title
        self._writer = writer
        self._idle_seconds = idle_seconds
        limits = ConnectionLimits(_MAX_ASSOCIATIONS, _MAX_ASSOCIATIONS, _ASSOCIATE_SECONDS)
        super().__init__(bind, port, self._serve_peer, limits)

    def _serve_peer(self, connection: socket.socket, address: str, associate: Associate) -> None:
        stream = Stream(connection, self._idle_seconds)
        try:
            self._serve_association(stream, associate)
        except (ConnectionLostError, AssociationReleasedError):
            pass  # the retrieval finds out what did not arrive
        except ProtocolError as error:
            log.warning("association aborted: %s", error)
            with suppress(ConnectionLostError):
                stream.send_last(pdu.encode_abort(0))

    def _serve_association(self, stream: Stream, associate: Associate) -> None:
        request = pdu.receive_request(stream)
        reason = request.reason_to_reject(self._ae_title)
        if not reason and not associate():
            reason = pdu.LOCAL_LIMIT_EXCEEDED
        if reason:
            log.warning("association rejected: result %d, source %d, reason %d", *reason)
            stream.send_last(pdu.encode_reject(*reason))
            return
        chosen, refused = accept_storage(request)
        stream.send(pdu.encode_accept(request, chosen, refused, DEFAULT_MAX_PDU))
        channel = MessageChannel(stream, chosen, DEFAULT_MAX_PDU, request.max_pdu)
        while True:
            self._serve_message(channel, chosen)

    def _serve_message(self, channel: MessageChannel, chosen: dict[int, str]) -> None:
        message = channel.receive_command()
        if message.field == C_STORE:
            self._writer.serve(channel, message, chosen[message.context])
            return
        channel.skip_dataset(message)
        if message.field & RESPONSE:
            return
        code = status.SUCCESS if message.field == C_ECHO else status.UNRECOGNISED_OPERATION
        answer: dict[int, int | str] = {COMMAND_FIELD: message.field | RESPONSE, STATUS: code}
        answer |= {RESPONDED_TO: message.number(MESSAGE_ID)}
        answer |= {AFFECTED_SOP_CLASS: message.text(AFFECTED_SOP_CLASS)}
        channel.send(message.context, answer)
