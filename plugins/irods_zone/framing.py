"""Framing of the iRODS protocol: a length, a header in XML, then body, error and byte stream."""

from __future__ import annotations

import re
import socket
import struct
from dataclasses import dataclass

from .errors import DisconnectedError

MAX_HEADER = 4096
MAX_BODY = 1 << 28
RELEASE = "rods5.0.2"  # the release whose behaviour this server copies
# A report between request and reply: SYS_SVR_TO_CLI_COLL_STAT, and the client's answer
# SYS_CLI_TO_SVR_COLL_STAT_REPLY, which is sent without a frame.
PROGRESS = 99999996
PROGRESS_SEEN = struct.pack(">i", 99999997)

_HEADER = re.compile(
    rb"<type>([^<]*)</type>\s*<msgLen>(-?\d+)</msgLen>\s*<errorLen>(-?\d+)</errorLen>"
    rb"\s*<bsLen>(-?\d+)</bsLen>\s*<intInfo>(-?\d+)</intInfo>"
)


@dataclass
class Message:
    """One framed message.

    Attributes
    ----------
    type : str
        ``RODS_API_REQ``, ``RODS_API_REPLY``, ``RODS_CONNECT`` and so on.
    int_info : int
        The API number of a request, the status of a reply.
    body, error : bytes
        Packed structures: input or output, and RError_PI.
    byte_stream : bytes or bytearray
        File content that travels with the message.
    """

    type: str
    int_info: int = 0
    body: bytes = b""
    error: bytes = b""
    byte_stream: bytes | bytearray = b""


@dataclass
class Header:
    """The header of a message: its type, the lengths of its three parts, its number."""

    type: str
    lengths: tuple[int, int, int]
    int_info: int


def read_exact(sock: socket.socket, size: int) -> bytearray:
    """Read exactly this many bytes.

    Parameters
    ----------
    sock : socket.socket
        The connection.
    size : int
        Number of bytes.

    Returns
    -------
    bytearray
        The bytes.

    Raises
    ------
    DisconnectedError
        The stream ends before.
    """
    buf = bytearray(size)
    view = memoryview(buf)
    got = 0
    while got < size:
        n = sock.recv_into(view[got:], size - got)
        if n == 0:
            raise DisconnectedError("end of stream")
        got += n
    return buf


def receive_header(sock: socket.socket) -> Header:
    """Read a header and nothing after it."""
    (size,) = struct.unpack(">i", read_exact(sock, 4))
    if not 0 < size <= MAX_HEADER:
        raise DisconnectedError("bad header length")
    found = _HEADER.search(bytes(read_exact(sock, size)))
    if not found:
        raise DisconnectedError("bad header")
    lengths = (int(found[2]), int(found[3]), int(found[4]))
    return Header(found[1].decode("latin1"), lengths, int(found[5]))


def receive(sock: socket.socket, limit: int = MAX_BODY) -> Message:
    """Read one message.

    Parameters
    ----------
    sock : socket.socket
        The connection.
    limit : int
        The most bytes that each part of the message may have.

    Returns
    -------
    Message
        The message.

    Raises
    ------
    DisconnectedError
        The stream ended, or what came is not a message within the limit.
    """
    head = receive_header(sock)
    if any(not 0 <= n <= limit for n in head.lengths):
        raise DisconnectedError("bad length")
    body, error, stream = (read_exact(sock, n) if n else bytearray() for n in head.lengths)
    return Message(head.type, head.int_info, bytes(body), bytes(error), stream)


def send(sock: socket.socket, message: Message) -> None:
    """Write one message.

    Parameters
    ----------
    sock : socket.socket
        The connection.
    message : Message
        What to send.
    """
    head = (
        f"<MsgHeader_PI><type>{message.type}</type><msgLen>{len(message.body)}</msgLen>"
        f"<errorLen>{len(message.error)}</errorLen><bsLen>{len(message.byte_stream)}</bsLen>"
        f"<intInfo>{message.int_info:d}</intInfo></MsgHeader_PI>"
    ).encode()
    parts = struct.pack(">i", len(head)) + head + message.body + message.error
    if len(message.byte_stream) < 65536:
        sock.sendall(parts + message.byte_stream)
    else:
        sock.sendall(parts)
        sock.sendall(message.byte_stream)
