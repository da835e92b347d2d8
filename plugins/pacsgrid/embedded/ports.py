"""Loopback TCP ports for embedded servers, each reserved for one process.

A port that is merely free when it is looked up may be given to another program before the server
binds it. A port from `reserve_port` is not given to any other caller on this machine for as long
as the process that reserved it lives, and the kernel does not use it for outgoing connections.
"""

from __future__ import annotations

import random
import socket
from pathlib import Path
from typing import Final

_HOST: Final = "127.0.0.1"
_LOWEST: Final = 10_000
_HIGHEST: Final = 65_535
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
# Closing one of these sockets gives its port back; they are closed when the process ends.
_reservations: dict[int, socket.socket] = {}


def reserve_port() -> int:
    """Return a TCP port of the loopback interface that no other caller is given.

    Returns
    -------
    int
        A port on which nothing listens. It stays reserved until this process ends, also while no
        server listens on it.

    Raises
    ------
    RuntimeError
        Every port is reserved or in use.
    """
    candidates = _candidates()
    random.SystemRandom().shuffle(candidates)
    for port in candidates:
        reservation = _reserve(port)
        if reservation is None:
            continue
        if _is_free(port):
            _reservations[port] = reservation
            return port
        reservation.close()
    raise RuntimeError("no free TCP port is left on the loopback interface; end some servers")


def _candidates() -> list[int]:
    """Return the ports that the kernel does not choose for outgoing connections or port 0."""
    first, last = (int(part) for part in _EPHEMERAL.read_text().split())
    below, above = range(_LOWEST, first), range(last + 1, _HIGHEST + 1)
    return [*below, *above] or list(range(_LOWEST, _HIGHEST + 1))


def _reserve(port: int) -> socket.socket | None:
    """Take the name of a port; None when it is taken.

    Names of abstract Unix sockets belong to a network namespace, as TCP ports do, are taken
    atomically, and are given back by the kernel when their process dies.
    """
    reservation = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        reservation.bind(f"\0pacsgrid-port-{port}")
    except OSError:
        reservation.close()
        return None
    return reservation


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((_HOST, port))
        except OSError:
            return False
    return True


def accepts(port: int) -> bool:
    """Return whether a server accepts connections on a loopback port."""
    try:
        with socket.create_connection((_HOST, port), timeout=1):
            return True
    except OSError:
        return False
