"""The upper layer protocol: PDUs from a socket, within limits (PS3.8 section 9)."""

from __future__ import annotations

import select
import socket
import ssl
import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice

from pacsgrid.pacs.part10 import IMPLEMENTATION_NAME, IMPLEMENTATION_UID

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ = 1, 2, 3
P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = 4, 5, 6, 7
APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
BUSY = (2, 3, 2)  # transient, presentation, local limit exceeded (PS3.8 9.3.4)

MOST_ASSOCIATE = 1 << 20  # bytes of an A-ASSOCIATE-RQ; 128 contexts of long UIDs fit
LEAST_RATE = 1024  # bytes a second that a peer must send or take within a message
_MOST_TRANSFERS, _MOST_ROLES = 256, 1024  # of a context, of a request
_BUFFER = 1 << 18
_CLOSE_SECONDS = 2.0


class ProtocolError(Exception):
    """The peer does not keep to the protocol; the association is aborted."""


class Gone(Exception):
    """The peer went away or fell silent."""


class Silent(Gone):
    """The peer is there, but sends or takes nothing, or so little that it only holds its place."""


@dataclass(frozen=True)
class Proposed:
    """One presentation context as proposed (PS3.8 9.3.2.2)."""

    number: int
    abstract: str
    transfers: tuple[str, ...]


@dataclass(frozen=True)
class Request:
    """What matters of an A-ASSOCIATE-RQ.

    ``roles`` are, by SOP class, whether the peer would be SCU and SCP (PS3.7 D.3.3.4).
    """

    called: str
    calling: str
    application_context: str
    contexts: tuple[Proposed, ...]
    max_pdu: int = 0
    version: int = 1
    roles: Mapping[str, tuple[bool, bool]] = field(default_factory=dict)

    def refusal(self, ae_title: str) -> tuple[int, int, int] | None:
        """Say why a node of this AE title rejects it: result, source, reason (PS3.8 9.3.4)."""
        if not self.version & 1:
            return 1, 2, 2
        if self.application_context != APPLICATION_CONTEXT:
            return 1, 1, 2
        if self.called != ae_title:
            return 1, 1, 7
        return None


@dataclass(frozen=True)
class Accepted:
    """What matters of an A-ASSOCIATE-AC: the syntax of each context that was accepted."""

    syntaxes: Mapping[int, str]
    max_pdu: int


