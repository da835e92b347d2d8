"""One association with a peer that sends instances, from its request to its end."""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable
from contextlib import suppress

from pacsgrid.pacs.contexts import SYNTAXES
from pacsgrid.pacs.dataset import is_uid
from pacsgrid.pacs.protocol import messages, wire
from pacsgrid.pacs.protocol.messages import Command
from pacsgrid.pacs.protocol.wire import Gone, ProtocolError, Request, Silent, Stream
from pacsgrid.pacs.receiver.incoming import Arrival, Disagrees, Incoming, NotUnderstood

log = logging.getLogger(__name__)

VERIFICATION = "1.2.840.10008.1.1"
_STANDARD, _STORAGE = "1.2.840.10008.", "1.2.840.10008.5.1.4.1.1."
_MOST_COMMAND = 64 * 1024

_UNKNOWN_CLASS, _UNKNOWN_SYNTAXES = 3, 4  # PS3.8 9.3.3.2


def choose(request: Request) -> tuple[dict[int, str], dict[int, int]]:
    """Accept every storage class, private ones too, in the first syntax that is known.

    What the peer proposes first is what it has: other syntaxes would make it transcode.
    """
    chosen: dict[int, str] = {}
    refused: dict[int, int] = {}
    for context in request.contexts:
        storage = context.abstract.startswith(_STORAGE)
        private = context.abstract and not context.abstract.startswith(_STANDARD)
        if not (storage or private or context.abstract == VERIFICATION):
            refused[context.number] = _UNKNOWN_CLASS
            continue
        syntax = next((one for one in context.transfers if one in SYNTAXES), "")
        if syntax:
            chosen[context.number] = syntax
        else:
            refused[context.number] = _UNKNOWN_SYNTAXES
    return chosen, refused


