"""The native protocol of iCommands: structures in binary instead of XML.

A client with ``irodsProt`` 0 in its startup message sends and expects structures packed by pack
instructions: numbers big-endian, strings ended by NUL, absent pointers as a marker string. The
server works with XML, so requests and replies are converted.
"""

from __future__ import annotations

import base64
import binascii
import struct

from .error_codes import ErrorCode
from .errors import IrodsError
from .pack_instructions import STRUCTURES
from .xml_structures import Node, escape, parse

NULL_POINTER = b"%@#ANULLSTR$%"
_UNPACK_ERROR = ErrorCode.SYS_PACK_INSTRUCT_FORMAT_ERR


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def number(self, kind: str) -> int:
        form = ">i" if kind == "int" else ">q"
        try:
            (value,) = struct.unpack_from(form, self.data, self.at)
        except struct.error:
            raise IrodsError(_UNPACK_ERROR, "message too short") from None
        self.at += struct.calcsize(form)
        return int(value)

    def text(self) -> bytes:
        end = self.data.find(b"\0", self.at)
        if end < 0:
            raise IrodsError(_UNPACK_ERROR, "string without end")
        text = self.data[self.at : end]
        self.at = end + 1
        return text

    def absent(self) -> bool:
        if not self.data.startswith(NULL_POINTER + b"\0", self.at):
            return False
        self.at += len(NULL_POINTER) + 1
        return True

    def raw(self, size: int) -> bytes:
        if not 0 <= size <= len(self.data) - self.at:
            raise IrodsError(_UNPACK_ERROR, "message too short")
        self.at += size
        return self.data[self.at - size : self.at]


def _length(size: str, known: dict[str, int]) -> int:
    count = int(size) if size.isdigit() else known.get(size, 0)
    if not 0 <= count <= 1_000_000:
        raise IrodsError(_UNPACK_ERROR, f"{size} is {count}")
    return count


def _unpack(name: str, src: _Reader, outer: dict[str, int]) -> str:
    known, out = dict(outer), []
    for m in STRUCTURES[name]:
        count = _length(m.size, known) if m.size else 1
        if m.pointer and src.absent():
            continue
        if m.kind == "bin":
            value = base64.b64encode(src.raw(count)).decode()
            out.append(f"<{m.name}>{value}</{m.name}>")
            continue
        for _ in range(count):
            if m.kind == "struct":
                out.append(_unpack(m.name, src, known))
            elif m.kind == "str":
                text = src.text().decode("utf-8", "surrogateescape")
                out.append(f"<{m.name}>{escape(text)}</{m.name}>")
            else:
                known[m.name] = src.number(m.kind)
                out.append(f"<{m.name}>{known[m.name]}</{m.name}>")
    return f"<{name}>{''.join(out)}</{name}>"


def to_xml(name: str, data: bytes) -> bytes:
    """Convert a packed structure to XML.

    Parameters
    ----------
    name : str
        Name of the structure.
    data : bytes
        The packed structure.

    Returns
    -------
    bytes
        The structure in XML.

    Raises
    ------
    IrodsError
        SYS_PACK_INSTRUCT_FORMAT_ERR: the bytes are not such a structure.
    """
    src = _Reader(data)
    text = _unpack(name, src, {})
    if src.data[src.at :].strip(b"\0"):
        raise IrodsError(_UNPACK_ERROR, f"bytes left after {name}")
    return text.encode("utf-8", "surrogateescape")


def _pack(name: str, node: Node, outer: dict[str, int]) -> bytes:
    known, out = dict(outer), bytearray()
    at: dict[str, int] = {}
    for m in STRUCTURES[name]:
        count = _length(m.size, known) if m.size else 1
        first = at.get(m.name, 0)
        given = [c for c in node.children if c.tag == m.name][first : first + count]
        at[m.name] = first + count
        if m.pointer and (not given or (m.size and count == 0)):
            out += NULL_POINTER + b"\0"
        elif m.kind == "bin":
            out += _binary(given[0].text, count)
        else:
            for i in range(count):
                child = given[i] if i < len(given) else Node(m.name)
                if m.kind == "struct":
                    out += _pack(m.name, child, known)
                elif m.kind == "str":
                    out += child.text.encode("utf-8", "surrogateescape") + b"\0"
                else:
                    known[m.name] = int(child.text or 0)
                    out += struct.pack(">i" if m.kind == "int" else ">q", known[m.name])
    return bytes(out)


def _binary(text: str, size: int) -> bytes:
    try:
        data = base64.b64decode(text)
    except binascii.Error:
        raise IrodsError(_UNPACK_ERROR, "bad base64") from None
    return data[:size].ljust(size, b"\0")


def from_xml(body: bytes) -> bytes:
    """Pack a structure for a native client; an empty body stays empty."""
    if not body:
        return b""
    node = parse(body)
    return _pack(node.tag, node, {})
