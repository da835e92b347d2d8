"""What each iRODS user may read, queried from the zones' catalogs and cached for a short time.

A catalog counts objects faster than it lists them. A user who may read all of a project costs two
rows; then the series of an answer are asked for before it is given. Of other projects the readable
series are listed; a series that may be read as a whole costs one row, and only of others the
readable objects are listed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Collection as Some
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from threading import Lock
from typing import Any

from irods.column import In, Like
from irods.models import Collection, DataAccess, DataObject, Group, User

from pacsgrid.errors import PacsgridError, ZoneUnavailableError
from pacsgrid.gateway.zone_pool import ServedZone, ZonePool
from pacsgrid.grid import Zone
from pacsgrid.grid.read_grants import end_of_group

log = logging.getLogger(__name__)

# The access type "read_object" (iRODS: R_TOKN_MAIN, namespace access_type); higher ones imply it.
READ = 1050
_ALL = frozenset({"*"})
_NONE: Mapping[int, frozenset[str]] = {}
# Projects with fewer objects are listed: that needs no more queries than an answer.
_LARGE = 100_000
# How long it is remembered that a user could read all of a project. What an answer shows is asked
# for anyway; this only says in which way.
_WHOLE_SECONDS = 600.0
# Series in one query, so that it stays below iRODS' limit for its text (16,000 bytes).
_AT_ONCE = 50
_MOST_KNOWN = 100_000


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class ReadAccess:
    """The series and instances that one user may read.

    Attributes
    ----------
    series
        For each series' collection below ``/<zone>/home/``: the readable SOP Instance UIDs by
        zone bit, or ``*`` for all of them.
    wide
        Asks for the rights to series in projects all of which the user could read lately.
    reads_all
        Whether these are all projects of all zones.
    """

    series: Mapping[str, Mapping[int, frozenset[str]]] = field(default_factory=dict)
    wide: WideAccess | None = None
    reads_all: bool = False

    def ask(self, places: Some[str]) -> None:
        """Make sure that the rights to some series are known.

        Parameters
        ----------
        places
            The series' collections below ``/<zone>/home/``.

        Raises
        ------
        ZoneUnavailableError
            A zone that answered before does not answer any more.
        """
        if self.wide is not None:
            self.wide.ask(places)

    def _of(self, place: str) -> Mapping[int, frozenset[str]]:
        listed = self.series.get(place, _NONE)
        asked = self.wide.of(place) if self.wide is not None else _NONE
        return {**listed, **asked} if listed and asked else listed or asked

    def reads(self, place: str) -> bool:
        """Return whether anything of a series may be read in any zone."""
        return bool(self._of(place))

    def fully_readable(self, place: str) -> int:
        """Return the mask of zones where all of a series may be read."""
        return sum(bit for bit, sops in self._of(place).items() if sops is _ALL)

    def is_partial(self, place: str) -> bool:
        """Return whether only some of a series may be read in any zone."""
        return any(sops is not _ALL for sops in self._of(place).values())

    def zones(self, place: str, sop: str) -> int:
        """Return the zones where an instance may be read.

        Parameters
        ----------
        place
            Its series' collection below ``/<zone>/home/``.
        sop
            Its SOP Instance UID.

        Returns
        -------
        int
            The mask of zone bits.
        """
        return sum(bit for bit, sops in self._of(place).items() if sops is _ALL or sop in sops)


class AccessCache:
    """The rights of iRODS users in the served zones, cached.

    Parameters
    ----------
    pool
        The zones.
    seconds
        How long a catalog's answer is used; never longer than a grant among the rights.
    now
        Tells the current time.
    """

    def __init__(
        self, pool: ZonePool, seconds: float, now: Callable[[], datetime] = _utc_now
    ) -> None:
        self._pool = pool
        self._seconds = seconds
        self._now = now
        self._lock = Lock()
        self._known: dict[str, tuple[float, datetime | None, ReadAccess]] = {}
        self._asking: dict[str, Lock] = {}
        self._whole: dict[tuple[str, str, str], tuple[float, bool]] = {}

    def read_access(self, user: str) -> ReadAccess:
        """Return what a user, ``name#zone``, may read in the zones that answer now.

        Raises
        ------
        ZoneUnavailableError
            No zone answers.
        """
        with self._lock:
            mine = self._asking.setdefault(user, Lock())
        with mine:
            known = self._known.get(user)
            if known and known[0] > time.monotonic():
                ends, access = known[1:]
                if ends is None or ends > self._now():
                    return access
            access, ends = self._ask(user)
            self._known[user] = (time.monotonic() + self._seconds, ends, access)
            return access

    def _ask(self, user: str) -> tuple[ReadAccess, datetime | None]:
        """Return a user's rights, and when the first grant among them ends."""
        now, ends = self._now(), list[datetime]()
        places: dict[str, dict[int, frozenset[str]]] = {}
        wide: list[_WideZone] = []
        open_zones = answered = projects = 0
        for zone, served_zone in self._pool.open():
            open_zones += 1
            projects += len(served_zone.projects)
            try:
                ids, end = self._pool.run(zone, partial(_principals, user=user, now=now))
                all_of, here = self._pool.run(
                    zone, partial(self._readable, user=user, ids=ids, served_zone=served_zone)
                )
            except PacsgridError as error:
                log.warning("rights in zone %s: %s", zone.settings.name, error)
                continue
            answered += 1
            ends += [end] if end is not None else []
            for place, sops in here.items():
                places.setdefault(place, {})[served_zone.bit] = sops
            if all_of:
                wide.append(_WideZone(zone, served_zone, frozenset(all_of), ids))
        if not answered:
            raise ZoneUnavailableError(f"none of the {open_zones} zones answers; try again")
        first = min(ends, default=None)
        if not wide:
            return ReadAccess(places), first
        reads_all = projects == sum(len(each.projects) for each in wide)
        return ReadAccess(places, WideAccess(self._pool, wide), reads_all), first

    def _readable(
        self, zone: Zone, user: str, ids: Sequence[int], served_zone: ServedZone
    ) -> tuple[list[str], dict[str, frozenset[str]]]:
        found: dict[str, frozenset[str]] = {}
        all_of = []
        for project in served_zone.projects if ids else ():
            if self._reads_whole(zone, user, project, ids):
                all_of.append(project)
            else:
                found |= readable(zone, project, ids)
        return all_of, found

    def _reads_whole(self, zone: Zone, user: str, project: str, ids: Sequence[int]) -> bool:
        """Return whether a user could read every object of a large project lately."""
        key = (user, zone.settings.name, project)
        until, known = self._whole.get(key, (0.0, False))
        if until < time.monotonic():
            known = _reads_whole(zone, project, ids)
            self._whole[key] = (time.monotonic() + _WHOLE_SECONDS, known)
        return known


