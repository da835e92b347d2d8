"""Protocol data units of the DICOM upper layer: parse and encode (PS3.8 section 9.3)."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from pacsgrid.dimse.exceptions import ProtocolError
from pacsgrid.dimse.stream import Stream

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ = 1, 2, 3
P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = 4, 5, 6, 7

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
IMPLEMENTATION_UID = "2.25.247114571690436208541329467013187351121"
IMPLEMENTATION_NAME = "PACSGRID"

# Result, source and reason of an A-ASSOCIATE-RJ (PS3.8 section 9.3.4).
CALLING_TITLE_UNKNOWN = (1, 1, 3)
CALLED_TITLE_UNKNOWN = (1, 1, 7)
CONTEXT_NAME_UNSUPPORTED = (1, 1, 2)
VERSION_UNSUPPORTED = (1, 2, 2)
TEMPORARY_CONGESTION = (2, 3, 1)
LOCAL_LIMIT_EXCEEDED = (2, 3, 2)

MAX_ASSOCIATE_BYTES = 1 << 20  # 128 contexts of long UIDs fit
_MAX_TRANSFER_SYNTAXES = 256  # of one context
_MAX_ROLES = 1024  # of one request


@dataclass(frozen=True)
class ProposedContext:
    """One presentation context of a request (PS3.8 section 9.3.2.2).

    Attributes
    ----------
    number
        Presentation context ID, odd, 1 to 255.
    abstract_syntax
        SOP class UID.
    transfer_syntaxes
        Transfer syntax UIDs, in the order of the request.
    """

    number: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True)
class AssociateRequest:
    """The parts of an A-ASSOCIATE-RQ that an acceptor needs (PS3.8 section 9.3.2).

    Attributes
    ----------
    called, calling
        AE titles.
    max_pdu
        The largest P-DATA-TF that the peer takes, in bytes; 0 for no limit.
    roles
        By SOP class, whether the peer proposes to be SCU and SCP (PS3.7 section D.3.3.4).
    """

    called: str
    calling: str
    application_context: str
    contexts: tuple[ProposedContext, ...]
    max_pdu: int = 0
    version: int = 1
    roles: Mapping[str, tuple[bool, bool]] = field(default_factory=dict)

    def reason_to_reject(self, ae_title: str) -> tuple[int, int, int] | None:
        """Return why a node of this AE title must reject the request, None if it need not.

        Returns
        -------
        tuple of int or None
            Result, source and reason of the A-ASSOCIATE-RJ (PS3.8 section 9.3.4).
        """
        if not self.version & 1:
            return VERSION_UNSUPPORTED
        if self.application_context != APPLICATION_CONTEXT:
            return CONTEXT_NAME_UNSUPPORTED
        if self.called != ae_title:
            return CALLED_TITLE_UNKNOWN
        return None


@dataclass(frozen=True)
class AssociateAccept:
    """The parts of an A-ASSOCIATE-AC that a requestor needs (PS3.8 section 9.3.3).

    Attributes
    ----------
    syntaxes
        Transfer syntax of each accepted presentation context, by context ID.
    max_pdu
        The largest P-DATA-TF that the peer takes, in bytes; 0 for no limit.
    """

    syntaxes: Mapping[int, str]
    max_pdu: int


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        if at + 4 > len(data):
            raise ProtocolError("an item of an A-ASSOCIATE PDU is truncated")
        kind, length = data[at], struct.unpack_from(">H", data, at + 2)[0]
        if at + 4 + length > len(data):
            raise ProtocolError("an item of an A-ASSOCIATE PDU is longer than its parent")
        yield kind, data[at + 4 : at + 4 + length]
        at += 4 + length


def _decode_uid(data: bytes) -> str:
    return data.decode("ascii", "replace").strip("\0 ")


def receive_request(stream: Stream) -> AssociateRequest:
    """Read the A-ASSOCIATE-RQ that a connection starts with.

    Raises
    ------
    ProtocolError
        Something else was sent.
    ConnectionLostError
        The connection ended or timed out before.
    """
    kind, length = struct.unpack(">BxI", stream.read_exactly(6))
    if kind != ASSOCIATE_RQ or length > MAX_ASSOCIATE_BYTES:
        raise ProtocolError("the connection does not start with an A-ASSOCIATE-RQ")
    return parse_request(stream.read_exactly(length))


def parse_request(data: bytes) -> AssociateRequest:
    """Parse the body of an A-ASSOCIATE-RQ (PS3.8 section 9.3.2).

    Raises
    ------
    ProtocolError
        It is malformed, or proposes more than the limits of this module.
    """
    if len(data) < 68:
        raise ProtocolError("an A-ASSOCIATE-RQ is too short")
    (version,) = struct.unpack_from(">H", data, 0)
    called = data[4:20].decode("ascii", "replace").strip("\0 ")
    calling = data[20:36].decode("ascii", "replace").strip("\0 ")
    application, max_pdu = "", 0
    contexts: dict[int, ProposedContext] = {}
    roles: dict[str, tuple[bool, bool]] = {}
    for kind, body in _items(data[68:]):
        if kind == 0x10:
            application = _decode_uid(body)
        elif kind == 0x20:
            if len(body) < 4 or not body[0] % 2:
                raise ProtocolError("a presentation context has no valid ID")
            parts = list(islice(_items(body[4:]), _MAX_TRANSFER_SYNTAXES + 2))
            if len(parts) > _MAX_TRANSFER_SYNTAXES + 1:
                raise ProtocolError("a presentation context proposes too many transfer syntaxes")
            abstract = next((_decode_uid(part) for sub, part in parts if sub == 0x30), "")
            transfers = tuple(_decode_uid(part) for sub, part in parts if sub == 0x40)
            contexts[body[0]] = ProposedContext(body[0], abstract, transfers)
        elif kind == 0x50:
            for sub, part in _items(body):
                if sub == 0x51 and len(part) == 4:
                    (max_pdu,) = struct.unpack(">I", part)
                elif sub == 0x54 and len(part) >= 4:
                    roles[_decode_uid(part[2:-2])] = bool(part[-2]), bool(part[-1])
                    if len(roles) > _MAX_ROLES:
                        raise ProtocolError("an A-ASSOCIATE-RQ proposes too many roles")
    proposed = tuple(contexts.values())
    return AssociateRequest(called, calling, application, proposed, max_pdu, version, roles)


def parse_accept(data: bytes) -> AssociateAccept:
    """Parse the body of an A-ASSOCIATE-AC (PS3.8 section 9.3.3).

    Raises
    ------
    ProtocolError
        It is malformed.
    """
    if len(data) < 68:
        raise ProtocolError("an A-ASSOCIATE-AC is too short")
    syntaxes: dict[int, str] = {}
    max_pdu = 0
    for kind, body in _items(data[68:]):
        if kind == 0x21 and len(body) >= 4:
            if body[2] == 0:
                parts = _items(body[4:])
                syntaxes[body[0]] = next(
                    (_decode_uid(part) for sub, part in parts if sub == 0x40), ""
                )
        elif kind == 0x50:
            for sub, part in _items(body):
                if sub == 0x51 and len(part) == 4:
                    (max_pdu,) = struct.unpack(">I", part)
    return AssociateAccept({number: uid for number, uid in syntaxes.items() if uid}, max_pdu)


def _titles(called: str, calling: str) -> bytes:
    titles = (one.encode("ascii", "replace").ljust(16)[:16] for one in (called, calling))
    return struct.pack(">H2x", 1) + b"".join(titles) + bytes(32)


def _user_information(max_pdu: int, more_items: bytes = b"") -> bytes:
    user = _item(0x51, struct.pack(">I", max_pdu)) + _item(0x52, IMPLEMENTATION_UID.encode())
    return _item(0x50, user + more_items + _item(0x55, IMPLEMENTATION_NAME.encode()))


def encode_request(
    called: str,
    calling: str,
    contexts: Iterable[ProposedContext],
    max_pdu: int,
    user_items: bytes = b"",
) -> bytes:
    """Encode an A-ASSOCIATE-RQ (PS3.8 section 9.3.2).

    Parameters
    ----------
    called, calling
        AE titles, 16 characters at most.
    contexts
        The presentation contexts to propose.
    max_pdu
        The largest P-DATA-TF that this side takes, in bytes.
    user_items
        Encoded items to add to the user information, see `encode_role`.

    Returns
    -------
    bytes
        The whole PDU.
    """
    body = _titles(called, calling) + _item(0x10, APPLICATION_CONTEXT.encode())
    for one in contexts:
        sub = _item(0x30, one.abstract_syntax.encode("ascii", "replace"))
        for uid in one.transfer_syntaxes:
            sub += _item(0x40, uid.encode("ascii", "replace"))
        body += _item(0x20, struct.pack("B3x", one.number) + sub)
    return encode_pdu(ASSOCIATE_RQ, body + _user_information(max_pdu, user_items))


def encode_role(sop_class: str, scu: bool, scp: bool) -> bytes:
    """Encode an SCP/SCU role selection item.

    Parameters
    ----------
    sop_class
        The SOP class UID that the roles are for.
    scu, scp
        Whether the requestor acts as SCU, and as SCP (PS3.7 section D.3.3.4).

    Returns
    -------
    bytes
        The item, for the user information.
    """
    name = sop_class.encode("ascii", "replace")
    return _item(0x54, struct.pack(">H", len(name)) + name + bytes((scu, scp)))


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(body)) + body


def encode_pdu(kind: int, body: bytes) -> bytes:
    """Encode a PDU.

    Parameters
    ----------
    kind
        PDU type (PS3.8 section 9.3), see the constants of this module.
    body
        What follows the PDU length.

    Returns
    -------
    bytes
        The PDU with its header.
    """
    return struct.pack(">BxI", kind, len(body)) + body


def encode_accept(
    request: AssociateRequest,
    chosen: Mapping[int, str],
    refused: Mapping[int, int],
    max_pdu: int,
    roles: Mapping[str, tuple[bool, bool]] | None = None,
) -> bytes:
    """Encode the A-ASSOCIATE-AC that answers a request (PS3.8 section 9.3.3).

    Parameters
    ----------
    request
        The request.
    chosen
        Transfer syntax UID of each accepted context, by context ID.
    refused
        Reason of each refused context, by context ID (PS3.8 section 9.3.3.2).
    max_pdu
        The largest P-DATA-TF that this side takes, in bytes.
    roles
        Answers to role selection, by SOP class: whether the peer is SCU and SCP.

    Returns
    -------
    bytes
        The whole PDU.
    """
    body = _titles(request.called, request.calling)
    body += _item(0x10, APPLICATION_CONTEXT.encode())
    for context in request.contexts:
        number = context.number
        # A refused context's syntax has no meaning, but some peers expect one.
        proposed = next(iter(context.transfer_syntaxes), "1.2.840.10008.1.2")
        syntax = chosen.get(number) or proposed
        sub = _item(0x40, syntax.encode("ascii", "replace"))
        body += _item(0x21, struct.pack("BxBx", number, refused.get(number, 0)) + sub)
    more = b""
    for uid, (scu, scp) in (roles or {}).items():
        more += encode_role(uid, scu, scp)
    return encode_pdu(ASSOCIATE_AC, body + _user_information(max_pdu, more))


def encode_reject(result: int, source: int, reason: int) -> bytes:
    """Encode an A-ASSOCIATE-RJ.

    Parameters
    ----------
    result, source, reason
        Its fields (PS3.8 section 9.3.4), see the constants of this module.

    Returns
    -------
    bytes
        The PDU.
    """
    return encode_pdu(ASSOCIATE_RJ, bytes((0, result, source, reason)))


def encode_abort(reason: int) -> bytes:
    """Encode an A-ABORT of the service provider (PS3.8 section 9.3.8)."""
    return encode_pdu(ABORT, bytes((0, 0, 2, reason)))


def encode_release_request() -> bytes:
    """Encode an A-RELEASE-RQ (PS3.8 section 9.3.6)."""
    return encode_pdu(RELEASE_RQ, bytes(4))


def encode_release_response() -> bytes:
    """Encode an A-RELEASE-RP (PS3.8 section 9.3.7)."""
    return encode_pdu(RELEASE_RP, bytes(4))
