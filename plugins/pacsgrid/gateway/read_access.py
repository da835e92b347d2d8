"""What each iRODS user may read, queried from the zones' catalogs and cached for a short time.

A catalog counts objects faster than it lists them. A series that a user, or one of their groups,
may read as a whole costs one row; only of others the readable objects are listed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from threading import Lock

from irods.column import In, Like
from irods.models import Collection, DataAccess, DataObject, Group, User

from pacsgrid.errors import PacsgridError, ZoneUnavailableError
from pacsgrid.gateway.zone_pool import ServedZone, ZonePool
from pacsgrid.grid import Zone

log = logging.getLogger(__name__)

# The access type "read_object" (iRODS: R_TOKN_MAIN, namespace access_type); higher ones imply it.
READ = 1050
_ALL = frozenset({"*"})


@dataclass(frozen=True)
class ReadAccess:
    """The series and instances that one user may read.

    Attributes
    ----------
    series
        For each series' collection below ``/<zone>/home/``: the readable SOP Instance UIDs by
        zone bit, or ``*`` for all of them.
    """

    series: Mapping[str, Mapping[int, frozenset[str]]] = field(default_factory=dict)

    def fully_readable(self, place: str) -> int:
        """Return the mask of zones where all of a series may be read."""
        return sum(bit for bit, sops in self.series.get(place, {}).items() if sops is _ALL)

    def is_partial(self, place: str) -> bool:
        """Return whether only some of a series may be read in any zone."""
        return any(sops is not _ALL for sops in self.series.get(place, {}).values())

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
        return sum(
            bit for bit, sops in self.series.get(place, {}).items() if sops is _ALL or sop in sops
        )


class AccessCache:
    """The rights of iRODS users in the served zones, cached.

    Parameters
    ----------
    pool
        The zones.
    seconds
        How long a catalog's answer is used.
    """

    def __init__(self, pool: ZonePool, seconds: float) -> None:
        self._pool = pool
        self._seconds = seconds
        self._lock = Lock()
        self._known: dict[str, tuple[float, ReadAccess]] = {}
        self._asking: dict[str, Lock] = {}

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
                return known[1]
            access = self._ask(user)
            self._known[user] = (time.monotonic() + self._seconds, access)
            return access

    def _ask(self, user: str) -> ReadAccess:
        places: dict[str, dict[int, frozenset[str]]] = {}
        open_zones = answered = 0
        for zone, served_zone in self._pool.open():
            open_zones += 1
            try:
                here = self._pool.run(zone, partial(_readable, user=user, served_zone=served_zone))
            except PacsgridError as error:
                log.warning("rights in zone %s: %s", zone.settings.name, error)
                continue
            answered += 1
            for place, sops in here.items():
                places.setdefault(place, {})[served_zone.bit] = sops
        if not answered:
            raise ZoneUnavailableError(f"none of the {open_zones} zones answers; try again")
        return ReadAccess(places)


def _readable(zone: Zone, user: str, served_zone: ServedZone) -> dict[str, frozenset[str]]:
    ids = principals(zone, user)
    found: dict[str, frozenset[str]] = {}
    for project in served_zone.projects if ids else ():
        found |= readable(zone, project, ids)
    return found


def principals(zone: Zone, user: str) -> list[int]:
    """Return the catalog's IDs of a user and their groups.

    Parameters
    ----------
    zone
        The zone to ask.
    user
        ``name#zone``.

    Returns
    -------
    list of int
        Empty for a user whom the zone does not know.
    """
    name, _, home = user.partition("#")
    rows = zone.rows((Group.id, Group.name), User.name == name, User.zone == home)
    return sorted({int(row[Group.id]) for row in rows})


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
    below = Like(Collection.name, f"{home}{project}/data/%")
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