class Stream:
    """Bytes of a connection; what arrived is given as views that the next read makes invalid."""

    def __init__(self, connection: socket.socket, idle_seconds: float) -> None:
        self._socket = connection
        self.wait(idle_seconds)
        self.rest()
        self._buffer = bytearray(_BUFFER)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0
        # A sender that waits for its last bytes to be acknowledged, as DCMTK by its defaults
        # does, would wait 40 ms for each instance.
        self._acknowledge = hasattr(socket, "TCP_QUICKACK") and connection.family in (
            socket.AF_INET,
            socket.AF_INET6,
        )

    def wait(self, idle_seconds: float) -> None:
        """Set how long to wait for bytes, and for the peer to take some."""
        self._patience = idle_seconds
        if isinstance(self._socket, ssl.SSLSocket):
            self._socket.settimeout(idle_seconds)
        else:  # the kernel keeps the time: Python's way is a poll before every call
            self._socket.settimeout(None)
            limit = struct.pack("ll", int(idle_seconds), int(idle_seconds % 1 * 1_000_000))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

    def ready(self, seconds: float) -> bool:
        """Wait for bytes; False when none came in time."""
        if self._end > self._start:
            return True
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return True
        return bool(select.select([self._socket], [], [], seconds)[0])

    def rest(self) -> None:
        """Say that a message ends here: until the next one begins a peer may be silent."""
        self._within = False
        self._waited, self._moved = 0.0, 0

    def _read(self) -> None:
        if self._start == self._end:
            self._start = self._end = 0
        elif self._end == len(self._buffer):
            rest = bytes(self._view[self._start : self._end])
            self._view[: len(rest)] = rest
            self._start, self._end = 0, len(rest)
        began = time.monotonic()
        try:
            count = self._socket.recv_into(self._view[self._end :])
            if self._acknowledge:
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        except (TimeoutError, BlockingIOError):
            raise Silent("the peer fell silent") from None
        except OSError:
            raise Gone from None
        if not count:
            raise Gone
        self._end += count
        if self._within:
            self._waited += time.monotonic() - began
            self._moved += count
            self._insist(self._waited, self._moved)
        self._within = True

    def _insist(self, waited: float, moved: int) -> None:
        """Raise Silent when the peer does not get on: a byte now and then is no message."""
        if waited > self._patience and moved < waited * LEAST_RATE:
            raise Silent("the peer is too slow")

    def exactly(self, size: int) -> bytes:
        """Take bytes, all at once."""
        if size <= len(self._buffer) // 2:
            while self._end - self._start < size:
                self._read()
            self._start += size
            return bytes(self._view[self._start - size : self._start])
        return b"".join(bytes(piece) for piece in self.pieces(size))

    def pieces(self, size: int) -> Iterator[memoryview]:
        """Take many bytes, as they come."""
        while size:
            if self._start == self._end:
                self._read()
            end = min(self._end, self._start + size)
            piece = self._view[self._start : end]
            size -= end - self._start
            self._start = end
            yield piece

    def send(self, data: bytes) -> None:
        """Send all; raises Gone when the peer does not take it."""
        rest, waited = memoryview(data), 0.0
        while rest:
            began = time.monotonic()
            try:
                count = self._socket.send(rest)
            except (TimeoutError, BlockingIOError):
                raise Silent("the peer takes nothing") from None
            except OSError:
                raise Gone from None
            rest = rest[count:]
            waited += time.monotonic() - began
            self._insist(waited, len(data) - len(rest))

    def end(self, data: bytes) -> None:
        """Send what ends the association, and let the peer close the connection (PS3.8 9.2.3).

        One that finds it closed may look no further for what was sent last.
        """
        self.send(data)
        with suppress(OSError, ValueError):
            if not isinstance(self._socket, ssl.SSLSocket):
                self._socket.shutdown(socket.SHUT_WR)
            until = time.monotonic() + _CLOSE_SECONDS
            while (left := until - time.monotonic()) > 0:
                if not select.select([self._socket], [], [], left)[0]:
                    return
                if not self._socket.recv(len(self._buffer)):
                    return


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        if at + 4 > len(data):
            raise ProtocolError("an item is cut")
        kind, length = data[at], struct.unpack_from(">H", data, at + 2)[0]
        if at + 4 + length > len(data):
            raise ProtocolError("an item is longer than what holds it")
        yield kind, data[at + 4 : at + 4 + length]
        at += 4 + length


def _uid(data: bytes) -> str:
    return data.decode("ascii", "replace").strip("\0 ")


def receive_request(stream: Stream) -> Request:
    """Take the A-ASSOCIATE-RQ that a connection starts with; raises ProtocolError, Gone."""
    kind, length = struct.unpack(">BxI", stream.exactly(6))
    if kind != ASSOCIATE_RQ or length > MOST_ASSOCIATE:
        raise ProtocolError("no A-ASSOCIATE-RQ at the start")
    return parse_request(stream.exactly(length))


def parse_request(data: bytes) -> Request:
    """Parse the body of an A-ASSOCIATE-RQ (PS3.8 9.3.2); raises ProtocolError."""
    if len(data) < 68:
        raise ProtocolError("an A-ASSOCIATE-RQ is too short")
    (version,) = struct.unpack_from(">H", data, 0)
    called = data[4:20].decode("ascii", "replace").strip("\0 ")
    calling = data[20:36].decode("ascii", "replace").strip("\0 ")
    application, max_pdu = "", 0
    contexts: dict[int, Proposed] = {}
    roles: dict[str, tuple[bool, bool]] = {}
    for kind, body in _items(data[68:]):
        if kind == 0x10:
            application = _uid(body)
        elif kind == 0x20:
            if len(body) < 4 or not body[0] % 2:
                raise ProtocolError("a presentation context has no valid number")
            parts = list(islice(_items(body[4:]), _MOST_TRANSFERS + 2))
            if len(parts) > _MOST_TRANSFERS + 1:
                raise ProtocolError("a presentation context proposes too many syntaxes")
            abstract = next((_uid(part) for sub, part in parts if sub == 0x30), "")
            transfers = tuple(_uid(part) for sub, part in parts if sub == 0x40)
            contexts[body[0]] = Proposed(body[0], abstract, transfers)
        elif kind == 0x50:
            for sub, part in _items(body):
                if sub == 0x51 and len(part) == 4:
                    (max_pdu,) = struct.unpack(">I", part)
                elif sub == 0x54 and len(part) >= 4:
                    roles[_uid(part[2:-2])] = bool(part[-2]), bool(part[-1])
                    if len(roles) > _MOST_ROLES:
                        raise ProtocolError("too many roles are proposed")
    contexts_told = tuple(contexts.values())
    return Request(called, calling, application, contexts_told, max_pdu, version, roles)


