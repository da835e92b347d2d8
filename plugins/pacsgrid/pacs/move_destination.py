"""The destination of our own C-MOVEs: takes what was asked for, whoever brings it (PS3.4 C.4.2)."""

from __future__ import annotations

import logging
import socket
import struct
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

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
from pacsgrid.pacs.protocol.wire import Gone, ProtocolError, Stream
from pacsgrid.pacs.receive import Receiver
from pacsgrid.pacs.receiver.association import choose

log = logging.getLogger(__name__)

_MOST_PDU = 256 << 10
_END_SECONDS = 10.0


class MoveDestination:
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
        self._lock = threading.Lock()
        self._open: dict[threading.Thread, socket.socket] = {}
        self._listener = socket.create_server((bind, port))
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes who waits in accept
        self._thread.join(_END_SECONDS)
        self._listener.close()
        with self._lock:
            left = dict(self._open)
        for thread, connection in left.items():
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            thread.join(_END_SECONDS)

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            with self._lock:
                self._open[thread] = connection
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        stream = Stream(connection, self._idle_seconds)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._associate(stream)
        except (Gone, Released, OSError):
            pass  # what did not come is missed by who asked for it
        except ProtocolError as error:
            log.warning("association aborted: %s", error)
            with suppress(Gone):
                stream.end(wire.abort(0))
        finally:
            with self._lock:
                del self._open[threading.current_thread()]
            connection.close()

    def _associate(self, stream: Stream) -> None:
        kind, length = struct.unpack(">BxI", stream.exactly(6))
        if kind != wire.ASSOCIATE_RQ or length > wire.MOST_ASSOCIATE:
            raise ProtocolError("no A-ASSOCIATE-RQ at the start")
        request = wire.parse_request(stream.exactly(length))
        if refusal := request.refusal(self._ae_title):
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
        if message.has_dataset:
            for _ in link.dataset(message):
                pass
        if message.field & ANSWER:
            return
        status = messages.SUCCESS if message.field == C_ECHO else messages.UNRECOGNISED
        told: dict[int, int | str] = {FIELD: message.field | ANSWER, STATUS: status}
        told |= {ANSWERS_TO: message.number(MESSAGE), CLASS: message.text(CLASS)}
        link.send(message.context, told)
