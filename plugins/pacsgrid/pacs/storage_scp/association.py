"""One association of the storage SCP, from its request to its end."""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable
from contextlib import suppress

from pacsgrid.dimse import command_set, pdu, status
from pacsgrid.dimse.command_set import MAX_COMMAND_BYTES, CommandSet
from pacsgrid.dimse.exceptions import ConnectionLostError, PeerStalledError, ProtocolError
from pacsgrid.dimse.pdu import AssociateRequest
from pacsgrid.dimse.presentation_contexts import (
    STORAGE_COMMITMENT,
    STORAGE_COMMITMENT_INSTANCE,
    VERIFICATION,
    accept_storage,
)
from pacsgrid.dimse.stream import Stream
from pacsgrid.pacs.storage_scp.commitment_requests import (
    MOST_REQUEST,
    REQUEST_COMMITMENT,
    CommitmentRequests,
)
from pacsgrid.pacs.storage_scp.incoming import (
    Arrival,
    Incoming,
    InstanceMismatchError,
    InvalidInstanceError,
)
from pacsgrid.uids import is_archived_uid

log = logging.getLogger(__name__)


class StorageAssociation:
    """Serves one peer until it releases, aborts or disconnects.

    Parameters
    ----------
    stream
        The connection.
    incoming
        Where instances are written.
    admit
        Returns None to accept a request, else result, source and reason of its rejection (PS3.8
        section 9.3.4).
    max_pdu
        The largest P-DATA-TF that is accepted, in bytes.
    commitments
        Keeps the requests for storage commitment of those peers that may ask for it; by default
        none may.

    Attributes
    ----------
    stored
        How many instances were stored.
    """

    def __init__(
        self,
        stream: Stream,
        incoming: Incoming,
        admit: Callable[[AssociateRequest], tuple[int, int, int] | None],
        max_pdu: int,
        commitments: CommitmentRequests | None = None,
    ) -> None:
        self._stream = stream
        self._incoming = incoming
        self._admit = admit
        self._max_pdu = max_pdu
        self._commitments = commitments
        self._chosen: dict[int, str] = {}
        self._abstract: dict[int, str] = {}
        self._command_bytes = bytearray()
        self._command: CommandSet | None = None
        self._context = 0
        self._dataset_begun = False
        self._request: bytearray | None = None
        self._calling = ""
        self._arrival: Arrival | None = None
        self._status = status.SUCCESS
        self.stored = 0

    def serve(self) -> None:
        """Serve the peer; nothing that it does raises an error."""
        try:
            if self._negotiate():
                while self._serve_pdu():
                    pass
        except PeerStalledError as error:
            self._abort(error)
        except ConnectionLostError:
            log.warning("a peer disconnected without releasing its association")
        except ProtocolError as error:
            self._abort(error)
        finally:
            if self._arrival:
                self._arrival.discard()
            self._incoming.flush()

    def _abort(self, why: Exception) -> None:
        log.warning("association aborted: %s", why)
        with suppress(ConnectionLostError):
            self._stream.send_last(pdu.encode_abort(0))

    def _negotiate(self) -> bool:
        request = pdu.receive_request(self._stream)
        if reason := self._admit(request):
            log.warning("association rejected: result %d, source %d, reason %d", *reason)
            self._stream.send_last(pdu.encode_reject(*reason))
            return False
        self._calling = request.calling
        others = {STORAGE_COMMITMENT} if self._may_commit() else set()
        self._chosen, refused = accept_storage(request, others)
        self._abstract = {one.number: one.abstract_syntax for one in request.contexts}
        self._stream.send(pdu.encode_accept(request, self._chosen, refused, self._max_pdu))
        return True

    def _may_commit(self) -> bool:
        return self._commitments is not None and self._calling in self._commitments.peers

    def _serve_pdu(self) -> bool:
        """Read one PDU; return False if it ended the association."""
        if not self._command and not self._command_bytes:
            self._stream.end_message()
        seconds = self._incoming.seconds_to_flush()
        if seconds is not None and not self._stream.wait_readable(seconds):
            self._incoming.begin_flush()
        kind, length = struct.unpack(">BxI", self._stream.read_exactly(6))
        if kind == pdu.P_DATA:
            if length > self._max_pdu:
                raise ProtocolError("a P-DATA-TF is larger than agreed")
            self._serve_data(length)
            return True
        if kind == pdu.RELEASE_RQ and length == 4:
            self._stream.read_exactly(4)
            # The peer may delete its instances after this answer.
            self._incoming.flush()
            self._stream.send(pdu.encode_release_response())
            return False
        if kind == pdu.ABORT:
            log.warning("a peer aborted its association")
            return False
        raise ProtocolError("an unexpected PDU")

    def _serve_data(self, length: int) -> None:
        """Read the presentation data values of one P-DATA-TF (PS3.8 annex E)."""
        while length:
            if length < 6:
                raise ProtocolError("a P-DATA-TF is truncated")
            size, context, control = struct.unpack(">IBB", self._stream.read_exactly(6))
            length -= 4 + size
            if size < 2 or length < 0:
                raise ProtocolError("a presentation data value is longer than its P-DATA-TF")
            if context not in self._chosen:
                raise ProtocolError("a message in a presentation context that was not accepted")
            if control & 1:
                self._read_command(context, size - 2, last=bool(control & 2))
            else:
                self._read_dataset(context, size - 2, last=bool(control & 2))

    def _read_command(self, context: int, size: int, last: bool) -> None:
        if self._command:
            self._refuse_without_dataset()
        if len(self._command_bytes) + size > MAX_COMMAND_BYTES:
            raise ProtocolError("a command set is too long")
        if self._command_bytes and context != self._context:
            raise ProtocolError("a command set that changes its presentation context")
        self._context = context
        self._command_bytes += self._stream.read_exactly(size)
        if not last:
            return
        command = command_set.parse_command_set(bytes(self._command_bytes))
        self._command_bytes.clear()
        if command.field == command_set.C_STORE:
            self._status = self._begin(command)
        elif command.field == command_set.C_ECHO:
            self._status = status.SUCCESS
        elif command.field == command_set.N_ACTION and self._may_commit():
            self._status = self._begin_commitment(command)
        else:
            self._status = status.UNRECOGNISED_OPERATION
        if command.has_dataset:
            self._command, self._dataset_begun = command, False
        elif command.field != command_set.C_CANCEL:
            self._answer(command)

    def _refuse_without_dataset(self) -> None:
        """Answer a request whose dataset did not come before the next command set."""
        if self._dataset_begun:
            raise ProtocolError("a command set within a dataset")
        command, self._command = self._command, None
        self._discard(status.CANNOT_UNDERSTAND)
        if command:
            log.warning("an instance refused: no dataset came with its request")
            self._answer(command)

    def _begin(self, command: CommandSet) -> int:
        """Start to write an instance; return the status so far."""
        if not command.has_dataset:
            return status.CANNOT_UNDERSTAND
        if not is_archived_uid(command.sop_uid):
            return status.INVALID_INSTANCE
        if not is_archived_uid(command.sop_class) or self._chosen[self._context] == VERIFICATION:
            return status.CANNOT_UNDERSTAND
        if not self._incoming.has_room():
            return status.OUT_OF_RESOURCES
        try:
            self._arrival = self._incoming.begin(
                command.sop_class, command.sop_uid, self._chosen[self._context]
            )
        except OSError as error:
            return self._cannot_write(error)
        return status.SUCCESS

    def _begin_commitment(self, command: CommandSet) -> int:
        """Check a request for storage commitment (PS3.4 J.3.2); return the status so far."""
        named = (self._abstract[self._context], command.sop_class, command.sop_uid)
        if named != (STORAGE_COMMITMENT, STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE):
            return status.CLASS_INSTANCE_CONFLICT
        if command.action != REQUEST_COMMITMENT:
            return status.NO_SUCH_ACTION
        if not command.has_dataset:
            return status.MISSING_ATTRIBUTE
        self._request = bytearray()
        return status.SUCCESS

    def _keep_commitment(self) -> None:
        """Keep the request that has arrived; set the status of its response."""
        request, self._request = self._request, None
        if request is None or self._commitments is None:
            return
        try:
            self._incoming.flush()  # what is to be committed is on disk first
            self._commitments.add(self._calling, bytes(request), self._chosen[self._context])
        except InvalidInstanceError as error:
            log.warning("a request for storage commitment refused: %s", error)
            self._status = status.INVALID_ATTRIBUTE_VALUE
        except OSError as error:
            log.error("a request for storage commitment cannot be kept: errno %s", error.errno)
            self._status = status.PROCESSING_FAILURE

    def _cannot_write(self, error: OSError) -> int:
        log.error("cannot write a received instance: errno %s", error.errno)
        return status.OUT_OF_RESOURCES

    def _read_dataset(self, context: int, size: int, last: bool) -> None:
        if not self._command or context != self._context:
            raise ProtocolError("a dataset without its command set")
        self._dataset_begun = True
        for piece in self._stream.read_pieces(size):
            if self._request is not None:
                self._request += piece
                if len(self._request) > MOST_REQUEST:
                    raise ProtocolError("a request for storage commitment is too long")
            if self._arrival:
                try:
                    self._arrival.write(piece)
                except OSError as error:
                    self._discard(self._cannot_write(error))
        if not last:
            return
        if self._arrival:
            try:
                self._incoming.finish(self._arrival)
                self._arrival = None
                self.stored += 1
            except InstanceMismatchError as error:
                log.warning("an instance refused: %s", error)
                self._discard(status.DOES_NOT_MATCH_SOP_CLASS)
            except InvalidInstanceError as error:
                log.warning("an instance refused: %s", error)
                self._discard(status.CANNOT_UNDERSTAND)
            except OSError as error:
                self._discard(self._cannot_write(error))
        self._keep_commitment()
        command, self._command = self._command, None
        self._answer(command)

    def _discard(self, code: int) -> None:
        """Discard the instance that is being written, and set the status of its response."""
        if self._arrival:
            self._arrival.discard()
        self._arrival = None
        self._status = code

    def _answer(self, command: CommandSet) -> None:
        self._stream.send(command_set.encode_response(self._context, command, self._status))
