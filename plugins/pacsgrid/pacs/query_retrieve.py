"""C-FIND, C-GET and C-MOVE requests, one after another over one association (PS3.4 C.4.1 to C.4.3).

Answers are given to the caller as they come. Instances that a C-GET brings are written as they
arrive. Neither is ever whole in memory.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from io import BytesIO

from pydicom.dataset import Dataset
from pynetdicom.dsutils import decode, encode
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from pacsgrid.dimse import status
from pacsgrid.dimse.association_settings import AssociationSettings
from pacsgrid.dimse.command_set import (
    AFFECTED_SOP_CLASS,
    C_FIND,
    C_GET,
    C_MOVE,
    C_STORE,
    COMMAND_FIELD,
    MESSAGE_ID,
    MOVE_DESTINATION,
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
from pacsgrid.dimse.message_channel import Message
from pacsgrid.dimse.pdu import ProposedContext, encode_role
from pacsgrid.dimse.presentation_contexts import EXPLICIT, IMPLICIT, TRANSFER_SYNTAXES
from pacsgrid.dimse.requestor import open_association
from pacsgrid.errors import SourceError, SourceUnreachableError, TooManyAnswersError
from pacsgrid.pacs.cstore_writer import CStoreWriter
from pacsgrid.pacs.source_errors import rejection_error, status_error

FIND = str(StudyRootQueryRetrieveInformationModelFind)
GET = str(StudyRootQueryRetrieveInformationModelGet)
MOVE = str(StudyRootQueryRetrieveInformationModelMove)

log = logging.getLogger(__name__)

_MOST_ID = 0xFFFF  # Message ID (0000,0110) has two bytes
_PENDING = (status.PENDING, status.PENDING_UNMATCHED)


class _AbandonedError(Exception):
    """Ends an association in the middle of a request."""


class QueryRetrieve:
    """An association with a source; one request at a time.

    Parameters
    ----------
    name
        The source's name, for messages.
    settings
        The source and how to associate with it.
    models
        The services to propose: `FIND`, `GET`, `MOVE`.
    sop_classes
        UIDs of the SOP classes that a C-GET may bring, `likely_sop_classes.CLASSES_AT_ONCE` at
        most.

    Attributes
    ----------
    requests
        How many requests were sent.

    Raises
    ------
    SourceUnreachableError, SourceUnavailableError, SourceError
        There is no association, now or ever, or nothing is accepted.
    """

    def __init__(
        self,
        name: str,
        settings: AssociationSettings,
        models: Sequence[str],
        sop_classes: Sequence[str] = (),
    ) -> None:
        self._name = name
        self._answer_seconds = settings.answer_seconds
        self.requests = 0
        self._busy = False
        self._proposed = frozenset(sop_classes)
        # An acceptor picks one syntax per context (PS3.8 section 9.3.3.2), so each syntax of an
        # instance has a context of its own: several in one would make the source transcode or fail.
        wanted: list[tuple[str, tuple[str, ...]]]
        wanted = [(model, (EXPLICIT, IMPLICIT)) for model in models]
        wanted += [(uid, (syntax,)) for uid in sop_classes for syntax in TRANSFER_SYNTAXES]
        contexts = [ProposedContext(2 * n + 1, *one) for n, one in enumerate(wanted)]
        roles = b"".join(encode_role(uid, scu=False, scp=True) for uid in sop_classes)
        self._leave = ExitStack()
        try:
            opened = open_association(settings, contexts, roles)
            self._channel, accepted = self._leave.enter_context(opened)
        except AssociationRejectedError as error:
            raise rejection_error(name, error.result, error.source, error.reason) from None
        except AssociationFailedError as error:
            raise SourceUnreachableError(f"source {name}: {error}") from None
        self._syntaxes = accepted.syntaxes
        self._models = {
            one.abstract_syntax: one.number
            for one in contexts[: len(models)]
            if one.number in accepted.syntaxes
        }
        self._classes = {
            one.abstract_syntax for one in contexts[len(models) :] if one.number in self._syntaxes
        }
        if not self._syntaxes:
            self.close()
            raise SourceError(f"source {name}: no presentation context accepted")

    def offers(self, model: str, sop_classes: Collection[str] = ()) -> bool:
        """Return whether a request may be sent, with what the source accepted.

        Parameters
        ----------
        model
            `FIND`, `GET` or `MOVE`.
        sop_classes
            What a C-GET may bring; all of it was proposed, and some of it accepted.
        """
        return (
            model in self._models
            and self._proposed.issuperset(sop_classes)
            and (not sop_classes or not self._classes.isdisjoint(sop_classes))
        )

    def refusal(self, model: str) -> SourceError:
        """Return the error for a request that `offers` denies.

        Parameters
        ----------
        model
            `FIND`, `GET` or `MOVE`.
        """
        what = "no storage context accepted"
        if model not in self._models:
            what = "accepted no context for the operation"
        return SourceError(f"source {self._name}: {what}")

    def is_open(self) -> bool:
        """Return whether the source has not ended the association while nothing was asked."""
        return not self._busy and not self._channel.wait_readable(0)

    def find(self, identifier: Dataset) -> Iterator[Dataset]:
        """Send one C-FIND and yield each answer as it comes (PS3.4 section C.4.1).

        Parameters
        ----------
        identifier
            The query.

        Raises
        ------
        SourceUnreachableError
            The association was lost, or no answer came in time.
        SourceError, SourceUnavailableError
            The source refused.
        """
        with self._request(FIND, C_FIND, identifier) as responses:
            unreadable = 0
            for message in responses:
                code = message.number(STATUS)
                if code not in _PENDING:
                    self._channel.skip_dataset(message)
                    break
                answer = self._channel.with_dataset(message).dataset or b""
                try:
                    data = decode(BytesIO(answer), self._syntax(FIND) == IMPLICIT, True)
                except (ValueError, EOFError, KeyError, NotImplementedError):
                    unreadable += 1
                    continue
                yield data
        if unreadable:
            log.warning("source %s: %d answers cannot be read", self._name, unreadable)
        if code == status.OUT_OF_RESOURCES:  # PS3.4 section C.4.1.1.4
            raise TooManyAnswersError(
                f"source {self._name}: out of resources for a query; query less at once"
            )
        if code != status.SUCCESS:
            raise status_error(self._name, code)

    def get(self, identifier: Dataset, writer: CStoreWriter) -> int:
        """Send one C-GET and write the instances that it brings.

        Parameters
        ----------
        identifier
            What to retrieve.
        writer
            Writes the instances.

        Returns
        -------
        int
            The final status.

        Raises
        ------
        SourceUnreachableError
            The association was lost, or no answer came in time; complete instances are kept.
        """
        return self._final_status(GET, C_GET, identifier, writer)

    def move(self, identifier: Dataset, destination: str) -> int:
        """Send one C-MOVE.

        Parameters
        ----------
        identifier
            What to retrieve.
        destination
            The AE title to send it to.

        Returns
        -------
        int
            The final status.

        Raises
        ------
        SourceUnreachableError
            The association was lost, or no answer came in time.
        """
        return self._final_status(MOVE, C_MOVE, identifier, None, destination)

    def close(self) -> None:
        """Release the association; abort it in the middle of a request."""
        if self._busy:
            self._busy = False
            with suppress(_AbandonedError), self._leave:
                raise _AbandonedError
        self._leave.close()

    def _final_status(
        self,
        model: str,
        field: int,
        identifier: Dataset,
        writer: CStoreWriter | None,
        destination: str = "",
    ) -> int:
        with self._request(model, field, identifier, writer, destination) as responses:
            for message in responses:
                self._channel.skip_dataset(message)  # the list of what failed
                if (code := message.number(STATUS)) not in _PENDING:
                    break
        return code

    @contextmanager
    def _request(
        self,
        model: str,
        field: int,
        identifier: Dataset,
        writer: CStoreWriter | None = None,
        destination: str = "",
    ) -> Iterator[Iterator[Message]]:
        """Send a request and give its responses, without their datasets; read them to the last."""
        data = encode(identifier, self._syntax(model) == IMPLICIT, True)
        if data is None:
            raise SourceError(f"source {self._name}: a request cannot be encoded")
        self.requests += 1
        command: dict[int, int | str] = {AFFECTED_SOP_CLASS: model, COMMAND_FIELD: field}
        command |= {MESSAGE_ID: (self.requests - 1) % _MOST_ID + 1, PRIORITY: 0}
        command |= {MOVE_DESTINATION: destination} if destination else {}
        self._busy = True
        try:
            self._channel.send(self._models[model], command, (data,))
            yield self._responses(field | RESPONSE, writer)
        except (ConnectionLostError, AssociationReleasedError, ProtocolError):
            raise status_error(self._name, None) from None
        self._busy = False

    def _responses(self, field: int, writer: CStoreWriter | None) -> Iterator[Message]:
        """Yield responses without end, and serve what a C-GET brings meanwhile."""
        while self._channel.wait_readable(self._answer_seconds):
            message = self._channel.receive_command()
            if message.field == field:
                yield message
            elif message.field == C_STORE and writer is not None:
                writer.serve(self._channel, message, self._syntaxes[message.context])
            else:
                raise ProtocolError("a message that does not belong to the request")
        raise ConnectionLostError

    def _syntax(self, model: str) -> str:
        return self._syntaxes[self._models[model]]
