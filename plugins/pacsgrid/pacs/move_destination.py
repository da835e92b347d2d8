"""The destination of our own C-MOVEs: takes what was asked for, whoever brings it (PS3.4 C.4.2)."""

from __future__ import annotations

import logging
import socket
from contextlib import suppress

from pacsgrid.pacs.protocol import messages, wire
from pacsgrid.pacs.protocol.link import (
    ANSWER,
    ANSWERS_TO,
    C_ECHO,
    C_STORE,
    CLASS,
    FIELD,
    MESSAGE,
    STATUS,
    Link,
    Released,
)
from pacsgrid.pacs.protocol.listening import Listener, Take
from pacsgrid.pacs.protocol.places import Limits
from pacsgrid.pacs.protocol.wire import Gone, ProtocolError, Stream
from pacsgrid.pacs.receive import Receiver
from pacsgrid.pacs.receiver.association import choose

log = logging.getLogger(__name__)

_MOST_PDU = 256 << 10
_MOST = 64  # associations at once
_ASSOCIATE_SECONDS = 30.0


class MoveDestination(Listener):
    """Listens while the context lasts; each instance is written as it comes.

    Parameters
    ----------
    ae_title
        Ours, as the source is told it; associations for another are rejected.
    bind, port
        Address of the interface, "" for all, and port.
    receiver
        Where instances go.
    idle_seconds
        How long to wait for the next bytes.

    Raises
    ------
    OSError
        The address cannot be listened on.
    """

    def __init__(
        self, ae_title: str, bind: str, port: int, receiver: Receiver, idle_seconds: float
    ) -> None:
        self._ae_title = ae_title
        self._receiver = receiver
        self._idle_seconds = idle_seconds
        super().__init__(bind, port, self._serve_one, Limits(_MOST, _MOST, _ASSOCIATE_SECONDS))

    def _serve_one(self, connection: socket.socket, address: str, take: Take) -> None:
        stream = Stream(connection, self._idle_seconds)
        try:
            self._associate(stream, take)
        except (Gone, Released):
            pass  # what did not come is missed by who asked for it
        except ProtocolError as error:
            log.warning("association aborted: %s", error)
            with suppress(Gone):
                stream.end(wire.abort(0))

    def _associate(self, stream: Stream, take: Take) -> None:
        request = wire.receive_request(stream)
        if refusal := request.refusal(self._ae_title) or (None if take() else wire.BUSY):
            log.warning("association rejected: result %d, source %d, reason %d", *refusal)
            stream.end(wire.reject(*refusal))
            return
        chosen, refused = choose(request)
        stream.send(wire.accept(request, chosen, refused, _MOST_PDU))
        link = Link(stream, chosen, _MOST_PDU, request.max_pdu)
        while True:
            self._message(link, chosen)

    def _message(self, link: Link, chosen: dict[int, str]) -> None:
        message = link.command()
        if message.field == C_STORE:
            self._receiver.answer(link, message, chosen[message.context])
            return
        link.skip(message)
        if message.field & ANSWER:
            return
        status = messages.SUCCESS if message.field == C_ECHO else messages.UNRECOGNISED
        told: dict[int, int | str] = {FIELD: message.field | ANSWER, STATUS: status}
        told |= {ANSWERS_TO: message.number(MESSAGE), CLASS: message.text(CLASS)}
        link.send(message.context, told)
