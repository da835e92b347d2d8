"""One association of a peer that asks, from its request to its end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress

from pacsgrid.config import Destination
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
    VERIFICATION,
    Kinds,
    agree,
)
from pacsgrid.gateway.dimse.destination import NoAssociation, associated, groups
from pacsgrid.gateway.dimse.identifier import Identifier, NotUnderstood, TooMuch
from pacsgrid.gateway.dimse.suboperations import (
    CANCELLED,
    PENDING,
    SUCCESS,
    Carrier,
    Count,
)
from pacsgrid.gateway.dimse.transfer import Broken
from pacsgrid.gateway.object_reader import StoredInstance
from pacsgrid.pacs.protocol import wire
from pacsgrid.pacs.protocol.link import (
    ANSWER,
    ANSWERS_TO,
    C_CANCEL,
    C_ECHO,
    C_FIND,
    C_GET,
    C_MOVE,
    CLASS,
    DESTINATION,
    FIELD,
    STATUS,
    Link,
    Message,
    Released,
)
from pacsgrid.pacs.protocol.link import MESSAGE as MESSAGE_ID
from pacsgrid.pacs.protocol.wire import Gone, ProtocolError, Request, Silent, Stream

log = logging.getLogger(__name__)

PENDING_UNMATCHED = 0xFF01  # some keys were not matched
OUT_OF_RESOURCES, UNKNOWN_DESTINATION, DOES_NOT_MATCH = 0xA700, 0xA801, 0xA900
NO_MATCHES = 0xA701  # unable to calculate number of matches
UNABLE, UNRECOGNISED, WRONG_CLASS = 0xC000, 0x0211, 0x0122
_SERVICES = {
    C_ECHO: {VERIFICATION},
    C_FIND: {PATIENT_FIND, STUDY_FIND},
    C_GET: {PATIENT_GET, STUDY_GET},
    C_MOVE: {PATIENT_MOVE, STUDY_MOVE},
}


class Association:
    """Serves one peer until it releases, aborts or goes away.

    Parameters
    ----------
    gateway
        What may be found and read.
    stream
        The connection.
    kinds
        In which syntaxes instances are stored.
    admit
        Gives the iRODS user whose rights the peer has, or else result, source and reason of
        its rejection (PS3.8 9.3.4).
    """

    def __init__(
        self,
        gateway: Gateway,
        stream: Stream,
        kinds: Kinds,
        admit: Callable[[Request], str | tuple[int, int, int]],
    ) -> None:
        self._gateway = gateway
        self._stream = stream
        self._kinds = kinds
        self._admit = admit
        self._settings = gateway.settings
        self._user = ""
        self._calling = ""
        self._cancel: int | None = None

    def serve(self) -> None:
        """Serve it; never raises for what the peer does."""
        try:
            if self._open():
                while True:
                    self._handle(self._link.receive())
        except Released:
            pass
        except (Silent, ProtocolError, Broken) as error:
            log.warning("association aborted: %s", error)
            with suppress(Gone):
                self._stream.end(wire.abort(0))
        except Gone:
            log.info("a peer went away without releasing its association")

    def _open(self) -> bool:
        request = wire.receive_request(self._stream)
        who = self._admit(request)
        if not isinstance(who, str):
            log.warning("association rejected: result %d, source %d, reason %d", *who)
            self._stream.end(wire.reject(*who))
            return False
        self._user, self._calling = who, request.calling
        most = self._settings.max_pdu
        self._agreed = agreed = agree(request, self._kinds)
        self._link = Link(self._stream, agreed.chosen, most, request.max_pdu)
        self._stream.send(wire.accept(request, agreed.chosen, agreed.refused, most, agreed.roles))
        return True

    # -- messages -----------------------------------------------------------------------

    def _handle(self, message: Message) -> None:
        field = message.field
        if field & ANSWER or field == C_CANCEL:
            return  # of an operation that has ended
        self._cancel = None
        model = self._agreed.abstract[message.context]
        if field not in _SERVICES:
            self._answer(message, {STATUS: UNRECOGNISED})
        elif model not in _SERVICES[field]:
            self._answer(message, {STATUS: WRONG_CLASS})
        elif field == C_ECHO:
            self._answer(message, {STATUS: SUCCESS})
        else:
            self._ask(message, model)

    def _ask(self, message: Message, model: str) -> None:
        """Carry out what has an identifier; trouble with it ends in its status."""
        work = {C_FIND: self._find, C_GET: self._get, C_MOVE: self._move}[message.field]
        try:
            asked = identifier.parse(message.dataset or b"", self._syntax(message))
            query.check_level(model, asked)
            work(message, asked)
        except TooMuch as error:
            log.warning("a query cannot be answered: %s", error)
            self._answer(message, {STATUS: OUT_OF_RESOURCES})
        except NotUnderstood as error:
            log.warning("a query cannot be answered: %s", error)
            self._answer(message, {STATUS: DOES_NOT_MATCH})
        except PacsgridError as error:
            log.warning("a query cannot be answered: %s", error)
            self._answer(message, {STATUS: NO_MATCHES if message.field != C_FIND else UNABLE})

    def _syntax(self, message: Message) -> str:
        return self._agreed.chosen[message.context]

    def _answer(
        self,
        message: Message,
        told: dict[int, int | str],
        dataset: Iterable[bytes] | None = None,
    ) -> None:
        command: dict[int, int | str] = {
            FIELD: message.field | ANSWER,
            ANSWERS_TO: message.number(MESSAGE_ID),
            **told,
        }
        if name := message.text(CLASS):
            command[CLASS] = name
        self._link.send(message.context, command, dataset)

    def _cancelled(self, message: Message) -> bool:
        """Whether the peer has cancelled an operation; takes what it sent meanwhile."""
        while self._cancel is None and self._link.ready(0):
            self._other(self._link.receive())
        return self._cancel == message.number(MESSAGE_ID)

    def _other(self, message: Message) -> None:
        if message.field == C_CANCEL:
            self._cancel = message.number(ANSWERS_TO)
        elif not message.field & ANSWER:
            # Asynchronous operations were not negotiated (PS3.7 D.3.3.3).
            raise ProtocolError("a request while another is under way")

    # -- operations ---------------------------------------------------------------------

    def _find(self, message: Message, asked: Identifier) -> None:
        status = PENDING if query.all_supported(asked) else PENDING_UNMATCHED
        syntax, title = self._syntax(message), self._settings.ae_title
        for number, known in enumerate(query.find(self._gateway, self._user, asked)):
            if self._cancelled(message):
                self._answer(message, {STATUS: CANCELLED})
                return
            if number >= self._settings.most_answers:
                self._answer(message, {STATUS: OUT_OF_RESOURCES})
                return
            encoded = identifier.answer(asked, known, title, syntax)
            self._answer(message, {STATUS: status}, (encoded,))
        self._answer(message, {STATUS: SUCCESS})

    def _get(self, message: Message, asked: Identifier) -> None:
        instances = query.wanted(self._gateway, self._user, asked)
        count = Count(len(instances))
        carrier = Carrier(
            self._gateway.objects, self._link, self._agreed.storage(), other=self._other
        )
        self._carry(message, carrier, instances, count)
        self._tell_end(message, count)

    def _move(self, message: Message, asked: Identifier) -> None:
        to = self._settings.destination(message.text(DESTINATION))
        if to is None:
            self._answer(message, {STATUS: UNKNOWN_DESTINATION})
            return
        instances = query.wanted(self._gateway, self._user, asked)
        count = Count(len(instances))
        for group in groups(instances):
            if self._cancelled(message):
                break
            self._move_group(message, to, group, count)
        self._tell_end(message, count)

    def _move_group(
        self, message: Message, to: Destination, group: list[StoredInstance], count: Count
    ) -> None:
        """Send instances to a destination, over a second association when the first breaks."""
        rest = {one.sop: one for one in group}
        originator = (self._calling, message.number(MESSAGE_ID))
        objects, settings = self._gateway.objects, self._settings
        for _ in range(2):
            todo = list(rest.values())
            try:
                with associated(
                    to, settings.ae_title, todo, settings.max_pdu, settings.idle_seconds
                ) as (link, storage):
                    carrier = Carrier(objects, link, storage, originator)
                    self._carry(message, carrier, todo, count, rest)
                return
            except NoAssociation as error:
                log.warning("%s", error)
                break
            except _DestinationLost:
                log.warning("destination %s went away in the middle", to.ae_title)
        for sop in list(rest):
            count.enter(sop, None)

    def _carry(
        self,
        message: Message,
        carrier: Carrier,
        instances: list[StoredInstance],
        count: Count,
        rest: dict[str, StoredInstance] | None = None,
    ) -> None:
        sending = carrier.send(instances)
        while not self._cancelled(message):
            try:
                sop, status = next(sending)
            except StopIteration:
                return
            except (Gone, Released, ProtocolError, Broken):
                if rest is None:
                    raise
                raise _DestinationLost from None
            if rest is not None:
                del rest[sop]
            count.enter(sop, status)
            if count.remaining:
                self._answer(message, count.told(PENDING))
        sending.close()

    def _tell_end(self, message: Message, count: Count) -> None:
        stopped = self._cancel is not None and count.remaining
        status = CANCELLED if stopped else count.final()
        self._answer(message, count.told(status), count.identifier(self._syntax(message)))


class _DestinationLost(Exception):
    """The association with a move's destination broke."""
