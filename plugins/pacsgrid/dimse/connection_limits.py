"""Limits on connections and associations, in all and by address.

A connection costs its peer nothing, so until it is associated it counts apart: it must finish TLS
and its A-ASSOCIATE-RQ in a given time (the ARTIM timer, PS3.8 section 9.1.4), and may be closed to
admit another one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

_GRACE_SECONDS = 1.0  # an honest peer is associated long before


@dataclass(frozen=True)
class ConnectionLimits:
    """How many connections there may be.

    Attributes
    ----------
    associations, per_peer
        Simultaneous associations, in all and from one address.
    associate_seconds
        How long a connection may take until it is associated.
    """

    associations: int
    per_peer: int
    associate_seconds: float

    @property
    def pending(self) -> int:
        """Simultaneous connections that are not associated yet."""
        return 2 * self.associations

    @property
    def pending_per_peer(self) -> int:
        """Simultaneous connections from one address that are not associated yet."""
        return 2 * self.per_peer


@dataclass
class _Connection:
    address: str
    since: float
    associated: bool = False


class ConnectionAdmission:
    """Decides which connections to admit; callers identify each by a key of their own.

    Not thread-safe: callers must hold a lock, or use it from one thread.

    Parameters
    ----------
    limits
        The limits to keep.
    """

    def __init__(self, limits: ConnectionLimits) -> None:
        self._limits = limits
        self._connections: dict[int, _Connection] = {}

    def admit(self, key: int, address: str, now: float) -> list[int] | None:
        """Enter a new connection.

        If its address has too many pending connections, the oldest of them is evicted; if there
        are too many in all, the oldest of the address that has most. An address that opens
        connections faster than they can be served gets no more.

        Parameters
        ----------
        key
            The new connection's key.
        address
            The peer's IP address.
        now
            Monotonic time in seconds.

        Returns
        -------
        list of int or None
            Keys of evicted connections, for the caller to close; None if the new connection is
            refused.
        """
        mine, pending = self._pending(address), self.pending()
        evicted: list[int] = []
        full = len(pending) >= self._limits.pending
        by_address = Counter(self._connections[one].address for one in pending)
        most, count = next(iter(by_address.most_common(1)), ("", 0))
        if len(mine) >= self._limits.pending_per_peer or (full and count <= len(mine)):
            if now - self._connections[mine[0]].since < _GRACE_SECONDS:
                return None
            evicted.append(mine[0])
        elif full:
            evicted.append(self._pending(most)[0])
        for one in evicted:
            del self._connections[one]
        self._connections[key] = _Connection(address, now)
        return evicted

    def _pending(self, address: str = "") -> list[int]:
        return [
            key
            for key, one in self._connections.items()
            if not one.associated and address in ("", one.address)
        ]

    def associate(self, key: int) -> bool:
        """Count a connection as associated; return whether the limits allow it."""
        connection = self._connections.get(key)
        if connection is None:
            return False
        peers = Counter(one.address for one in self._connections.values() if one.associated)
        if (
            peers.total() >= self._limits.associations
            or peers[connection.address] >= self._limits.per_peer
        ):
            return False
        connection.associated = True
        return True

    def remove_overdue(self, now: float) -> list[int]:
        """Remove connections that took too long to be associated; return their keys.

        Parameters
        ----------
        now
            Monotonic time in seconds.
        """
        seconds = self._limits.associate_seconds
        late = [key for key in self._pending() if now - self._connections[key].since > seconds]
        for key in late:
            del self._connections[key]
        return late

    def pending(self) -> list[int]:
        """Return the keys of connections that are not associated yet, oldest first."""
        return self._pending()

    def remove(self, key: int) -> None:
        """Remove a connection that has ended, unless it was evicted before."""
        self._connections.pop(key, None)
