"""A StatsD server that keeps what it hears."""

from __future__ import annotations

import socket
import threading
import time


class Server:
    """Listens on loopback, over UDP, in a thread: what nobody takes is dropped by the kernel."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._got: dict[str, str] = {}
        self._last = time.monotonic()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while packet := self._socket.recv(4096):
            for line in packet.decode().splitlines():
                name, _, value = line.partition(":")
                self._got[name] = value
            self._last = time.monotonic()

    def heard(self) -> dict[str, str]:
        """Return the newest value of each name since it was asked last, when it is quiet."""
        until = time.monotonic() + 5
        self._last = time.monotonic()
        while time.monotonic() < min(until, self._last + 0.2):
            time.sleep(0.02)
        got, self._got = self._got, {}
        return got

    def close(self) -> None:
        """End the thread with an empty packet."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            end.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._socket.close()
