"""C-STORE sub-operations of a C-GET or C-MOVE, and their counts (PS3.4 C.4.2 and C.4.3)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field

from pydicom.dataset import Dataset

from pacsgrid.dimse import status
from pacsgrid.dimse.command_set import (
    COMPLETED,
    FAILED,
    REMAINING,
    RESPONDED_TO,
    RESPONSE,
    STATUS,
    WARNINGS,
)
from pacsgrid.dimse.message_channel import Message, MessageChannel
from pacsgrid.errors import PacsgridError
from pacsgrid.gateway.dimse import transfer
from pacsgrid.gateway.dimse.identifier import encode
from pacsgrid.gateway.dimse.transfer import StorageContexts
from pacsgrid.gateway.object_reader import ObjectReader, StoredInstance

log = logging.getLogger(__name__)

_MAX_COUNT = 0xFFFF  # the counts are of VR US


@dataclass
class SuboperationCounts:
    """Counts of the sub-operations of one retrieval.

    Attributes
    ----------
    failed
        SOP Instance UIDs of those that failed.
    """

    remaining: int
    completed: int = 0
    warnings: int = 0
    failed: list[str] = field(default_factory=list)

    def add(self, sop_uid: str, code: int | None) -> None:
        """Count one sub-operation.

        Parameters
        ----------
        sop_uid
            The instance.
        code
            The status of the C-STORE response, None if the instance was not sent.
        """
        self.remaining -= 1
        if code == status.SUCCESS:
            self.completed += 1
        elif code is not None and status.is_warning(code):
            self.warnings += 1
        else:
            self.failed.append(sop_uid)

    def final_status(self) -> int:
        """Return the status of the final response."""
        if not self.failed and not self.warnings:
            return status.SUCCESS
        if self.completed or self.warnings:
            return status.SOME_FAILED
        return status.UNABLE_TO_PERFORM

    def elements(self, code: int) -> dict[int, int | str]:
        """Return the command elements of a response with this status."""
        numbers = {
            COMPLETED: self.completed,
            FAILED: len(self.failed),
            WARNINGS: self.warnings,
        }
        if code in (status.PENDING, status.CANCELLED):
            numbers[REMAINING] = self.remaining
        return {STATUS: code, **{tag: min(n, _MAX_COUNT) for tag, n in numbers.items()}}

    def identifier(self, syntax: str) -> tuple[bytes, ...] | None:
        """Return the encoded list of failed instances for the final response, None for none."""
        if not self.failed:
            return None
        data = Dataset()
        data.FailedSOPInstanceUIDList = self.failed
        return (encode(data, syntax) or b"",)


class SuboperationSender:
    """Sends instances over one association and receives their responses.

    Parameters
    ----------
    objects
        Where instances are read.
    channel
        The association.
    storage
        The accepted presentation contexts.
    originator
        For a C-MOVE, the calling AE title and the message ID of its request.
    on_other_message
        Called with every message that is no response: a C-CANCEL may come at any time.
    """

    def __init__(
        self,
        objects: ObjectReader,
        channel: MessageChannel,
        storage: StorageContexts,
        originator: tuple[str, int] | None = None,
        on_other_message: Callable[[Message], None] | None = None,
    ) -> None:
        self._objects = objects
        self._channel = channel
        self._storage = storage
        self._originator = originator
        self._on_other_message = on_other_message
        self._message_id = 0

    def send(
        self, instances: Sequence[StoredInstance]
    ) -> Generator[tuple[str, int | None], None, None]:
        """Send instances one after the other.

        Yields
        ------
        sop_uid : str
            An instance.
        code : int or None
            The status of its C-STORE response, None if it was not sent.

        Raises
        ------
        ConnectionLostError, AssociationReleasedError, ProtocolError, IncompleteSendError
            The association ended, or must be aborted.
        """
        able = []
        for one in instances:
            if transfer.can_send(self._storage, one):
                able.append(one)
            else:
                yield one.sop, None
        for one, chunks in self._objects.many(able):
            yield one.sop, self._send_one(chunks)

    def _send_one(self, chunks: Iterator[bytes]) -> int | None:
        self._message_id = self._message_id % 0xFFFF + 1
        try:
            transfer.send_instance(
                self._channel, self._storage, chunks, self._message_id, self._originator
            )
        except PacsgridError as error:
            log.warning("an instance was not sent: %s", error)
            return None
        while True:
            message = self._channel.receive()
            if message.field & RESPONSE and message.number(RESPONDED_TO) == self._message_id:
                return message.number(STATUS)
            if self._on_other_message:
                self._on_other_message(message)
