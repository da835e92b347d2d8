"""What hostile peers do to a DICOM listener, with real sockets."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fuzzed.cases import CT, EXPLICIT, VERIFICATION, Value, associate, command, encoded, pdu

IMPLICIT = "1.2.840.10008.1.2"
__all__ = ["CT", "EXPLICIT", "IMPLICIT", "Value", "associate", "command", "encoded", "pdu"]


@contextmanager
def silent(port: int, address: str, count: int, sent: bytes = b"") -> Iterator[list[socket.socket]]:
    """Hold connections from one address that send only `sent`."""
    held = []
    try:
        for _ in range(count):
            one = socket.create_connection(("127.0.0.1", port), 60, (address, 0))
            held.append(one)
            with suppress(OSError):  # closed at once
                one.sendall(sent)
        yield held
    finally:
        for one in held:
            one.close()


@contextmanager
def dripping(port: int, address: str, data: bytes, seconds: float = 0.2) -> Iterator[socket.socket]:
    """Send one byte now and then while the context lasts."""
    stop = threading.Event()
    one = socket.create_connection(("127.0.0.1", port), 60, (address, 0))

    def drip() -> None:
        with suppress(OSError):
            for byte in data:
                if stop.wait(seconds):
                    return
                one.sendall(bytes((byte,)))

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield one
    finally:
        stop.set()
        thread.join()
        one.close()


def closed(one: socket.socket, seconds: float = 60.0) -> bytes:
    """Read until the peer closes or resets the connection; raise TimeoutError if it does not."""
    one.settimeout(seconds)
    came = b""
    with suppress(ConnectionError):
        while piece := one.recv(1 << 16):
            came += piece
    return came


def echo(
    port: int, address: str, calling: str = "MODALITY", tls: ssl.SSLContext | None = None
) -> int:
    """Send a C-ECHO from an address as an honest peer does; return its status."""
    plain = socket.create_connection(("127.0.0.1", port), 60, (address, 0))
    with tls.wrap_socket(plain, server_hostname="localhost") if tls else plain as one:
        one.sendall(associate([(1, VERIFICATION, [IMPLICIT])], calling=calling))
        kind, length = struct.unpack(">BxI", exactly(one, 6))
        exactly(one, length)
        assert kind == 2, f"PDU {kind}"
        ask = command(_0002=VERIFICATION, _0100=0x30, _0110=1, _0800=0x101)
        one.sendall(pdu(4, struct.pack(">IBB", len(ask) + 2, 1, 3) + ask))
        status = answer(one)
        one.sendall(pdu(5, bytes(4)))
        exactly(one, 10)
        return status


def exactly(one: socket.socket, size: int) -> bytes:
    came = b""
    while len(came) < size:
        piece = one.recv(size - len(came))
        if not piece:
            raise ConnectionError("closed")
        came += piece
    return came


def answer(one: socket.socket) -> int:
    """Receive a response; return its status."""
    one.settimeout(120)
    kind, length = struct.unpack(">BxI", exactly(one, 6))
    body = exactly(one, length)
    assert kind == 4, f"PDU {kind}"
    at = body.index(struct.pack("<HHI", 0, 0x0900, 2)) + 8
    return int.from_bytes(body[at : at + 2], "little")


def highest_memory(pid: int) -> int:
    """Return the peak memory of a process and its children in bytes."""
    told = [pid]
    with suppress(OSError):
        told += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    most = 0
    for one in told:
        with suppress(OSError, IndexError):
            text = Path(f"/proc/{one}/status").read_text().split("VmHWM:")[1]
            most = max(most, int(text.split()[0]) << 10)
    return most
