"""C-STORE sub-operations of a retrieval, and what is told of them (PS3.4 C.4.2 and C.4.3)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field

from pydicom.dataset import Dataset

from pacsgrid.errors import PacsgridError
from pacsgrid.gateway.dimse import transfer
from pacsgrid.gateway.dimse.identifier import encode
from pacsgrid.gateway.dimse.transfer import Storage
from pacsgrid.gateway.object_reader import ObjectReader, StoredInstance
from pacsgrid.pacs.protocol.link import (
    ANSWER,
    ANSWERS_TO,
    COMPLETED,
    FAILED,
    REMAINING,
    STATUS,
    WARNINGS,
    Link,
    Message,
)

log = logging.getLogger(__name__)

SUCCESS, PENDING, CANCELLED = 0x0000, 0xFF00, 0xFE00
SOME_FAILED, ALL_FAILED = 0xB000, 0xA702
_WARNINGS = (0x0001, 0x0107, 0x0116)  # PS3.7 annex C.4
_MOST_TOLD = 0xFFFF


@dataclass
class Count:
    """How the sub-operations of one retrieval stand."""

    remaining: int
    completed: int = 0
    warnings: int = 0
    failed: list[str] = field(default_factory=list)

    def enter(self, sop: str, status: int | None) -> None:
        """Count one; None for one that was not carried out."""
        self.remaining -= 1
        if status == SUCCESS:
            self.completed += 1
        elif status is not None and (status & 0xF000 == 0xB000 or status in _WARNINGS):
            self.warnings += 1
        else:
            self.failed.append(sop)

    def final(self) -> int:
        """Give the status of the final response."""
        if not self.failed and not self.warnings:
            return SUCCESS
        return SOME_FAILED if self.completed or self.warnings else ALL_FAILED

    def told(self, status: int) -> dict[int, int | str]:
        """Give the elements of a response that tell of them."""
        numbers = {
            COMPLETED: self.completed,
            FAILED: len(self.failed),
            WARNINGS: self.warnings,
        }
        if status in (PENDING, CANCELLED):
            numbers[REMAINING] = self.remaining
        return {STATUS: status, **{tag: min(n, _MOST_TOLD) for tag, n in numbers.items()}}

    def identifier(self, syntax: str) -> tuple[bytes, ...] | None:
        """Give the list of failed instances, which a response that tells of some must have."""
        if not self.failed:
            return None
        data = Dataset()
        data.FailedSOPInstanceUIDList = self.failed
        return (encode(data, syntax) or b"",)


class Carrier:
    """Sends instances over one association and takes their answers.

    Parameters
    ----------
    objects
        Where instances are read.
    originator
        For a C-MOVE, the AE title that asked and its message.
    other
        Takes messages that are no answer: a C-CANCEL may come at any time.
    """

    def __init__(
        self,
        objects: ObjectReader,
        link: Link,
        storage: Storage,
        originator: tuple[str, int] | None = None,
        other: Callable[[Message], None] | None = None,
    ) -> None:
        self._objects = objects
        self._link = link
        self._storage = storage
        self._originator = originator
        self._other = other
        self._message = 0

    def send(
        self, instances: Sequence[StoredInstance]
    ) -> Generator[tuple[str, int | None], None, None]:
        """Yield each SOP UID with the status of its sub-operation, None where there was none.

        Raises
        ------
        Gone, Released, ProtocolError, Broken
            The association ended, or can only be aborted.
        """
        able = []
        for one in instances:
            if transfer.can_send(self._storage, one):
                able.append(one)
            else:
                yield one.sop, None
        for one, chunks in self._objects.many(able):
            yield one.sop, self._one(chunks)

    def _one(self, chunks: Iterator[bytes]) -> int | None:
        self._message = self._message % 0xFFFF + 1
        try:
            transfer.store(self._link, self._storage, chunks, self._message, self._originator)
        except PacsgridError as error:
            log.warning("not sent: %s", error)
            return None
        while True:
            message = self._link.receive()
            if message.field & ANSWER and message.number(ANSWERS_TO) == self._message:
                return message.number(STATUS)
            if self._other:
                self._other(message)