def parse_accept(data: bytes) -> Accepted:
    """Parse the body of an A-ASSOCIATE-AC (PS3.8 9.3.3); raises ProtocolError."""
    if len(data) < 68:
        raise ProtocolError("an A-ASSOCIATE-AC is too short")
    syntaxes: dict[int, str] = {}
    max_pdu = 0
    for kind, body in _items(data[68:]):
        if kind == 0x21 and len(body) >= 4:
            if body[2] == 0:
                parts = _items(body[4:])
                syntaxes[body[0]] = next((_uid(part) for sub, part in parts if sub == 0x40), "")
        elif kind == 0x50:
            for sub, part in _items(body):
                if sub == 0x51 and len(part) == 4:
                    (max_pdu,) = struct.unpack(">I", part)
    return Accepted({number: uid for number, uid in syntaxes.items() if uid}, max_pdu)


def _titles(called: str, calling: str) -> bytes:
    titles = (one.encode("ascii", "replace").ljust(16)[:16] for one in (called, calling))
    return struct.pack(">H2x", 1) + b"".join(titles) + bytes(32)


def _user(most: int, more: bytes = b"") -> bytes:
    user = _item(0x51, struct.pack(">I", most)) + _item(0x52, IMPLEMENTATION_UID.encode())
    return _item(0x50, user + more + _item(0x55, IMPLEMENTATION_NAME.encode()))


def request(
    called: str, calling: str, contexts: Iterable[Proposed], most: int, more: bytes = b""
) -> bytes:
    """Give the A-ASSOCIATE-RQ (PS3.8 9.3.2); `more` are user items beside the usual ones."""
    body = _titles(called, calling) + _item(0x10, APPLICATION_CONTEXT.encode())
    for one in contexts:
        sub = _item(0x30, one.abstract.encode("ascii", "replace"))
        sub += b"".join(_item(0x40, uid.encode("ascii", "replace")) for uid in one.transfers)
        body += _item(0x20, struct.pack("B3x", one.number) + sub)
    return pdu(ASSOCIATE_RQ, body + _user(most, more))


def role(sop_class: str, scu: bool, scp: bool) -> bytes:
    """Give the user item of the roles for a SOP class (PS3.7 D.3.3.4)."""
    name = sop_class.encode("ascii", "replace")
    return _item(0x54, struct.pack(">H", len(name)) + name + bytes((scu, scp)))


def user_identity(user: str, password: str) -> bytes:
    """Give the user item for a user name and passcode, without a wish for an answer to it.

    PS3.7 D.3.3.7. Asked for, an answer may be missed by peers that take the identity but know no
    answer.
    """
    parts = (user.encode(), password.encode())
    body = b"".join(struct.pack(">H", len(one)) + one for one in parts)
    return _item(0x58, bytes((2 if password else 1, 0)) + body)


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(body)) + body


def pdu(kind: int, body: bytes) -> bytes:
    """Give a PDU."""
    return struct.pack(">BxI", kind, len(body)) + body


def accept(
    request: Request,
    chosen: Mapping[int, str],
    refused: Mapping[int, int],
    most: int,
    roles: Mapping[str, tuple[bool, bool]] | None = None,
) -> bytes:
    """Give the A-ASSOCIATE-AC (PS3.8 9.3.3): transfer syntax or reason of refusal by context."""
    body = _titles(request.called, request.calling)
    body += _item(0x10, APPLICATION_CONTEXT.encode())
    for context in request.contexts:
        reason = refused.get(context.number, 0)
        # Where it is refused the syntax has no meaning, but some peers want one to be there.
        syntax = chosen.get(context.number) or next(iter(context.transfers), "1.2.840.10008.1.2")
        sub = _item(0x40, syntax.encode("ascii", "replace"))
        body += _item(0x21, struct.pack("BxBx", context.number, reason) + sub)
    more = b""
    for uid, (scu, scp) in (roles or {}).items():
        more += role(uid, scu, scp)
    return pdu(ASSOCIATE_AC, body + _user(most, more))


def reject(result: int, source: int, reason: int) -> bytes:
    """Give the A-ASSOCIATE-RJ (PS3.8 9.3.4)."""
    return pdu(ASSOCIATE_RJ, bytes((0, result, source, reason)))


def abort(reason: int) -> bytes:
    """Give the A-ABORT of the service provider (PS3.8 9.3.8)."""
    return pdu(ABORT, bytes((0, 0, 2, reason)))
