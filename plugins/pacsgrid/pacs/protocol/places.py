"""Who may stay: connections that wait to be associated, and associations, by address.

A connection costs its peer nothing, so one that is not associated is no work: it has so long for
TLS and its A-ASSOCIATE-RQ together (the ARTIM timer, PS3.8 9.1.4), and makes room for others.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

_GRACE_SECONDS = 1.0  # an honest peer is associated long before


@dataclass(frozen=True)
class Limits:
    """How many may be there.

    Attributes
    ----------
    associations, per_peer
        Associations at once, in all and from one address.
    seconds
        How long a connection may take until it is associated.
    """

    associations: int
    per_peer: int
    seconds: float

    @property
    def waiting(self) -> int:
        """Connections at once that are not associated yet."""
        return 2 * self.associations

    @property
    def waiting_per_peer(self) -> int:
        """Such connections from one address."""
        return 2 * self.per_peer


@dataclass
class _Place:
    address: str
    since: float
    associated: bool = False


class Places:
    """Which connections there are; the caller sees to it that one asks at a time."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._places: dict[int, _Place] = {}

    def enter(self, key: int, address: str, now: float) -> list[int] | None:
        """Give a connection a place; returns those that lose theirs for it, None for no place.

        Where one address has too many, its oldest goes; where there are too many in all, the
        oldest of the address that has most. An address that opens them faster than they can be
        served gets no more.
        """
        mine, all_of_them = self._waiting(address), self._waiting()
        gone: list[int] = []
        full = len(all_of_them) >= self._limits.waiting
        crowds = Counter(self._places[one].address for one in all_of_them)
        most, count = next(iter(crowds.most_common(1)), ("", 0))
        if len(mine) >= self._limits.waiting_per_peer or (full and count <= len(mine)):
            if now - self._places[mine[0]].since < _GRACE_SECONDS:
                return None
            gone.append(mine[0])
        elif full:
            gone.append(self._waiting(most)[0])
        for one in gone:
            del self._places[one]
        self._places[key] = _Place(address, now)
        return gone

    def _waiting(self, address: str = "") -> list[int]:
        return [
            key
            for key, place in self._places.items()
            if not place.associated and address in ("", place.address)
        ]

    def take(self, key: int) -> bool:
        """Let a connection be associated; returns whether there is room for it."""
        place = self._places.get(key)
        if place is None:
            return False
        peers = Counter(one.address for one in self._places.values() if one.associated)
        if (
            peers.total() >= self._limits.associations
            or peers[place.address] >= self._limits.per_peer
        ):
            return False
        place.associated = True
        return True

    def overdue(self, now: float) -> list[int]:
        """Take their places from those that took too long to be associated; returns them."""
        late = [
            key for key in self._waiting() if now - self._places[key].since > self._limits.seconds
        ]
        for key in late:
            del self._places[key]
        return late

    def waiting(self) -> list[int]:
        """Return those that are not associated."""
        return self._waiting()

    def leave(self, key: int) -> None:
        """Give a place back, if it was not taken away before."""
        self._places.pop(key, None)
