"""One association of a peer that queries or retrieves, from its request to its end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress

from pacsgrid.config import Destination, Peer
from pacsgrid.dimse import pdu, status
from pacsgrid.dimse.command_set import (
    AFFECTED_SOP_CLASS,
    AFFECTED_SOP_INSTANCE,
    C_CANCEL,
    C_ECHO,
    C_FIND,
    C_GET,
    C_MOVE,
    C_STORE,
    COMMAND_FIELD,
    ERROR_COMMENT,
    MESSAGE_ID,
    MOVE_DESTINATION,
    RESPONDED_TO,
    RESPONSE,
    STATUS,
)
from pacsgrid.dimse.exceptions import (
    AssociationReleasedError,
    ConnectionLostError,
    PeerStalledError,
    ProtocolError,
)
from pacsgrid.dimse.message_channel import Message, MessageChannel
from pacsgrid.dimse.pdu import AssociateRequest
from pacsgrid.dimse.presentation_contexts import VERIFICATION
from pacsgrid.dimse.stream import Stream
from pacsgrid.errors import PacsgridError
from pacsgrid.gateway.core import Gateway
from pacsgrid.gateway.dimse import identifier, query
from pacsgrid.gateway.dimse.contexts import (
    PATIENT_FIND,
    PATIENT_GET,
    PATIENT_MOVE,
    STUDY_FIND,
    STUDY_GET,
    STUDY_MOVE,
    StoredSyntaxes,
    negotiate,
)
from pacsgrid.gateway.dimse.destination import (
    DestinationUnavailableError,
    open_association,
    split_by_contexts,
)
from pacsgrid.gateway.dimse.identifier import (
    Identifier,
    IdentifierTooLargeError,
    InvalidIdentifierError,
)
from pacsgrid.gateway.dimse.suboperations import SuboperationCounts, SuboperationSender
from pacsgrid.gateway.dimse.transfer import IncompleteSendError
from pacsgrid.gateway.object_reader import StoredInstance
from pacsgrid.gateway.results import RefusedResultError
from pacsgrid.pacs.storage_scp.incoming import InvalidInstanceError

log = logging.getLogger(__name__)
_LONGEST_COMMENT = 64  # VR LO

_SERVICES = {
    C_ECHO: {VERIFICATION},
    C_FIND: {PATIENT_FIND, STUDY_FIND},
    C_GET: {PATIENT_GET, STUDY_GET},
    C_MOVE: {PATIENT_MOVE, STUDY_MOVE},
}


class QueryRetrieveAssociation:
    """Serves one peer until it releases, aborts or disconnects.

    Parameters
    ----------
    gateway
        What the peer may find and retrieve.
    stream
        The connection.
    stored
        In which transfer syntaxes instances are stored.
    admit
        Returns the peer's settings, or result, source and reason of its rejection (PS3.8 section
        9.3.4).
    address
        The peer's network address, for the audit trail.
    """

    def __init__(
        self,
        gateway: Gateway,
        stream: Stream,
        stored: StoredSyntaxes,
        admit: Callable[[AssociateRequest], Peer | tuple[int, int, int]],
        address: str = "",
    ) -> None:
        self._gateway = gateway
        self._stream = stream
        self._stored = stored
        self._admit = admit
        self._address = address
        self._settings = gateway.settings
        self._user = ""
        self._results = ""
        self._calling = ""
        self._cancel: int | None = None

    def serve(self) -> None:
        """Serve the peer; nothing that it does raises an error."""
        try:
            if self._negotiate():
                while True:
                    message = self._channel.receive_command()
                    if message.field == C_STORE:
                        self._store(message)
                    else:
                        self._handle(self._channel.with_dataset(message))
        except AssociationReleasedError:
            pass
        except (PeerStalledError, ProtocolError, IncompleteSendError) as error:
            log.warning("association aborted: %s", error)
            with suppress(ConnectionLostError):
                self._stream.send_last(pdu.encode_abort(0))
        except ConnectionLostError:
            log.info("a peer disconnected without releasing its association")

    def _negotiate(self) -> bool:
        request = pdu.receive_request(self._stream)
        peer = self._admit(request)
        if not isinstance(peer, Peer):
            log.warning("association rejected: result %d, source %d, reason %d", *peer)
            self._stream.send_last(pdu.encode_reject(*peer))
            return False
        self._user, self._results, self._calling = peer.user, peer.results, request.calling
        max_pdu = self._settings.max_pdu
        self._contexts = c = negotiate(request, self._stored, bool(self._results))
        self._channel = MessageChannel(self._stream, c.chosen, max_pdu, request.max_pdu)
        self._stream.send(pdu.encode_accept(request, c.chosen, c.refused, max_pdu, c.roles))
        return True

    # -- messages -----------------------------------------------------------------------

    def _handle(self, message: Message) -> None:
        field = message.field
        if field & RESPONSE or field == C_CANCEL:
            return  # it belongs to an operation that has ended
        self._cancel = None
        model = self._contexts.abstract[message.context]
        if field not in _SERVICES:
            self._answer(message, {STATUS: status.UNRECOGNISED_OPERATION})
        elif model not in _SERVICES[field]:
            self._answer(message, {STATUS: status.WRONG_SOP_CLASS})
        elif field == C_ECHO:
            self._answer(message, {STATUS: status.SUCCESS})
        else:
            self._serve_identifier(message, model)

    def _serve_identifier(self, message: Message, model: str) -> None:
        """Serve a request with an identifier; turn errors into its status."""
        work = {C_FIND: self._find, C_GET: self._get, C_MOVE: self._move}[message.field]
        try:
            asked = identifier.parse(message.dataset or b"", self._syntax(message))
            query.check_level(model, asked)
            work(message, asked)
        except IdentifierTooLargeError as error:
            log.warning("a query cannot be answered: %s", error)
            self._answer(message, {STATUS: status.OUT_OF_RESOURCES})
        except InvalidIdentifierError as error:
            log.warning("a query cannot be answered: %s", error)
            self._answer(message, {STATUS: status.DOES_NOT_MATCH_SOP_CLASS})
        except PacsgridError as error:
            log.warning("a query cannot be answered: %s", error)
            finds = message.field == C_FIND
            code = status.CANNOT_UNDERSTAND if finds else status.UNABLE_TO_COUNT_MATCHES
            self._answer(message, {STATUS: code})

    def _syntax(self, message: Message) -> str:
        return self._contexts.chosen[message.context]

    def _answer(
        self,
        message: Message,
        elements: dict[int, int | str],
        dataset: Iterable[bytes] | None = None,
    ) -> None:
        command: dict[int, int | str] = {
            COMMAND_FIELD: message.field | RESPONSE,
            RESPONDED_TO: message.number(MESSAGE_ID),
            **elements,
        }
        if name := message.text(AFFECTED_SOP_CLASS):
            command[AFFECTED_SOP_CLASS] = name
        self._channel.send(message.context, command, dataset)

    def _cancelled(self, message: Message) -> bool:
        """Read what the peer sent meanwhile; return whether it cancelled the operation."""
        while self._cancel is None and self._channel.wait_readable(0):
            self._handle_other(self._channel.receive())
        return self._cancel == message.number(MESSAGE_ID)

    def _handle_other(self, message: Message) -> None:
        if message.field == C_CANCEL:
            self._cancel = message.number(RESPONDED_TO)
        elif not message.field & RESPONSE:
            # Asynchronous operations were not negotiated (PS3.7 section D.3.3.3).
            raise ProtocolError("a request before the end of another")

    def _store(self, message: Message) -> None:
        """Take a result (PS3.4 annex B); its status tells why one is refused."""
        pieces = self._channel.receive_dataset(message) if message.has_dataset else iter(())
        sop_class, sop = (message.text(one) for one in (AFFECTED_SOP_CLASS, AFFECTED_SOP_INSTANCE))
        elements: dict[int, int | str] = {STATUS: status.SUCCESS, AFFECTED_SOP_INSTANCE: sop}
        try:
            if not self._results:
                raise RefusedResultError(status.NOT_AUTHORISED, "this node may send no results")
            desk = self._gateway.results
            desk.take(self._user, self._results, sop_class, sop, self._syntax(message), pieces)
        except RefusedResultError as error:
            log.warning("a result refused: %s", error.comment)
            elements |= {STATUS: error.status, ERROR_COMMENT: error.comment[:_LONGEST_COMMENT]}
        except InvalidInstanceError as error:
            log.warning("a result refused: %s", error)
            elements[STATUS] = status.CANNOT_UNDERSTAND
        except OSError as error:
            log.error("a result cannot be written: errno %s", error.errno)
            elements[STATUS] = status.OUT_OF_RESOURCES
        for _ in pieces:  # what was not read
            pass
        self._answer(message, elements)

    # -- operations ---------------------------------------------------------------------

    def _find(self, message: Message, asked: Identifier) -> None:
        all_matched = query.all_supported(asked)
        pending = status.PENDING if all_matched else status.PENDING_UNMATCHED
        syntax, title = self._syntax(message), self._settings.ae_title
        for number, known in enumerate(query.find(self._gateway, self._user, asked)):
            if self._cancelled(message):
                self._answer(message, {STATUS: status.CANCELLED})
                return
            if number >= self._settings.most_answers:
                self._answer(message, {STATUS: status.OUT_OF_RESOURCES})
                return
            encoded = identifier.encode_answer(asked, known, title, syntax)
            self._answer(message, {STATUS: pending}, (encoded,))
        self._answer(message, {STATUS: status.SUCCESS})

    def _get(self, message: Message, asked: Identifier) -> None:
        instances = query.requested_instances(self._gateway, self._user, asked)
        self._note("C-GET", instances)
        counts = SuboperationCounts(len(instances))
        sender = SuboperationSender(
            self._gateway.objects,
            self._channel,
            self._contexts.storage(),
            on_other_message=self._handle_other,
        )
        self._send(message, sender, instances, counts)
        self._answer_last(message, counts)

    def _move(self, message: Message, asked: Identifier) -> None:
        destination = self._settings.destination(message.text(MOVE_DESTINATION))
        if destination is None:
            self._answer(message, {STATUS: status.MOVE_DESTINATION_UNKNOWN})
            return
        instances = query.requested_instances(self._gateway, self._user, asked)
        self._note("C-MOVE", instances, f"to {destination.ae_title}")
        counts = SuboperationCounts(len(instances))
        for part in split_by_contexts(instances):
            if self._cancelled(message):
                break
            self._move_part(message, destination, part, counts)
        self._answer_last(message, counts)

    def _note(self, way: str, instances: list[StoredInstance], detail: str = "") -> None:
        """Record what is about to leave; raise RetryableError if that is not possible."""
        who = f"{self._user} ({self._calling})"
        self._gateway.disclosures.note(who, way, self._address, instances, detail)

    def _move_part(
        self,
        message: Message,
        destination: Destination,
        part: list[StoredInstance],
        counts: SuboperationCounts,
    ) -> None:
        """Send instances to a destination; if the association breaks, retry over a second one."""
        rest = {one.sop: one for one in part}
        originator = (self._calling, message.number(MESSAGE_ID))
        objects, settings = self._gateway.objects, self._settings
        for _ in range(2):
            todo = list(rest.values())
            try:
                with open_association(destination, settings, todo) as (channel, storage):
                    sender = SuboperationSender(objects, channel, storage, originator)
                    self._send(message, sender, todo, counts, rest)
                return
            except DestinationUnavailableError as error:
                log.warning("%s", error)
                break
            except _DestinationLostError:
                log.warning("lost the association with destination %s", destination.ae_title)
        for sop in list(rest):
            counts.add(sop, None)

    def _send(
        self,
        message: Message,
        sender: SuboperationSender,
        instances: list[StoredInstance],
        counts: SuboperationCounts,
        rest: dict[str, StoredInstance] | None = None,
    ) -> None:
        """Send instances and report pending counts, until the peer cancels.

        Parameters
        ----------
        message
            The C-GET or C-MOVE request.
        sender
            Sends them.
        instances
            What to send.
        counts
            Counts the sub-operations.
        rest
            For a C-MOVE, what is still to be sent; each instance is removed once it was counted.

        Raises
        ------
        _DestinationLostError
            The association with the C-MOVE's destination broke.
        """
        sending = sender.send(instances)
        while not self._cancelled(message):
            try:
                sop, code = next(sending)
            except StopIteration:
                return
            except (
                ConnectionLostError,
                AssociationReleasedError,
                ProtocolError,
                IncompleteSendError,
            ):
                if rest is None:
                    raise
                raise _DestinationLostError from None
            if rest is not None:
                del rest[sop]
            counts.add(sop, code)
            if counts.remaining:
                self._answer(message, counts.elements(status.PENDING))
        sending.close()

    def _answer_last(self, message: Message, counts: SuboperationCounts) -> None:
        cancelled = self._cancel is not None and counts.remaining
        code = status.CANCELLED if cancelled else counts.final_status()
        self._answer(message, counts.elements(code), counts.identifier(self._syntax(message)))


class _DestinationLostError(Exception):
    """The association with the destination of a C-MOVE broke."""
