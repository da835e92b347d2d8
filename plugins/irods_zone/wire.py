"""Messages of the iRODS XML protocol: framing, parsing and packing."""

from __future__ import annotations

import re
import socket
import struct
from dataclasses import dataclass, field
from html import unescape
from xml.etree import ElementTree

from . import codes

MAX_HEADER = 4096
MAX_BODY = 1 << 28
RELEASE = "rods5.0.2"  # the release whose behaviour is copied
PROGRESS = 99999996  # SYS_SVR_TO_CLI_COLL_STAT: the status of a report between request and reply
PROGRESS_SEEN = struct.pack(">i", 99999997)  # SYS_CLI_TO_SVR_COLL_STAT_REPLY, sent without frame

_HEADER = re.compile(
    rb"<type>([^<]*)</type>\s*<msgLen>(-?\d+)</msgLen>\s*<errorLen>(-?\d+)</errorLen>"
    rb"\s*<bsLen>(-?\d+)</bsLen>\s*<intInfo>(-?\d+)</intInfo>"
)


class IrodsError(Exception):
    """An error that goes to the client with iRODS's own code.

    ``tell`` sends the message along with the code; ``body`` is what some APIs answer besides.
    """

    def __init__(self, code: int, message: str = "", tell: bool = False, body: bytes = b"") -> None:
        super().__init__(message or str(code))
        self.code = code
        self.message = message
        self.tell = tell
        self.body = body

    def stack(self) -> bytes:
        """The RError_PI of a reply: what the client is told in words."""
        if not self.tell:
            return b""
        inner = pack("RErrMsg_PI", status=self.code, msg=self.message).decode()
        return f"<RError_PI>\n<count>1</count>\n{inner}</RError_PI>\n".encode()


class Disconnected(Exception):
    """The peer went away, or speaks something else."""


@dataclass
class Message:
    """One framed message."""

    type: str
    int_info: int = 0
    body: bytes = b""
    error: bytes = b""
    bs: bytes | bytearray = b""


def read_exact(sock: socket.socket, size: int) -> bytearray:
    """Read exactly size bytes."""
    buf = bytearray(size)
    view = memoryview(buf)
    got = 0
    while got < size:
        n = sock.recv_into(view[got:], size - got)
        if n == 0:
            raise Disconnected("end of stream")
        got += n
    return buf


@dataclass
class Header:
    """A message's header: its type, the lengths of body, error and byte stream, its number."""

    type: str
    lengths: tuple[int, int, int]
    int_info: int


def receive_header(sock: socket.socket) -> Header:
    """Read a header alone."""
    (size,) = struct.unpack(">i", read_exact(sock, 4))
    if not 0 < size <= MAX_HEADER:
        raise Disconnected("bad header length")
    found = _HEADER.search(bytes(read_exact(sock, size)))
    if not found:
        raise Disconnected("bad header")
    lengths = (int(found[2]), int(found[3]), int(found[4]))
    return Header(found[1].decode("latin1"), lengths, int(found[5]))


def receive(sock: socket.socket, limit: int = MAX_BODY) -> Message:
    """Read one message; raises `Disconnected` if one of its parts is longer than the limit."""
    head = receive_header(sock)
    if any(not 0 <= n <= limit for n in head.lengths):
        raise Disconnected("bad length")
    body, error, bs = (read_exact(sock, n) if n else bytearray() for n in head.lengths)
    return Message(head.type, head.int_info, bytes(body), bytes(error), bs)


def send(sock: socket.socket, msg: Message) -> None:
    """Write one message."""
    head = (
        f"<MsgHeader_PI><type>{msg.type}</type><msgLen>{len(msg.body)}</msgLen>"
        f"<errorLen>{len(msg.error)}</errorLen><bsLen>{len(msg.bs)}</bsLen>"
        f"<intInfo>{msg.int_info}</intInfo></MsgHeader_PI>"
    ).encode()
    parts = struct.pack(">i", len(head)) + head + msg.body + msg.error
    if len(msg.bs) < 65536:
        sock.sendall(parts + msg.bs)
    else:
        sock.sendall(parts)
        sock.sendall(msg.bs)


def esc(value: object) -> str:
    """Escape a value for the XML protocol."""
    text = str(value)
    if "&" in text:
        text = text.replace("&", "&amp;")
    for raw, entity in (("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("'", "&apos;")):
        if raw in text:
            text = text.replace(raw, entity)
    return text


def pack(name: str, **fields: object) -> bytes:
    """Pack a flat structure."""
    inner = "".join(f"<{k}>{esc(v)}</{k}>\n" for k, v in fields.items())
    return f"<{name}>\n{inner}</{name}>\n".encode()


def parse(body: bytes) -> Node:
    """Parse a packed structure; falls back for characters that XML forbids."""
    try:
        return _node(ElementTree.fromstring(body))
    except ElementTree.ParseError:
        return _loose(body.decode("utf-8", "surrogateescape"))


@dataclass
class Node:
    """One element: text or children, repeated children kept in order."""

    tag: str
    text: str = ""
    children: list[Node] = field(default_factory=list)

    def get(self, tag: str, default: str = "") -> str:
        """Text of the first child with this tag."""
        for child in self.children:
            if child.tag == tag:
                return child.text
        return default

    def num(self, tag: str, default: int = 0) -> int:
        """Integer of the first child with this tag."""
        text = self.get(tag).strip()
        try:
            return int(text) if text else default
        except ValueError:
            raise IrodsError(codes.SYS_INVALID_INPUT_PARAM, f"{tag} is not a number") from None

    def child(self, tag: str) -> Node:
        """First child with this tag, or an empty one."""
        for child in self.children:
            if child.tag == tag:
                return child
        return Node(tag)

    def all(self, tag: str) -> list[str]:
        """Texts of all children with this tag."""
        return [c.text for c in self.children if c.tag == tag]

    def keywords(self) -> dict[str, str]:
        """The KeyValPair_PI of this structure."""
        pairs = self.child("KeyValPair_PI")
        return dict(zip(pairs.all("keyWord"), pairs.all("svalue"), strict=False))

    def xml(self) -> bytes:
        """This structure as a message of its own has it."""
        inside = b"".join(child.xml() for child in self.children) or esc(self.text).encode(
            "utf-8", "surrogateescape"
        )
        return b"<%b>%b</%b>" % (self.tag.encode(), inside, self.tag.encode())


def _node(element: ElementTree.Element) -> Node:
    return Node(element.tag, element.text or "", [_node(e) for e in element])


_TAG = re.compile(r"<(/?)([A-Za-z_][\w.]*)>")


def _loose(text: str) -> Node:
    root = Node("")
    stack = [root]
    at = 0
    for found in _TAG.finditer(text):
        if found[1]:
            if len(stack) < 2 or stack[-1].tag != found[2]:
                raise IrodsError(codes.SYS_PACK_INSTRUCT_FORMAT_ERR, "unbalanced message")
            node = stack.pop()
            if not node.children:
                node.text = unescape(text[at : found.start()])
        else:
            node = Node(found[2])
            stack[-1].children.append(node)
            stack.append(node)
        at = found.end()
    if not root.children:
        raise IrodsError(codes.SYS_PACK_INSTRUCT_FORMAT_ERR, "empty message")
    return root.children[0]
