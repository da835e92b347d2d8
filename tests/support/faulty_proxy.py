"""A TCP proxy that does to connections what hospital networks and PACS do."""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType

REJECT = bytes.fromhex("03000000000400020302")  # transient, presentation, local limit
ABORT = bytes.fromhex("07000000000400000000")
BUSY = b"HTTP/1.1 %s\r\nRetry-After: 0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
NETWORK = ("refuse", "cut", "hang", "slow")
DIMSE = (*NETWORK, "reject", "abort", "contexts")
HTTP = (*NETWORK, "429", "503")


class FaultyProxy:
    """Passes connections on to a port of loopback; a share of them suffers a fault.

    `refuse` resets at once, `cut` after some bytes, `hang` goes silent with the connection open,
    `slow` trickles, `reject` and `contexts` refuse the association or every context, `abort`
    sends an A-ABORT in the middle, `429` and `503` answer for the server.

    Attributes
    ----------
    done
        How often each fault was injected.
    """

    def __init__(self, target: int, rate: float, kinds: Sequence[str], seed: int = 1) -> None:
        self._target = target
        self._rate = rate
        self._kinds = list(kinds)
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.done: Counter[str] = Counter()

    def set_rate(self, rate: float) -> None:
        """Let another share of the connections fail from now on."""
        self._rate = rate

    def __enter__(self) -> FaultyProxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._listener.close()
        for one in list(self._open):
            _reset(one)

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            fault = self._random.choice(self._kinds) if self._random.random() < self._rate else ""
            after = self._random.choice((0, 1, 40, 700, 5_000, 40_000, 300_000))
            self.done[fault] += 1
            self._open.add(client)
            threading.Thread(target=self._serve, args=(client, fault, after), daemon=True).start()

    def _serve(self, client: socket.socket, fault: str, after: int) -> None:
        if fault == "refuse":
            return _reset(client)
        if fault in ("reject", "429", "503"):
            client.recv(65536)
            client.sendall(REJECT if fault == "reject" else BUSY % fault.encode())
            return _end(client)
        try:
            server = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            return _reset(client)
        self._open.add(server)
        for one in (client, server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_pass_on, args=(client, server), daemon=True).start()
        self._back(server, client, fault, after)

    def _back(self, server: socket.socket, client: socket.socket, fault: str, after: int) -> None:
        passed = 0
        try:
            while piece := server.recv(65536):
                if fault == "contexts" and piece[0] == 2:
                    piece = _refuse_contexts(piece)
                if fault in ("cut", "hang", "abort") and passed + len(piece) > after:
                    client.sendall(piece[: after - passed])
                    if fault == "hang":
                        self._stop.wait(60)
                    elif fault == "abort":
                        client.sendall(ABORT)
                        _end(client)
                    return _reset(client), _reset(server)
                if fault == "slow" and passed < 20_000:
                    for at in range(0, len(piece), 2048):
                        client.sendall(piece[at : at + 2048])
                        time.sleep(0.005)
                else:
                    client.sendall(piece)
                passed += len(piece)
        except OSError:
            pass
        finally:
            for one in (client, server):
                _end(one)
                self._open.discard(one)


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    try:
        while piece := source.recv(65536):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def _end(one: socket.socket) -> None:
    """Close, also under a thread that reads from it: close alone would wait for that."""
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()


def _reset(one: socket.socket) -> None:
    """Close with a TCP reset, also under a thread that reads from it."""
    with suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.shutdown(socket.SHUT_RD)
    one.close()


def _refuse_contexts(pdu: bytes) -> bytes:
    """Turn every accepted context of an A-ASSOCIATE-AC into a refused one (PS3.8 9.3.3.2)."""
    out = bytearray(pdu)
    at = 74
    while at + 4 <= len(out):
        (length,) = struct.unpack_from(">H", out, at + 2)
        if out[at] == 0x21:
            out[at + 6] = 3
        at += 4 + length
    return bytes(out)
