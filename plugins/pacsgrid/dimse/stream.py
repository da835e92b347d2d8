"""Buffered, bounded reads and writes of one connection."""

from __future__ import annotations

import select
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from contextlib import suppress

from pacsgrid.dimse.exceptions import ConnectionLostError, PeerStalledError

MIN_BYTES_PER_SECOND = 1024  # a peer must send or read this much within a message
_BUFFER_BYTES = 1 << 18
_CLOSE_SECONDS = 2.0


class Stream:
    """Bytes of one connection.

    Every read and write is bounded in time: a peer that stays silent for `idle_seconds`, or is
    slower than `MIN_BYTES_PER_SECOND` within a message, ends in `PeerStalledError`.

    Parameters
    ----------
    connection
        A connected socket, with or without TLS.
    idle_seconds
        How long to wait for the next bytes, and for the peer to read some.
    """

    def __init__(self, connection: socket.socket, idle_seconds: float) -> None:
        self._socket = connection
        self.set_timeout(idle_seconds)
        self.end_message()
        self._buffer = bytearray(_BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0
        # DCMTK by default waits for its last bytes to be acknowledged: without a quick
        # acknowledgement that is 40 ms for each instance.
        self._acknowledge = hasattr(socket, "TCP_QUICKACK") and connection.family in (
            socket.AF_INET,
            socket.AF_INET6,
        )

    def set_timeout(self, idle_seconds: float) -> None:
        """Set how long to wait for bytes, and for the peer to read some."""
        self._idle_seconds = idle_seconds
        if isinstance(self._socket, ssl.SSLSocket):
            self._socket.settimeout(idle_seconds)
        else:  # let the kernel keep the time: Python's timeouts poll before every call
            self._socket.settimeout(None)
            limit = struct.pack("ll", int(idle_seconds), int(idle_seconds % 1 * 1_000_000))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

    def wait_readable(self, seconds: float) -> bool:
        """Wait for bytes; return whether some came in time."""
        if self._end > self._start:
            return True
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return True
        return bool(select.select([self._socket], [], [], seconds)[0])

    def end_message(self) -> None:
        """Mark the end of a message: the minimum rate does not apply until the next one begins."""
        self._within_message = False
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
            raise PeerStalledError("the peer sends nothing") from None
        except OSError:
            raise ConnectionLostError from None
        if not count:
            raise ConnectionLostError
        self._end += count
        if self._within_message:
            self._waited += time.monotonic() - began
            self._moved += count
            self._check_rate(self._waited, self._moved)
        self._within_message = True

    def _check_rate(self, waited: float, moved: int) -> None:
        if waited > self._idle_seconds and moved < waited * MIN_BYTES_PER_SECOND:
            raise PeerStalledError("the peer is too slow")

    def read_exactly(self, size: int) -> bytes:
        """Read a number of bytes at once.

        Raises
        ------
        ConnectionLostError
            The connection ended or timed out before.
        """
        if size <= len(self._buffer) // 2:
            while self._end - self._start < size:
                self._read()
            self._start += size
            return bytes(self._view[self._start - size : self._start])
        return b"".join(bytes(piece) for piece in self.read_pieces(size))

    def read_pieces(self, size: int) -> Iterator[memoryview]:
        """Read many bytes as they arrive.

        Yields
        ------
        memoryview
            A piece, valid until the next one is asked for.

        Raises
        ------
        ConnectionLostError
            The connection ended or timed out before.
        """
        while size:
            if self._start == self._end:
                self._read()
            end = min(self._end, self._start + size)
            piece = self._view[self._start : end]
            size -= end - self._start
            self._start = end
            yield piece

    def send(self, data: bytes) -> None:
        """Send all of the data.

        Raises
        ------
        ConnectionLostError
            The connection ended, or the peer does not read in time.
        """
        rest, waited = memoryview(data), 0.0
        while rest:
            began = time.monotonic()
            try:
                count = self._socket.send(rest)
            except (TimeoutError, BlockingIOError):
                raise PeerStalledError("the peer reads nothing") from None
            except OSError:
                raise ConnectionLostError from None
            rest = rest[count:]
            waited += time.monotonic() - began
            self._check_rate(waited, len(data) - len(rest))

    def send_last(self, data: bytes) -> None:
        """Send the PDU that ends the association and let the peer close (PS3.8 section 9.2.3).

        A peer that finds the connection closed may not read what was sent last.
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
