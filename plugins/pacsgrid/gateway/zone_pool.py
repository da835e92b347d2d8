"""The zones that are served, the nearest first, and which of them does not answer now."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TypeVar

from pacsgrid.config import ZoneSettings
from pacsgrid.errors import ZoneUnavailableError
from pacsgrid.grid import Zone

log = logging.getLogger(__name__)
_T = TypeVar("_T")


@dataclass(frozen=True)
class ServedZone:
    """A zone that is served: its settings, its bit in masks, its projects."""

    settings: ZoneSettings
    bit: int
    projects: tuple[str, ...]


class ZonePool:
    """Clients of the zones, shared by threads; one that fails is replaced, then left alone.

    Parameters
    ----------
    doors
        The zones in the order in which they are asked.
    timeout
        Seconds without an answer after which a zone counts as away.
    pause
        Seconds for which a zone that is away is not asked again.
    """

    def __init__(self, served_zones: Sequence[ServedZone], timeout: int, pause: float) -> None:
        self.served = tuple(served_zones)
        self._timeout = timeout
        self._pause = pause
        self._lock = Lock()
        self._clients: dict[str, Zone] = {}
        self._away: dict[str, float] = {}

    def zone(self, name: str) -> Zone:
        """Return the client of a zone."""
        with self._lock:
            if name not in self._clients:
                settings = next(d.settings for d in self.served if d.settings.name == name)
                self._clients[name] = Zone(settings, self._timeout)
            return self._clients[name]

    def open(self) -> Iterator[tuple[Zone, ServedZone]]:
        """Yield the zones that are not known to be away; all of them when all are away."""
        near = [served_zone for served_zone in self.served if not self._is_away(served_zone)]
        for served_zone in near or self.served:
            yield self.zone(served_zone.settings.name), served_zone

    def all_zones(self) -> Iterator[tuple[Zone, ServedZone]]:
        """Yield all zones, those last that are known to be away."""
        for served_zone in sorted(self.served, key=self._is_away):
            yield self.zone(served_zone.settings.name), served_zone

    def _is_away(self, served_zone: ServedZone) -> bool:
        return self._away.get(served_zone.settings.name, 0.0) > time.monotonic()

    def run(self, zone: Zone, work: Callable[[Zone], _T]) -> _T:
        """Return what `work` gives for a zone; a dead connection is no sign of a zone away.

        Raises
        ------
        ZoneUnavailableError, ZoneError
            It failed with new connections too; the zone counts as away if it does not answer.
        """
        try:
            try:
                return work(zone)
            except ZoneUnavailableError:
                return work(self.reconnect(zone))
        except ZoneUnavailableError:
            self.mark_away(zone.settings.name)
            raise

    def reconnect(self, failed: Zone) -> Zone:
        """Return a client with new connections: those of the old one may be dead.

        Other threads may still use the old one; its connections go with its last use.
        """
        name = failed.settings.name
        with self._lock:
            if self._clients.get(name) is failed:
                del self._clients[name]
        return self.zone(name)

    def mark_away(self, name: str) -> None:
        """Note that a zone does not answer."""
        with self._lock:
            self._away[name] = time.monotonic() + self._pause
            self._clients.pop(name, None)
        log.warning("zone %s is away; others are read for %.0f s", name, self._pause)

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            client.close()
