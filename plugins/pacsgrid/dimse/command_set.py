"""DIMSE command sets: their elements, and how requests and responses are encoded (PS3.7 6.3, E.1).

Command sets are always encoded in implicit VR little endian.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from pacsgrid.dimse.exceptions import ProtocolError
from pacsgrid.dimse.pdu import P_DATA, encode_pdu

# Element numbers of group 0000.
AFFECTED_SOP_CLASS, COMMAND_FIELD, MESSAGE_ID, RESPONDED_TO = 0x0002, 0x0100, 0x0110, 0x0120
MOVE_DESTINATION, PRIORITY, DATASET_TYPE, STATUS = 0x0600, 0x0700, 0x0800, 0x0900
ERROR_COMMENT, AFFECTED_SOP_INSTANCE = 0x0902, 0x1000
REQUESTED_SOP_CLASS, REQUESTED_SOP_INSTANCE = 0x0003, 0x1001
EVENT_TYPE, ACTION_TYPE = 0x1002, 0x1008
REMAINING, COMPLETED, FAILED, WARNINGS = 0x1020, 0x1021, 0x1022, 0x1023
MOVE_ORIGINATOR, MOVE_ORIGINATOR_MESSAGE = 0x1030, 0x1031

# Values of the command field; a response has the request's, with RESPONSE set.
C_STORE, C_GET, C_FIND, C_MOVE, C_ECHO, C_CANCEL = 0x01, 0x10, 0x20, 0x21, 0x30, 0x0FFF
N_EVENT_REPORT, N_ACTION = 0x0100, 0x0130
RESPONSE = 0x8000

NO_DATASET = 0x0101
MAX_COMMAND_BYTES = 64 << 10

# Padded with a space, UIDs with a null.
_TEXTS = (MOVE_DESTINATION, MOVE_ORIGINATOR, ERROR_COMMENT)


@dataclass(frozen=True)
class CommandSet:
    """The parts of a request that a storage SCP needs.

    Attributes
    ----------
    field
        Command field (0000,0100): the kind of request.
    message_id
        Message ID (0000,0110); of a C-CANCEL, that of the request to cancel.
    sop_class, sop_uid
        Affected SOP class and instance UIDs, empty where there are none; of an N-ACTION, the
        requested ones.
    has_dataset
        Whether a dataset follows.
    action
        Action type ID of an N-ACTION.
    """

    field: int
    message_id: int
    sop_class: str
    sop_uid: str
    has_dataset: bool
    action: int = 0


def parse_elements(data: bytes) -> dict[int, bytes]:
    """Split a command set into its elements.

    Returns
    -------
    dict
        Values by element number of group 0000.

    Raises
    ------
    ProtocolError
        It is truncated, or holds an element of another group.
    """
    values: dict[int, bytes] = {}
    at = 0
    while at < len(data):
        if at + 8 > len(data):
            raise ProtocolError("a command set is truncated")
        group, number, length = struct.unpack_from("<HHI", data, at)
        if group != 0 or at + 8 + length > len(data):
            raise ProtocolError("a command set holds something that is no command element")
        values[number] = data[at + 8 : at + 8 + length]
        at += 8 + length
    return values


def number_of(values: Mapping[int, bytes], element: int) -> int:
    """Return an element's value as a number (VR US).

    Parameters
    ----------
    values
        A parsed command set.
    element
        Element number of group 0000.

    Raises
    ------
    ProtocolError
        The element is missing, or not two bytes long.
    """
    value = values.get(element, b"")
    if len(value) != 2:
        raise ProtocolError("a command set lacks a mandatory number")
    return int.from_bytes(value, "little")


def text_of(values: Mapping[int, bytes], element: int) -> str:
    """Return an element's value as a UID or AE title, empty if it is missing.

    Parameters
    ----------
    values
        A parsed command set.
    element
        Element number of group 0000.
    """
    return values.get(element, b"").decode("ascii", "replace").strip("\0 ")


def parse_command_set(data: bytes) -> CommandSet:
    """Parse the command set of a request.

    Raises
    ------
    ProtocolError
        It is malformed, or lacks a mandatory element.
    """
    values = parse_elements(data)
    field = number_of(values, COMMAND_FIELD)
    message_id = number_of(values, RESPONDED_TO if field == C_CANCEL else MESSAGE_ID)
    has_dataset = number_of(values, DATASET_TYPE) != NO_DATASET
    if field == N_ACTION:
        sop_class = text_of(values, REQUESTED_SOP_CLASS)
        instance, action = text_of(values, REQUESTED_SOP_INSTANCE), number_of(values, ACTION_TYPE)
        return CommandSet(field, message_id, sop_class, instance, has_dataset, action)
    sop_class = text_of(values, AFFECTED_SOP_CLASS)
    return CommandSet(
        field, message_id, sop_class, text_of(values, AFFECTED_SOP_INSTANCE), has_dataset
    )


def _element(number: int, value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HHI", 0, number, len(value)) + value


def encode_elements(values: Mapping[int, int | str]) -> bytes:
    """Encode a command set with its group length.

    Parameters
    ----------
    values
        Numbers (VR US), UIDs and AE titles by element number.

    Returns
    -------
    bytes
        The command set, elements in ascending order.
    """
    body = b"".join(_encode(number, values[number]) for number in sorted(values))
    return _with_group_length(body)


def _with_group_length(body: bytes) -> bytes:
    return _element(0, struct.pack("<I", len(body))) + body


def _encode(number: int, value: int | str) -> bytes:
    if isinstance(value, int):
        return _element(number, struct.pack("<H", value))
    data = value.encode("ascii", "replace")
    pad = b" " if number in _TEXTS else b"\0"
    return _element(number, data + pad * (len(data) % 2))


def encode_response(context: int, command: CommandSet, status: int) -> bytes:
    """Encode the response to a request, without a dataset, as one P-DATA-TF.

    Parameters
    ----------
    context
        The presentation context ID of the request.
    command
        The request.
    status
        Status (0000,0900), see `pacsgrid.dimse.status`.

    Returns
    -------
    bytes
        The whole PDU.
    """
    # In ascending order, and without a dictionary: this runs once for each received instance.
    body = _encode(AFFECTED_SOP_CLASS, command.sop_class) if command.sop_class else b""
    body += _encode(COMMAND_FIELD, command.field | RESPONSE)
    body += _encode(RESPONDED_TO, command.message_id)
    body += _encode(DATASET_TYPE, NO_DATASET)
    body += _encode(STATUS, status)
    if command.sop_uid:
        body += _encode(AFFECTED_SOP_INSTANCE, command.sop_uid)
    body = _with_group_length(body)
    return encode_pdu(P_DATA, struct.pack(">IBB", len(body) + 2, context, 3) + body)
