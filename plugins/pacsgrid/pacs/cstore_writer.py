"""Write the instances of C-STORE requests to disk as they arrive (PS3.4 annex B, PS3.10 7)."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from pacsgrid.dimse import status
from pacsgrid.dimse.command_set import (
    AFFECTED_SOP_CLASS,
    AFFECTED_SOP_INSTANCE,
    C_STORE,
    COMMAND_FIELD,
    MESSAGE_ID,
    RESPONDED_TO,
    RESPONSE,
    STATUS,
)
from pacsgrid.dimse.message_channel import Message, MessageChannel
from pacsgrid.pacs.part10 import write_head
from pacsgrid.pacs.rate_limiter import RateLimiter
from pacsgrid.pacs.staging import WriteGroup, name_for

log = logging.getLogger(__name__)


class CStoreWriter:
    """Writes requested instances into one directory; several threads may use it.

    Any other instance is refused: the destination of a C-MOVE listens for everyone. A success
    status means written, not yet durable: the caller flushes the group, then compares the files
    with the source's list.

    Parameters
    ----------
    into
        The directory.
    wanted
        SOP Instance UIDs to accept.
    group
        Writes the files.
    limiter
        Delays each instance to keep the source's rate limit.
    """

    def __init__(
        self, into: Path, wanted: set[str], group: WriteGroup, limiter: RateLimiter
    ) -> None:
        self._into = into
        self._wanted = set(wanted)
        self._written: set[str] = set()
        self._group = group
        self._limiter = limiter

    def serve(self, channel: MessageChannel, message: Message, syntax: str) -> None:
        """Read the dataset of a C-STORE request, write it and answer.

        Parameters
        ----------
        channel
            Where the request came.
        message
            The request, without its dataset.
        syntax
            Transfer syntax UID of its presentation context.

        Raises
        ------
        ConnectionLostError, AssociationReleasedError, ProtocolError
            The association ended; nothing is left of the instance.
        """
        sop_class = message.text(AFFECTED_SOP_CLASS)
        sop_uid = message.text(AFFECTED_SOP_INSTANCE)
        code = status.CANNOT_UNDERSTAND
        if message.has_dataset:
            dataset = channel.receive_dataset(message)
            code = self.write(sop_class, sop_uid, syntax, dataset)
            for _ in dataset:  # read what was not wanted, or could not be written
                pass
        answer: dict[int, int | str] = {COMMAND_FIELD: C_STORE | RESPONSE, STATUS: code}
        answer |= {RESPONDED_TO: message.number(MESSAGE_ID)}
        answer |= {AFFECTED_SOP_CLASS: sop_class, AFFECTED_SOP_INSTANCE: sop_uid}
        channel.send(message.context, answer)

    def write(
        self,
        sop_class: str,
        sop_uid: str,
        syntax: str,
        dataset: Iterable[bytes | memoryview],
    ) -> int:
        """Write one instance.

        Parameters
        ----------
        sop_class, sop_uid, syntax
            UIDs of its SOP class, SOP instance and transfer syntax.
        dataset
            The encoded dataset in pieces; not read if the instance was not requested, or was
            written before.

        Returns
        -------
        int
            The status of the C-STORE response.
        """
        if sop_uid not in self._wanted:
            return status.NOT_AUTHORISED
        if sop_uid in self._written:
            return status.SUCCESS
        self._limiter.wait()  # the source sends the next one after our answer
        try:
            head = write_head(sop_class, sop_uid, syntax)
            self._group.write(self._into / name_for(sop_uid), chain((head,), dataset))
        except OSError as error:
            log.error("cannot write to staging: errno %s", error.errno)
            return status.OUT_OF_RESOURCES
        self._written.add(sop_uid)
        return status.SUCCESS