@dataclass(frozen=True)
class _WideZone:
    """A zone, the projects all of which a user could read lately, and the user's IDs."""

    zone: Zone
    served_zone: ServedZone
    projects: frozenset[str]
    ids: Sequence[int]


class WideAccess:
    """The rights of one user to series in projects that they could read completely.

    What an answer shows is asked for just before, a few series at a time, and remembered as long
    as this object is used.

    Parameters
    ----------
    pool
        The zones.
    zones
        The projects in each of them.
    """

    def __init__(self, pool: ZonePool, zones: Sequence[_WideZone]) -> None:
        self._pool = pool
        self._zones = zones
        self._known: dict[str, dict[int, frozenset[str]]] = {}

    def ask(self, places: Some[str]) -> None:
        """Ask the zones for the series whose rights are not known; see `ReadAccess.ask`."""
        if len(self._known) > _MOST_KNOWN:
            self._known = {}
        new = {place: dict[int, frozenset[str]]() for place in places if place not in self._known}
        for wide in self._zones:
            mine = sorted(place for place in new if place.partition("/")[0] in wide.projects)
            for start in range(0, len(mine), _AT_ONCE):
                some = mine[start : start + _AT_ONCE]
                here = self._pool.run(
                    wide.zone, partial(readable_series, places=some, ids=wide.ids)
                )
                for place, sops in here.items():
                    new[place][wide.served_zone.bit] = sops
        self._known |= new

    def of(self, place: str) -> Mapping[int, frozenset[str]]:
        """Return what may be read of a series, by zone bit."""
        return self._known.get(place, _NONE)


