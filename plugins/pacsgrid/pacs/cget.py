"""C-GET with every instance written as it comes, never whole in memory (PS3.4 C.4.3).

pynetdicom hands over an instance when all of it is in memory, and takes most of a core for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from pydicom.dataset import Dataset
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelGet

from pacsgrid.errors import SourceError, SourceUnreachableError
from pacsgrid.pacs import status as st
from pacsgrid.pacs.contexts import SYNTAXES
from pacsgrid.pacs.protocol import wire
from pacsgrid.pacs.protocol.link import (
    ANSWER,
    C_GET,
    C_STORE,
    CLASS,
    FIELD,
    MESSAGE,
    PRIORITY,
    STATUS,
    Link,
    Released,
)
from pacsgrid.pacs.protocol.requesting import NotAssociated, Peer, Rejected, associated
from pacsgrid.pacs.protocol.wire import Gone, Proposed, ProtocolError
from pacsgrid.pacs.receive import Receiver

MODEL = str(StudyRootQueryRetrieveInformationModelGet)
_EXPLICIT, _IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
_MOST_PDU = 256 << 10


class Getter:
    """Asks over one association; its instances go to a `Receiver`.

    Parameters
    ----------
    name
        The source's, for messages.
    syntaxes
        The transfer syntax of each accepted context by its number; number 1 is the model's.
    seconds
        How long to wait for the next message: the source may fetch from slow storage first.
    """

    def __init__(
        self,
        name: str,
        link: Link,
        syntaxes: Mapping[int, str],
        receiver: Receiver,
        seconds: float,
    ) -> None:
        self._name = name
        self._link = link
        self._syntaxes = syntaxes
        self._receiver = receiver
        self._seconds = seconds
        self._message = 0

    def ask(self, identifier: Dataset) -> int:
        """Send one C-GET and take what comes; returns its last status.

        Raises
        ------
        SourceUnreachableError
            The association was lost, or no answer came in time; what came whole is kept.
        """
        self._message += 1
        data = encode(identifier, self._syntaxes[1] == _IMPLICIT, True)
        if data is None:
            raise SourceError(f"source {self._name}: a request cannot be encoded")
        command: dict[int, int | str] = {CLASS: MODEL, FIELD: C_GET}
        command |= {MESSAGE: self._message, PRIORITY: 0}
        try:
            self._link.send(1, command, (data,))
            while self._link.ready(self._seconds):
                message = self._link.command()
                if message.field == C_STORE:
                    syntax = self._syntaxes[message.context]
                    self._receiver.answer(self._link, message, syntax)
                elif message.field == C_GET | ANSWER:
                    self._link.skip(message)  # the list of what failed
                    if (status := message.number(STATUS)) not in st.PENDING:
                        return status
                else:
                    raise ProtocolError("a message that does not belong to a C-GET")
        except (Gone, Released, ProtocolError):
            pass
        raise st.failure(self._name, None)


@contextmanager
def getting(
    name: str,
    peer: Peer,
    sop_classes: Sequence[str],
    receiver: Receiver,
    seconds: float,
    identity: bytes = b"",
) -> Iterator[Getter]:
    """Hold an association for C-GET of instances of some SOP classes.

    Raises
    ------
    SourceUnreachableError, SourceUnavailableError, SourceError
        There is no association, now or ever, or nothing of use is accepted.
    """
    contexts = [Proposed(1, MODEL, (_EXPLICIT, _IMPLICIT))]
    # An acceptor picks one syntax per context (PS3.8 9.3.3.2), so each has one of its own: several
    # in one context would make the source transcode or fail.
    pairs = [(uid, syntax) for uid in sop_classes for syntax in SYNTAXES]
    contexts += [Proposed(3 + 2 * n, uid, (one,)) for n, (uid, one) in enumerate(pairs)]
    roles = b"".join(wire.role(uid, False, True) for uid in sop_classes)
    with ExitStack() as stack:
        try:
            held = associated(peer, contexts, _MOST_PDU, roles + identity)
            link, accepted = stack.enter_context(held)
        except Rejected as error:
            raise st.rejected(name, error.result, error.source, error.reason) from None
        except NotAssociated as error:
            raise SourceUnreachableError(f"source {name}: {error}") from None
        if 1 not in accepted.syntaxes:
            raise SourceError(f"source {name}: accepted no context for the operation")
        if len(accepted.syntaxes) < 2:
            raise SourceError(f"source {name}: no storage context accepted")
        yield Getter(name, link, accepted.syntaxes, receiver, seconds)
