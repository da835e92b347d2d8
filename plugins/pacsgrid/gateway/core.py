"""The gateway: index, access rights and objects of the served zones; one per process."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Self

import psycopg2

from pacsgrid.config import GatewaySettings, Site
from pacsgrid.errors import ConfigError, PacsgridError, ZoneUnavailableError
from pacsgrid.gateway.disclosure_log import DisclosureLog
from pacsgrid.gateway.file_cache import FileCache
from pacsgrid.gateway.index import Index
from pacsgrid.gateway.index_refresh import refresh
from pacsgrid.gateway.object_reader import ObjectReader, StoredInstance
from pacsgrid.gateway.queries import Match, QueryLevel, find, instances
from pacsgrid.gateway.read_access import AccessCache, ReadAccess
from pacsgrid.gateway.results import ResultDesk
from pacsgrid.gateway.zone_pool import ServedZone, ZonePool
from pacsgrid.grid import Zone
from pacsgrid.ledger import Ledger

log = logging.getLogger(__name__)


class Gateway:
    """What the zones hold, for users who may read it there; safe for any number of threads.

    Parameters
    ----------
    site
        The site settings.
    now
        Tells the current time, which ends the grants of researchers.

    Raises
    ------
    ConfigError
        The site file has no ``gateway`` section, or its index cannot be created.
    """

    def __init__(self, site: Site, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        if site.gateway is None:
            raise ConfigError("the site file has no 'gateway' section")
        self.site = site
        self.settings: GatewaySettings = site.gateway
        self.index = Index(self.settings.index)
        served_zones = [
            ServedZone(site.zone(served.zone), self.index.zone_bit(served.zone), served.projects)
            for served in self.settings.serve
        ]
        self.zone_pool = ZonePool(
            served_zones, self.settings.zone_seconds, self.settings.refresh_seconds
        )
        self.now = now
        self.access = AccessCache(self.zone_pool, self.settings.access_seconds, now)
        self.objects = ObjectReader(self.zone_pool)
        folder = self.settings.index.with_suffix(".objects")
        self.cache = FileCache(folder, self.objects, self.settings.cache_mb << 20)
        self._withdrawn: dict[str, frozenset[str]] = {}
        self._whole = self.index.is_complete
        self._first_refresh_done = threading.Event()
        self._stop = threading.Event()
        self.results = ResultDesk(self)
        self.disclosures = DisclosureLog(site)
        self._refresher: threading.Thread | None = None

    def refresh(self, everything: bool = True) -> int:
        """Bring the index up to date.

        Entries of an unreachable zone stay as they are. While another process refreshes, this
        waits for it and then looks again, which costs little.

        Parameters
        ----------
        everything
            Whether to compare every study with the zones, not only what changed since the last
            refresh. A zone that was not compared for `reconcile_hours` is compared anyway.

        Returns
        -------
        int
            Number of study copies that changed.
        """
        changed, away = 0, False
        with self.index.lock():
            served = [(d.bit, project) for d in self.zone_pool.served for project in d.projects]
            self.index.keep_only(served)
            self._note_withdrawals()
            for zone, served_zone in self.zone_pool.open():
                try:
                    changed += self.zone_pool.run(
                        zone,
                        partial(
                            self._refresh, projects=served_zone.projects, everything=everything
                        ),
                    )
                except PacsgridError as error:
                    away = True
                    log.warning("index refresh of zone %s: %s", zone.settings.name, error)
            if not (self._whole or away):
                self.index.mark_complete()
                self._whole = True
            if changed:
                self.index.forget_metadata()
                self.cache.keep_only(self.index.known)
        return changed

    def _refresh(self, zone: Zone, projects: Sequence[str], everything: bool) -> int:
        interval = 0.0 if everything else self.settings.reconcile_hours * 3600
        return sum(
            refresh(self.index, zone, project, self._withdrawn.get(project, frozenset()), interval)
            for project in projects
        )

    def _note_withdrawals(self) -> None:
        """Hide withdrawn subjects at once, in projects whose ledger is at this site.

        A partner zone that was unreachable still holds their copies, and may be read before the
        pipeline has erased them there.
        """
        for served_zone in self.zone_pool.served:
            for project in served_zone.projects:
                if project not in self.site.projects:
                    continue
                try:
                    rows = Ledger(self.site.ledger_dsn).withdrawals.of_project(project)
                    self._withdrawn[project] = frozenset(row.subject for row in rows)
                # The ledger translates lost connections, but no other errors of the database.
                except (PacsgridError, psycopg2.Error) as error:
                    log.warning(
                        "withdrawals of project %s cannot be read: %s",
                        project,
                        type(error).__name__,
                    )

    def start_refreshing(self) -> None:
        """Refresh in the background, every `refresh_seconds`, until closed."""
        if self._refresher is None:
            self._refresher = threading.Thread(
                target=self._refresh_until_closed, name="index", daemon=True
            )
            self._refresher.start()

    def _refresh_until_closed(self) -> None:
        while not self._stop.is_set():
            try:
                if changed := self.refresh(everything=False):
                    log.info("index refreshed: %d study copies changed", changed)
            except Exception as error:  # the next refresh may succeed, and queries go on
                log.error("index refresh failed: %s", type(error).__name__)
            self._first_refresh_done.set()
            self._stop.wait(self.settings.refresh_seconds)

    def read_access(self, user: str) -> ReadAccess:
        """Return what an iRODS user, ``name#zone``, may read.

        Raises
        ------
        ZoneUnavailableError
            No zone answers, or the index is still being filled: an incomplete answer would look
            complete.
        """
        filling = not self._whole and self._refresher is not None
        if filling and not self._first_refresh_done.wait(self.settings.zone_seconds):
            raise ZoneUnavailableError("the gateway's index is being built; try again later")
        return self.access.read_access(user)

    def find(
        self, user: str, level: QueryLevel, keys: Mapping[str, str], skip: int = 0
    ) -> Iterator[Match]:
        """Yield the matches that a user may read; see `queries.find`.

        Parameters
        ----------
        user
            The iRODS user, ``name#zone``.
        level
            Query/Retrieve Level (0008,0052).
        keys
            Values to match, by tag in 8 hex digits.
        skip
            How many matches to leave out at the beginning.

        Yields
        ------
        Match
            In an order that stays the same.
        """
        return find(self.index, self.read_access(user), level, keys, skip)

    def instances(
        self, user: str, study: str, series: str = "", sop: str = ""
    ) -> list[StoredInstance]:
        """Return the instances of a study that a user may read; see `queries.instances`.

        Parameters
        ----------
        user
            The iRODS user, ``name#zone``.
        study, series, sop
            Study, Series and SOP Instance UID; an empty one stands for all.

        Returns
        -------
        list of StoredInstance
            Empty for a study that the user may not read.
        """
        return instances(self.index, self.read_access(user), study, series, sop)

    def close(self) -> None:
        """Stop refreshing and close every connection."""
        self._stop.set()
        self.results.close()
        self.disclosures.close()
        if self._refresher:
            self._refresher.join(timeout=5)
        self.zone_pool.close()

    def __enter__(self) -> Self:
        """Return the gateway itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the gateway."""
        self.close()
