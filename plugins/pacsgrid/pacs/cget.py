"""C-GET that writes every instance as it arrives, never whole in memory (PS3.4 section C.4.3).

pynetdicom delivers an instance once all of it is in memory, at the cost of most of a core.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from pydicom.dataset import Dataset
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelGet

from pacsgrid.dimse import status
from pacsgrid.dimse.association_settings import AssociationSettings
from pacsgrid.dimse.command_set import (
    AFFECTED_SOP_CLASS,
    C_GET,
    C_STORE,
    COMMAND_FIELD,
    MESSAGE_ID,
    PRIORITY,
    RESPONSE,
    STATUS,
)
from pacsgrid.dimse.exceptions import (
    AssociationFailedError,
    AssociationRejectedError,
    AssociationReleasedError,
    ConnectionLostError,
    ProtocolError,
)
from pacsgrid.dimse.message_channel import MessageChannel
from pacsgrid.dimse.pdu import ProposedContext, encode_role
from pacsgrid.dimse.presentation_contexts import EXPLICIT, IMPLICIT, TRANSFER_SYNTAXES
from pacsgrid.dimse.requestor import open_association
from pacsgrid.errors import SourceError, SourceUnreachableError
from pacsgrid.pacs.cstore_writer import CStoreWriter
from pacsgrid.pacs.source_errors import rejection_error, status_error

MODEL = str(StudyRootQueryRetrieveInformationModelGet)
_MODEL_CONTEXT = 1


class CGetClient:
    """Sends C-GET requests over one association; a `CStoreWriter` writes what comes.

    Parameters
    ----------
    name
        The source's name, for messages.
    channel
        The association.
    syntaxes
        Transfer syntax UID of each accepted context, by context ID; 1 is the model's.
    writer
        Writes the instances.
    answer_seconds
        How long to wait for the next message: the source may fetch from slow storage first.
    """

    def __init__(
        self,
        name: str,
        channel: MessageChannel,
        syntaxes: Mapping[int, str],
        writer: CStoreWriter,
        answer_seconds: float,
    ) -> None:
        self._name = name
        self._channel = channel
        self._syntaxes = syntaxes
        self._writer = writer
        self._answer_seconds = answer_seconds
        self._message_id = 0

    def get(self, identifier: Dataset) -> int:
        """Send one C-GET and write the instances that it brings; return its final status.

        Raises
        ------
        SourceUnreachableError
            The association was lost, or no answer came in time; complete instances are kept.
        """
        self._message_id += 1
        data = encode(identifier, self._syntaxes[_MODEL_CONTEXT] == IMPLICIT, True)
        if data is None:
            raise SourceError(f"source {self._name}: a request cannot be encoded")
        command: dict[int, int | str] = {AFFECTED_SOP_CLASS: MODEL, COMMAND_FIELD: C_GET}
        command |= {MESSAGE_ID: self._message_id, PRIORITY: 0}
        try:
            self._channel.send(_MODEL_CONTEXT, command, (data,))
            while self._channel.wait_readable(self._answer_seconds):
                message = self._channel.receive_command()
                if message.field == C_STORE:
                    syntax = self._syntaxes[message.context]
                    self._writer.serve(self._channel, message, syntax)
                elif message.field == C_GET | RESPONSE:
                    self._channel.skip_dataset(message)  # the list of what failed
                    code = message.number(STATUS)
                    if code not in (status.PENDING, status.PENDING_UNMATCHED):
                        return code
                else:
                    raise ProtocolError("a message that does not belong to a C-GET")
        except (ConnectionLostError, AssociationReleasedError, ProtocolError):
            pass
        raise status_error(self._name, None)


@contextmanager
def open_cget(
    name: str, settings: AssociationSettings, sop_classes: Sequence[str], writer: CStoreWriter
) -> Iterator[CGetClient]:
    """Hold an association for C-GET.

    Parameters
    ----------
    name
        The source's name, for messages.
    settings
        The source and how to associate with it.
    sop_classes
        UIDs of the SOP classes to propose, `likely_sop_classes.CLASSES_AT_ONCE` at most.
    writer
        Writes the instances.

    Yields
    ------
    CGetClient
        A client on an established association, which is released in the end.

    Raises
    ------
    SourceUnreachableError, SourceUnavailableError, SourceError
        There is no association, now or ever, or nothing useful is accepted.
    """
    contexts = [ProposedContext(_MODEL_CONTEXT, MODEL, (EXPLICIT, IMPLICIT))]
    # An acceptor picks one syntax per context (PS3.8 section 9.3.3.2), so each syntax has a context
    # of its own: several in one context would make the source transcode or fail.
    pairs = [(uid, syntax) for uid in sop_classes for syntax in TRANSFER_SYNTAXES]
    contexts += [ProposedContext(3 + 2 * n, uid, (one,)) for n, (uid, one) in enumerate(pairs)]
    roles = b"".join(encode_role(uid, scu=False, scp=True) for uid in sop_classes)
    with ExitStack() as stack:
        try:
            association = open_association(settings, contexts, roles)
            channel, accepted = stack.enter_context(association)
        except AssociationRejectedError as error:
            raise rejection_error(name, error.result, error.source, error.reason) from None
        except AssociationFailedError as error:
            raise SourceUnreachableError(f"source {name}: {error}") from None
        if _MODEL_CONTEXT not in accepted.syntaxes:
            raise SourceError(f"source {name}: accepted no context for the operation")
        if len(accepted.syntaxes) < 2:
            raise SourceError(f"source {name}: no storage context accepted")
        yield CGetClient(name, channel, accepted.syntaxes, writer, settings.answer_seconds)