class Association:
    """Serves one peer until it releases, aborts or goes away.

    Parameters
    ----------
    stream
        The connection.
    incoming
        Where instances go.
    admit
        Gives None for a request that may go on, else result, source and reason of its
        rejection (PS3.8 9.3.4).
    max_pdu
        The largest P-DATA-TF that is taken, in bytes.
    """

    def __init__(
        self,
        stream: Stream,
        incoming: Incoming,
        admit: Callable[[Request], tuple[int, int, int] | None],
        max_pdu: int,
    ) -> None:
        self._stream = stream
        self._incoming = incoming
        self._admit = admit
        self._max_pdu = max_pdu
        self._chosen: dict[int, str] = {}
        self._command_bytes = bytearray()
        self._command: Command | None = None
        self._context = 0
        self._begun = False
        self._arrival: Arrival | None = None
        self._status = messages.SUCCESS
        self.stored = 0

    def serve(self) -> None:
        """Serve it; never raises for what the peer does."""
        try:
            if self._open():
                while self._pdu():
                    pass
        except Silent as error:
            self._abort(error)
        except Gone:
            log.warning("a peer went away without releasing its association")
        except ProtocolError as error:
            self._abort(error)
        finally:
            if self._arrival:
                self._arrival.drop()
            self._incoming.flush()

    def _abort(self, why: Exception) -> None:
        log.warning("association aborted: %s", why)
        with suppress(Gone):
            self._stream.end(wire.abort(0))

    def _open(self) -> bool:
        request = wire.receive_request(self._stream)
        if refusal := self._admit(request):
            log.warning("association rejected: result %d, source %d, reason %d", *refusal)
            self._stream.end(wire.reject(*refusal))
            return False
        self._chosen, refused = choose(request)
        self._stream.send(wire.accept(request, self._chosen, refused, self._max_pdu))
        return True

    def _pdu(self) -> bool:
        """Take one PDU; False when it ended the association."""
        if not self._command and not self._command_bytes:
            self._stream.rest()
        patience = self._incoming.patience()
        if patience is not None and not self._stream.ready(patience):
            self._incoming.begin_flush()
        kind, length = struct.unpack(">BxI", self._stream.exactly(6))
        if kind == wire.P_DATA:
            if length > self._max_pdu:
                raise ProtocolError("a P-DATA-TF is larger than was agreed")
            self._data(length)
            return True
        if kind == wire.RELEASE_RQ and length == 4:
            self._stream.exactly(4)
            # The peer may forget its instances after this answer.
            self._incoming.flush()
            self._stream.send(wire.pdu(wire.RELEASE_RP, bytes(4)))
            return False
        if kind == wire.ABORT:
            log.warning("a peer aborted its association")
            return False
        raise ProtocolError("a PDU that does not belong here")

    def _data(self, length: int) -> None:
        """Take the presentation data values of one P-DATA-TF (PS3.8 annex E)."""
        while length:
            if length < 6:
                raise ProtocolError("a P-DATA-TF is cut")
            size, context, control = struct.unpack(">IBB", self._stream.exactly(6))
            length -= 4 + size
            if size < 2 or length < 0:
                raise ProtocolError("a presentation data value is longer than its P-DATA-TF")
            if context not in self._chosen:
                raise ProtocolError("a message in a context that was not accepted")
            if control & 1:
                self._command_part(context, size - 2, last=bool(control & 2))
            else:
                self._dataset_part(context, size - 2, last=bool(control & 2))

    def _command_part(self, context: int, size: int, last: bool) -> None:
        if self._command:
            self._answer_bare()
        if len(self._command_bytes) + size > _MOST_COMMAND:
            raise ProtocolError("a command is too long")
        if self._command_bytes and context != self._context:
            raise ProtocolError("a command that changes its context")
        self._context = context
        self._command_bytes += self._stream.exactly(size)
        if not last:
            return
        command = messages.parse(bytes(self._command_bytes))
        self._command_bytes.clear()
        if command.field == messages.C_STORE_RQ:
            self._status = self._begin(command)
        elif command.field == messages.C_ECHO_RQ:
            self._status = messages.SUCCESS
        else:
            self._status = messages.UNRECOGNISED
        if command.has_dataset:
            self._command, self._begun = command, False
        elif command.field != messages.C_CANCEL_RQ:
            self._answer(command)

    def _answer_bare(self) -> None:
        """Answer a request whose dataset did not come before the next command."""
        if self._begun:
            raise ProtocolError("a command within a dataset")
        command, self._command = self._command, None
        self._give_up(messages.CANNOT_UNDERSTAND)
        if command:
            log.warning("an instance refused: no dataset came with its request")
            self._answer(command)

    def _begin(self, command: Command) -> int:
        if not command.has_dataset:
            return messages.CANNOT_UNDERSTAND
        if not is_uid(command.sop_uid):
            return messages.INVALID_INSTANCE
        if not is_uid(command.sop_class) or self._chosen[self._context] == VERIFICATION:
            return messages.CANNOT_UNDERSTAND
        if not self._incoming.has_room():
            return messages.OUT_OF_RESOURCES
        try:
            self._arrival = self._incoming.begin(
                command.sop_class, command.sop_uid, self._chosen[self._context]
            )
        except OSError as error:
            log.error("cannot write what arrives: errno %s", error.errno)
            return messages.OUT_OF_RESOURCES
        return messages.SUCCESS

    def _dataset_part(self, context: int, size: int, last: bool) -> None:
        if not self._command or context != self._context:
            raise ProtocolError("a dataset without its command")
        self._begun = True
        for piece in self._stream.pieces(size):
            if self._arrival:
                try:
                    self._arrival.write(piece)
                except OSError as error:
                    log.error("cannot write what arrives: errno %s", error.errno)
                    self._give_up(messages.OUT_OF_RESOURCES)
        if not last:
            return
        if self._arrival:
            try:
                self._incoming.finish(self._arrival)
                self._arrival = None
                self.stored += 1
            except NotUnderstood as error:
                log.warning("an instance refused: %s", error)
                disagrees = isinstance(error, Disagrees)
                self._give_up(messages.DOES_NOT_MATCH if disagrees else messages.CANNOT_UNDERSTAND)
            except OSError as error:
                log.error("cannot write what arrives: errno %s", error.errno)
                self._give_up(messages.OUT_OF_RESOURCES)
        command, self._command = self._command, None
        self._answer(command)

    def _give_up(self, status: int) -> None:
        if self._arrival:
            self._arrival.drop()
        self._arrival = None
        self._status = status

    def _answer(self, command: Command) -> None:
        self._stream.send(messages.response(self._context, command, self._status))
