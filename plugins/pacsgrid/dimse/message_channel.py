"""DIMSE messages over an established association, in both directions (PS3.7 6.3, PS3.8 annex E)."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from pacsgrid.dimse import command_set, pdu
from pacsgrid.dimse.command_set import (
    COMMAND_FIELD,
    DATASET_TYPE,
    MAX_COMMAND_BYTES,
    NO_DATASET,
)
from pacsgrid.dimse.exceptions import (
    AssociationReleasedError,
    ConnectionLostError,
    ProtocolError,
)
from pacsgrid.dimse.stream import Stream

MAX_IDENTIFIER_BYTES = 1 << 20  # a list of a thousand UIDs takes 64 KiB
_DEFAULT_PDU_BYTES = 128 << 10  # for a peer that sets no limit
_WRITE_BYTES = 4 << 20


@dataclass(frozen=True)
class Message:
    """A received message.

    Attributes
    ----------
    context
        Presentation context ID.
    command
        Values of the command set by element number.
    dataset
        The encoded dataset if it was read with the message, else None.
    """

    context: int
    command: Mapping[int, bytes]
    dataset: bytes | None

    def number(self, element: int) -> int:
        """Return a number of the command set; raise ProtocolError if it is missing."""
        return command_set.number_of(self.command, element)

    def text(self, element: int) -> str:
        """Return a UID or AE title of the command set, empty where it is missing."""
        return command_set.text_of(self.command, element)

    @property
    def has_dataset(self) -> bool:
        """Whether a dataset belongs to the message."""
        return self.number(DATASET_TYPE) != NO_DATASET

    @property
    def field(self) -> int:
        """The command field: the kind of message."""
        return self.number(COMMAND_FIELD)


class MessageChannel:
    """Messages of one established association.

    Parameters
    ----------
    stream
        The connection.
    contexts
        IDs of the accepted presentation contexts.
    max_pdu_in, max_pdu_out
        The largest P-DATA-TF that this side takes, and that the peer takes (0 for no limit), in
        bytes.

    Raises
    ------
    ProtocolError
        The peer's limit is too small for any P-DATA-TF.
    """

    def __init__(
        self, stream: Stream, contexts: Iterable[int], max_pdu_in: int, max_pdu_out: int
    ) -> None:
        self._stream = stream
        self._contexts = frozenset(contexts)
        self._max_pdu_in = max_pdu_in
        limit = min(max_pdu_out or _DEFAULT_PDU_BYTES, 1 << 20) - 6
        if limit < 2:
            raise ProtocolError("the peer's maximum length is too small for any P-DATA-TF")
        self._fragment = limit & ~1
        self._values: Iterator[tuple[int, int, bytes]] = iter(())
        self._next: tuple[int, int, bytes] | None = None

    # -- receiving ----------------------------------------------------------------------

    def wait_readable(self, seconds: float) -> bool:
        """Wait for the peer; return whether something came in time."""
        if self._next is None:
            self._next = next(self._values, None)
        return self._next is not None or self._stream.wait_readable(seconds)

    def receive(self) -> Message:
        """Receive the next message with its whole dataset.

        Raises
        ------
        AssociationReleasedError, ConnectionLostError
            The association ended.
        ProtocolError
            The peer violates the protocol, or sends more than `MAX_IDENTIFIER_BYTES`.
        """
        return self.with_dataset(self.receive_command())

    def with_dataset(self, message: Message) -> Message:
        """Return the message whose command set was received last with its whole dataset.

        Raises
        ------
        AssociationReleasedError, ConnectionLostError, ProtocolError
            See `receive`.
        """
        if not message.has_dataset:
            return message
        dataset = bytearray()
        for piece in self.receive_dataset(message):
            dataset += piece
            if len(dataset) > MAX_IDENTIFIER_BYTES:
                raise ProtocolError("an identifier is too long")
        return replace(message, dataset=bytes(dataset))

    def receive_command(self) -> Message:
        """Receive the next message's command set; read its dataset next.

        Raises
        ------
        AssociationReleasedError, ConnectionLostError, ProtocolError
            See `receive`.
        """
        held = bytearray()
        context = 0
        self._stream.end_message()
        while True:
            number, control, data = self._receive_value()
            if number not in self._contexts:
                raise ProtocolError("a message in a presentation context that was not accepted")
            if held and number != context:
                raise ProtocolError("a command set that changes its presentation context")
            if not control & 1:
                raise ProtocolError("a dataset without its command set")
            context = number
            held += data
            if len(held) > MAX_COMMAND_BYTES:
                raise ProtocolError("a command set is too long")
            if control & 2:
                return Message(context, command_set.parse_elements(bytes(held)), None)

    def receive_dataset(self, message: Message) -> Iterator[bytes]:
        """Yield the dataset of the message whose command set was received last, as it arrives.

        Read it to its end.

        Raises
        ------
        AssociationReleasedError, ConnectionLostError, ProtocolError
            See `receive`.
        """
        while True:
            number, control, data = self._receive_value()
            if number != message.context or control & 1:
                raise ProtocolError("another message before the end of a dataset")
            yield data
            if control & 2:
                return

    def skip_dataset(self, message: Message) -> None:
        """Read and discard the dataset of a message, if it has one; raise as `receive` does."""
        if message.has_dataset:
            for _ in self.receive_dataset(message):
                pass

    def _receive_value(self) -> tuple[int, int, bytes]:
        value, self._next = self._next, None
        while value is None:
            value = next(self._values, None)
            if value is None:
                self._values = self._receive_pdu()
                value = next(self._values, None)
        return value

    def _receive_pdu(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield context ID, control header and data of each value of the next P-DATA-TF."""
        kind, length = struct.unpack(">BxI", self._stream.read_exactly(6))
        if kind == pdu.RELEASE_RQ and length == 4:
            self._stream.read_exactly(4)
            self._stream.send_last(pdu.encode_release_response())
            raise AssociationReleasedError
        if kind == pdu.ABORT:
            raise ConnectionLostError
        if kind != pdu.P_DATA or length > self._max_pdu_in:
            raise ProtocolError("an unexpected PDU, or one larger than agreed")
        body = self._stream.read_exactly(length)
        at = 0
        while at < length:
            if at + 6 > length:
                raise ProtocolError("a P-DATA-TF is truncated")
            size, context, control = struct.unpack_from(">IBB", body, at)
            if size < 2 or at + 4 + size > length:
                raise ProtocolError("a presentation data value is longer than its P-DATA-TF")
            yield context, control, body[at + 6 : at + 4 + size]
            at += 4 + size

    # -- sending ------------------------------------------------------------------------

    def send(
        self,
        context: int,
        command: Mapping[int, int | str],
        dataset: Iterable[bytes | memoryview] | None = None,
    ) -> None:
        """Send a message; pieces of the dataset are sent as they are produced.

        An error that `dataset` raises leaves the message half sent: then the association can
        only be aborted.

        Parameters
        ----------
        context
            Presentation context ID.
        command
            Values of the command set by element number, without group length and dataset type.
        dataset
            The encoded dataset in pieces of any size, None for no dataset.

        Raises
        ------
        ConnectionLostError
            The connection ended, or the peer does not read in time.
        """
        dataset_type = NO_DATASET if dataset is None else 1
        body = command_set.encode_elements({**command, DATASET_TYPE: dataset_type})
        head = b"".join(self._fragments(context, memoryview(body), 1, True))
        if dataset is None:
            self._stream.send(head)
            return
        # Hold back what may be the end: the last fragment must be marked as such.
        waiting: bytes | memoryview = b""
        for piece in dataset:
            if len(waiting) + len(piece) <= _WRITE_BYTES:
                waiting = b"".join((waiting, piece)) if waiting else piece
                continue
            whole = len(waiting) - len(waiting) % self._fragment or len(waiting)
            sent = memoryview(waiting)[:whole]
            self._stream.send(head + b"".join(self._fragments(context, sent, 0, False)))
            head, waiting = b"", b"".join((waiting[whole:], piece))
        if len(waiting) % 2:
            # A deflated dataset may have an odd length in its file; fragments must not
            # (PS3.8 annex E, PS3.5 section A.5).
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
            yield struct.pack(">BxIIBB", pdu.P_DATA, size + 6, size + 2, context, control)
            yield part
            if end:
                return

    def release(self) -> None:
        """Release the association and wait for the peer's answer.

        Raises
        ------
        ConnectionLostError
            The connection ended or timed out before.
        """
        self._stream.send(pdu.encode_release_request())
        while True:
            kind, length = struct.unpack(">BxI", self._stream.read_exactly(6))
            if kind == pdu.RELEASE_RP or length > self._max_pdu_in:
                return
            self._stream.read_exactly(length)

    def abort(self) -> None:
        """Abort the association; raise ConnectionLostError if the connection has ended."""
        self._stream.send(pdu.encode_abort(0))
