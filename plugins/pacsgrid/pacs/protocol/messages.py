"""DIMSE command sets, the few a storage SCP knows (PS3.7 sections 6.3 and 9.3)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from pacsgrid.pacs.protocol.wire import P_DATA, ProtocolError, pdu

C_STORE_RQ, C_ECHO_RQ, C_CANCEL_RQ = 0x0001, 0x0030, 0x0FFF
NO_DATASET = 0x0101

SUCCESS = 0x0000
INVALID_INSTANCE = 0x0117
UNRECOGNISED = 0x0211
OUT_OF_RESOURCES = 0xA700
DOES_NOT_MATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000


@dataclass(frozen=True)
class Command:
    """A request's command set."""

    field: int
    message: int
    sop_class: str
    sop_uid: str
    has_dataset: bool


def elements(data: bytes) -> dict[int, bytes]:
    """Give a command set's values by element, always implicit VR little endian.

    Raises
    ------
    ProtocolError
        It is cut, or holds what is no command element.
    """
    values: dict[int, bytes] = {}
    at = 0
    while at < len(data):
        if at + 8 > len(data):
            raise ProtocolError("a command is cut")
        group, number, length = struct.unpack_from("<HHI", data, at)
        if group != 0 or at + 8 + length > len(data):
            raise ProtocolError("a command holds what is no command element")
        values[number] = data[at + 8 : at + 8 + length]
        at += 8 + length
    return values


def parse(data: bytes) -> Command:
    """Parse a request's command set; raises ProtocolError."""
    values = elements(data)

    def number(element: int) -> int:
        value = values.get(element, b"")
        if len(value) != 2:
            raise ProtocolError("a command lacks a number it must have")
        return int.from_bytes(value, "little")

    def text(element: int) -> str:
        return values.get(element, b"").decode("ascii", "replace").strip("\0 ")

    field = number(0x0100)
    message = number(0x0120 if field == C_CANCEL_RQ else 0x0110)
    return Command(field, message, text(0x0002), text(0x1000), number(0x0800) != NO_DATASET)


def element(number: int, value: bytes) -> bytes:
    """Encode one element of a command set."""
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HHI", 0, number, len(value)) + value


def response(context: int, command: Command, status: int) -> bytes:
    """Give the response to a request, as one P-DATA-TF."""
    body = b""
    if command.sop_class:
        body += element(0x0002, command.sop_class.encode("ascii", "replace"))
    body += element(0x0100, struct.pack("<H", command.field | 0x8000))
    body += element(0x0120, struct.pack("<H", command.message))
    body += element(0x0800, struct.pack("<H", NO_DATASET))
    body += element(0x0900, struct.pack("<H", status))
    if command.sop_uid:
        body += element(0x1000, command.sop_uid.encode("ascii", "replace"))
    body = element(0x0000, struct.pack("<I", len(body))) + body
    return pdu(P_DATA, struct.pack(">IBB", len(body) + 2, context, 3) + body)
