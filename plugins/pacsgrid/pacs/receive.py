"""Taking C-STORE requests to disk as they come (PS3.4 annex B, PS3.10 section 7)."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from pacsgrid.pacs.guard import Pace
from pacsgrid.pacs.part10 import write_head
from pacsgrid.pacs.protocol.link import (
    ANSWER,
    ANSWERS_TO,
    C_STORE,
    CLASS,
    FIELD,
    INSTANCE,
    MESSAGE,
    STATUS,
    Link,
    Message,
)
from pacsgrid.pacs.staging import WriteGroup, name_for

log = logging.getLogger(__name__)

STORED = 0x0000
REFUSED_UNASKED = 0x0124
OUT_OF_RESOURCES = 0xA700
WITHOUT_DATASET = 0xC000


class Receiver:
    """Writes the instances that were asked for into one directory; several threads may bring them.

    Only listed SOP instances are taken: the destination of a C-MOVE listens for anybody.
    Success is said after the write; that all is on disk under its name is for the caller to
    see to, who holds the group and compares the files with the source's list.
    """

    def __init__(self, into: Path, wanted: set[str], group: WriteGroup, pace: Pace) -> None:
        self._into = into
        self._wanted = set(wanted)
        self._taken: set[str] = set()
        self._group = group
        self._pace = pace

    def answer(self, link: Link, message: Message, syntax: str) -> None:
        """Take the dataset of a C-STORE whose command came, and answer it.

        Raises
        ------
        Gone, Released, ProtocolError
            The association ended; nothing is left of the instance.
        """
        sop_class, sop_uid = message.text(CLASS), message.text(INSTANCE)
        status = WITHOUT_DATASET
        if message.has_dataset:
            dataset = link.dataset(message)
            status = self.take(sop_class, sop_uid, syntax, dataset)
            for _ in dataset:  # what was not wanted, or could not be written
                pass
        told: dict[int, int | str] = {FIELD: C_STORE | ANSWER, STATUS: status}
        told |= {ANSWERS_TO: message.number(MESSAGE), CLASS: sop_class, INSTANCE: sop_uid}
        link.send(message.context, told)

    def take(
        self,
        sop_class: str,
        sop_uid: str,
        syntax: str,
        dataset: Iterable[bytes | memoryview],
    ) -> int:
        """Write an instance; returns the status of its C-STORE.

        One that was not asked for, or came before, is not written, and its dataset not taken.
        """
        if sop_uid not in self._wanted:
            return REFUSED_UNASKED
        if sop_uid in self._taken:
            return STORED
        self._pace.wait()  # the source sends the next one after our answer
        try:
            head = write_head(sop_class, sop_uid, syntax)
            self._group.write(self._into / name_for(sop_uid), chain((head,), dataset))
        except OSError as error:
            log.error("cannot write to staging: errno %s", error.errno)
            return OUT_OF_RESOURCES
        self._taken.add(sop_uid)
        return STORED
