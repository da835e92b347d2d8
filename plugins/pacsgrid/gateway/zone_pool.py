"""Clients of the served zones, nearest first, and which of them are unreachable."""

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
    """A zone that the gateway serves.

    Attributes
    ----------
    settings
        How the zone is reached.
    bit
        The bit that stands for the zone in masks of the index.
    projects
        The projects that are served from it.
    """

    settings: ZoneSettings
    bit: int
    projects: tuple[str, ...]


class ZonePool:
    """Clients of the served zones, shared by threads.

    A failing client is replaced once; then its zone is left alone for a while.

    Parameters
    ----------
    served_zones
        The zones, in the order in which they are read.
    timeout
        Seconds without an answer after which a zone counts as unreachable.
    pause
        Seconds for which an unreachable zone is left alone.
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
        """Yield the reachable zones, or all of them if none is."""
        near = [served_zone for served_zone in self.served if not self._is_away(served_zone)]
        for served_zone in near or self.served:
            yield self.zone(served_zone.settings.name), served_zone

    def all_zones(self) -> Iterator[tuple[Zone, ServedZone]]:
        """Yield all zones, unreachable ones last."""
        for served_zone in sorted(self.served, key=self._is_away):
            yield self.zone(served_zone.settings.name), served_zone

    def _is_away(self, served_zone: ServedZone) -> bool:
        return self._away.get(served_zone.settings.name, 0.0) > time.monotonic()

    def run(self, zone: Zone, work: Callable[[Zone], _T]) -> _T:
        """Run a function on a zone's client; once more with new connections if it fails.

        Parameters
        ----------
        zone
            The zone's client.
        work
            What to run.

        Returns
        -------
        object
            What `work` returns.

        Raises
        ------
        ZoneUnavailableError, ZoneError
            It failed with new connections too; a zone that did not answer counts as unreachable.
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
        """Return a client with new connections in place of one that failed.

        Other threads may still use the old client; its connections end with its last use.
        """
        name = failed.settings.name
        with self._lock:
            if self._clients.get(name) is failed:
                del self._clients[name]
        return self.zone(name)

    def mark_away(self, name: str) -> None:
        """Mark a zone as unreachable."""
        with self._lock:
            self._away[name] = time.monotonic() + self._pause
            self._clients.pop(name, None)
        log.warning("zone %s does not answer; others are read for %.0f s", name, self._pause)

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            client.close()
