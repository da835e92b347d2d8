"""Whole DIMSE messages over an association, either way (PS3.7 section 6.3, PS3.8 annex E)."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from pacsgrid.pacs.protocol import messages, wire
from pacsgrid.pacs.protocol.wire import Gone, ProtocolError, Stream

MOST_COMMAND = 64 << 10
MOST_DATASET = 1 << 20  # identifiers; a list of a thousand UIDs is 64 KiB
_FRAGMENT = 128 << 10  # for a peer that sets no limit
_TOGETHER = 4 << 20

CLASS, FIELD, MESSAGE, ANSWERS_TO = 0x0002, 0x0100, 0x0110, 0x0120
DESTINATION, PRIORITY, DATASET, STATUS, INSTANCE = 0x0600, 0x0700, 0x0800, 0x0900, 0x1000
REMAINING, COMPLETED, FAILED, WARNINGS = 0x1020, 0x1021, 0x1022, 0x1023
ORIGINATOR, ORIGINATOR_MESSAGE = 0x1030, 0x1031

C_STORE, C_GET, C_FIND, C_MOVE, C_ECHO, C_CANCEL = 0x01, 0x10, 0x20, 0x21, 0x30, 0x0FFF
ANSWER = 0x8000


class Released(Exception):
    """The peer released the association; it was answered."""


@dataclass(frozen=True)
class Message:
    """A message as it came: its context, command elements, and dataset where that was taken."""

    context: int
    command: Mapping[int, bytes]
    dataset: bytes | None

    def number(self, element: int) -> int:
        """Give a number of the command; raises ProtocolError when it lacks it."""
        value = self.command.get(element, b"")
        if len(value) != 2:
            raise ProtocolError("a command lacks a number it must have")
        return int.from_bytes(value, "little")

    def text(self, element: int) -> str:
        """Give a UID or AE title of the command, "" where it has none."""
        return self.command.get(element, b"").decode("ascii", "replace").strip("\0 ")

    @property
    def has_dataset(self) -> bool:
        """Whether a dataset belongs to it."""
        return self.number(DATASET) != messages.NO_DATASET

    @property
    def field(self) -> int:
        """What kind of message it is."""
        return self.number(FIELD)


class Link:
    """An association once it is established.

    Parameters
    ----------
    stream
        The connection.
    contexts
        Numbers of the presentation contexts that were accepted.
    most_in, most_out
        The largest P-DATA-TF that is taken, and that the peer takes (0: any), in bytes.
    """

    def __init__(
        self, stream: Stream, contexts: Iterable[int], most_in: int, most_out: int
    ) -> None:
        self._stream = stream
        self._contexts = frozenset(contexts)
        self._most_in = most_in
        limit = min(most_out or _FRAGMENT, 1 << 20) - 6
        if limit < 2:
            raise ProtocolError("the peer takes no P-DATA-TF of any use")
        self._fragment = limit & ~1
        self._came: Iterator[tuple[int, int, bytes]] = iter(())
        self._next: tuple[int, int, bytes] | None = None

    # -- coming -------------------------------------------------------------------------

    def ready(self, seconds: float) -> bool:
        """Wait for the peer; False when nothing came in time."""
        if self._next is None:
            self._next = next(self._came, None)
        return self._next is not None or self._stream.ready(seconds)

    def receive(self) -> Message:
        """Take the next message, its dataset whole.

        Raises
        ------
        Released, Gone
            The association ended.
        ProtocolError
            The peer does not keep to the protocol.
        """
        message = self.command()
        if not message.has_dataset:
            return message
        dataset = bytearray()
        for piece in self.dataset(message):
            dataset += piece
            if len(dataset) > MOST_DATASET:
                raise ProtocolError("an identifier is too long")
        return replace(message, dataset=bytes(dataset))

    def command(self) -> Message:
        """Take the next message's command; its dataset is taken next. Raises as `receive` does."""
        held = bytearray()
        context = 0
        self._stream.rest()
        while True:
            number, control, data = self._value()
            if number not in self._contexts:
                raise ProtocolError("a message in a context that was not accepted")
            if held and number != context:
                raise ProtocolError("a message that changes its context")
            if not control & 1:
                raise ProtocolError("a dataset without its command")
            context = number
            held += data
            if len(held) > MOST_COMMAND:
                raise ProtocolError("a command is too long")
            if control & 2:
                return Message(context, messages.elements(bytes(held)), None)

    def dataset(self, message: Message) -> Iterator[bytes]:
        """Yield the dataset of the message whose command came last, as it comes.

        It is to be taken to its end. Raises as `receive` does.
        """
        while True:
            number, control, data = self._value()
            if number != message.context or control & 1:
                raise ProtocolError("a message that changes before its dataset is whole")
            yield data
            if control & 2:
                return

    def skip(self, message: Message) -> None:
        """Take the dataset of such a message, if it has one, for nothing. Raises as `receive`."""
        if message.has_dataset:
            for _ in self.dataset(message):
                pass

    def _value(self) -> tuple[int, int, bytes]:
        value, self._next = self._next, None
        while value is None:
            value = next(self._came, None)
            if value is None:
                self._came = self._values()
                value = next(self._came, None)
        return value

    def _values(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield the presentation data values of the next P-DATA-TF."""
        kind, length = struct.unpack(">BxI", self._stream.exactly(6))
        if kind == wire.RELEASE_RQ and length == 4:
            self._stream.exactly(4)
            self._stream.end(wire.pdu(wire.RELEASE_RP, bytes(4)))
            raise Released
        if kind == wire.ABORT:
            raise Gone
        if kind != wire.P_DATA or length > self._most_in:
            raise ProtocolError("a PDU that does not belong here, or is too large")
        body = self._stream.exactly(length)
        at = 0
        while at < length:
            if at + 6 > length:
                raise ProtocolError("a P-DATA-TF is cut")
            size, context, control = struct.unpack_from(">IBB", body, at)
            if size < 2 or at + 4 + size > length:
                raise ProtocolError("a presentation data value is longer than its P-DATA-TF")
            yield context, control, body[at + 6 : at + 4 + size]
            at += 4 + size

    # -- going --------------------------------------------------------------------------

    def send(
        self,
        context: int,
        command: Mapping[int, int | str],
        dataset: Iterable[bytes | memoryview] | None = None,
    ) -> None:
        """Send a message; the dataset's pieces go out as they are given.

        An error that `dataset` raises leaves the message half sent: then the association can
        only be aborted.
        """
        values = {**command, DATASET: messages.NO_DATASET if dataset is None else 1}
        body = b"".join(_encode(number, values[number]) for number in sorted(values))
        body = messages.element(0, struct.pack("<I", len(body))) + body
        head = b"".join(self._fragments(context, memoryview(body), 1, True))
        if dataset is None:
            self._stream.send(head)
            return
        # What is not known to be followed by more waits: the last fragment is marked.
        waiting: bytes | memoryview = b""
        for piece in dataset:
            if len(waiting) + len(piece) <= _TOGETHER:
                waiting = b"".join((waiting, piece)) if waiting else piece
                continue
            whole = len(waiting) - len(waiting) % self._fragment or len(waiting)
            sent = memoryview(waiting)[:whole]
            self._stream.send(head + b"".join(self._fragments(context, sent, 0, False)))
            head, waiting = b"", b"".join((waiting[whole:], piece))
        if len(waiting) % 2:
            # A deflated dataset may be odd in its file; fragments must not be (PS3.8 annex E,
            # PS3.5 A.5).
            waiting = b"".join((waiting, b"\0"))
        last = self._fragments(context, memoryview(waiting), 0, True)
        self._stream.send(head + b"".join(last))

    def _fragments(
        self, context: int, data: memoryview, kind: int, last: bool
    ) -> Iterator[bytes | memoryview]:
        at = 0
        while True:
            part = data[at : at + self._fragment]
            at += len(part)
            end = at >= len(data)
            control = kind | 2 * (end and last)
            size = len(part)
            yield struct.pack(">BxIIBB", wire.P_DATA, size + 6, size + 2, context, control)
            yield part
            if end:
                return

    def release(self) -> None:
        """End the association in order."""
        self._stream.send(wire.pdu(wire.RELEASE_RQ, bytes(4)))
        while True:
            kind, length = struct.unpack(">BxI", self._stream.exactly(6))
            if kind == wire.RELEASE_RP or length > self._most_in:
                return
            self._stream.exactly(length)

    def abort(self) -> None:
        """End the association at once."""
        self._stream.send(wire.abort(0))


def _encode(number: int, value: int | str) -> bytes:
    if isinstance(value, int):
        return messages.element(number, struct.pack("<H", value))
    data = value.encode("ascii", "replace")
    pad = b" " if number in (DESTINATION, ORIGINATOR) else b"\0"
    return messages.element(number, data + pad * (len(data) % 2))