def _reads_whole(zone: Zone, project: str, ids: Sequence[int]) -> bool:
    """Return whether a project has many series, and a user may read every object in it."""
    home = f"/{zone.settings.name}/home/{project}/data"
    below = Like(Collection.name, f"{home}/%")
    total = sum(int(row[DataObject.id]) for row in zone.rows((), below, count=DataObject.id))
    if total < _LARGE:
        return False
    mine = (below, In(DataAccess.user_id, list(ids)), DataAccess.type >= READ)
    return (
        sum(int(row[DataObject.id]) for row in zone.rows((), *mine, count=DataObject.id)) >= total
    )


def principals(zone: Zone, user: str, now: datetime | None = None) -> list[int]:
    """Return the catalog's IDs of a user and their groups.

    Parameters
    ----------
    zone
        The zone to ask.
    user
        ``name#zone``.
    now
        The current time. Groups of grants that are over are left out, even if the zone still has
        them.

    Returns
    -------
    list of int
        Empty for a user whom the zone does not know.
    """
    return _principals(zone, user, now or datetime.now(UTC))[0]


def _principals(zone: Zone, user: str, now: datetime) -> tuple[list[int], datetime | None]:
    """Return what `principals` does, and when the first of the grants among them ends."""
    name, _, home = user.partition("#")
    rows = zone.rows((Group.id, Group.name), User.name == name, User.zone == home)
    ends = {int(row[Group.id]): end_of_group(row[Group.name]) for row in rows}
    ids = sorted(one for one, end in ends.items() if end is None or end > now)
    return ids, min((end for one in ids if (end := ends[one]) is not None), default=None)


def readable(zone: Zone, project: str, ids: Sequence[int]) -> dict[str, frozenset[str]]:
    """Return what a user and their groups may read of a project.

    Parameters
    ----------
    zone
        The zone to ask.
    project
        The project's name.
    ids
        The catalog's IDs of the user and the groups.

    Returns
    -------
    dict
        By series' collection below ``/<zone>/home/``: SOP Instance UIDs, ``*`` for all.
    """
    home = f"/{zone.settings.name}/home/"
    return _readable_below(zone, Like(Collection.name, f"{home}{project}/data/%"), ids)


def readable_series(
    zone: Zone, places: Sequence[str], ids: Sequence[int]
) -> dict[str, frozenset[str]]:
    """Return what a user and their groups may read of some series.

    Parameters
    ----------
    zone
        The zone to ask.
    places
        The series' collections below ``/<zone>/home/``.
    ids
        The catalog's IDs of the user and the groups.

    Returns
    -------
    dict
        By series' collection: SOP Instance UIDs, ``*`` for all.
    """
    home = f"/{zone.settings.name}/home/"
    return _readable_below(zone, In(Collection.name, [home + place for place in places]), ids)


def _readable_below(zone: Zone, below: Any, ids: Sequence[int]) -> dict[str, frozenset[str]]:
    home = f"/{zone.settings.name}/home/"
    mine = In(DataAccess.user_id, list(ids))
    columns = (Collection.name, DataAccess.user_id)
    most: dict[str, int] = {}
    for row in zone.rows(columns, below, mine, DataAccess.type >= READ, count=DataObject.id):
        name = row[Collection.name]
        most[name] = max(most.get(name, 0), int(row[DataObject.id]))
    if not most:
        return {}
    total = {
        row[Collection.name]: int(row[DataObject.id])
        for row in zone.rows((Collection.name,), below, count=DataObject.id)
    }
    found = {}
    for name, number in most.items():
        if number >= total.get(name, 0):
            found[name.removeprefix(home)] = _ALL
        else:
            rows = zone.rows(
                (DataObject.name,), Collection.name == name, mine, DataAccess.type >= READ
            )
            names = {row[DataObject.name] for row in rows}
            found[name.removeprefix(home)] = frozenset(n.removesuffix(".dcm") for n in names)
    return found
