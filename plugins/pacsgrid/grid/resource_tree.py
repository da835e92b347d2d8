"""Where below a zone's root resource an object lacks a replica, and replicas made there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile

import irods.keywords as kw
from irods.models import Resource

from pacsgrid.grid.zone import Zone, translated_errors


def replicate_missing(zone: Zone, path: str, held: Sequence[str]) -> int:
    """Make the replicas that an object lacks of those its zone is to have; returns how many.

    A server that is told the root resource makes none where a good replica lies below it already,
    and says nothing. So each new one is sent to a hierarchy of its own.

    Parameters
    ----------
    held
        The hierarchies that hold a replica, as the catalog spells them (``pair;disk1``).

    Raises
    ------
    ZoneError
        The zone refused.
    """
    held = list(held)
    before = len(held)
    root = zone.settings.resource
    places: list[str] = []
    while len(held) < zone.settings.copies:
        options = {}
        if any(one.split(";")[0] == root for one in held):
            places = places or storage_hierarchies(zone)
            free = [one for one in places if one not in held]
            if not free:
                break
            # The one that shares least with those that hold a replica: another branch, not
            # another disk of the same one.
            options = {kw.DEST_RESC_HIER_STR_KW: min(free, key=lambda one: _shared(one, held))}
            held.append(options[kw.DEST_RESC_HIER_STR_KW])
        else:
            options = {kw.DEST_RESC_NAME_KW: root}
            held.append(root)
        with translated_errors(zone.settings.name):
            zone.session.data_objects.replicate(path, **options)
    return len(held) - before


def storage_hierarchies(zone: Zone) -> list[str]:
    """Return the hierarchies from the zone's root resource to each storage below that is up."""
    columns = (Resource.id, Resource.name, Resource.parent, Resource.status)
    rows = list(zone.rows(columns))
    children: dict[str, list[tuple[str, str, str]]] = {}
    for row in rows:
        one = (str(row[Resource.id]), row[Resource.name], row[Resource.status] or "")
        children.setdefault(str(row[Resource.parent] or ""), []).append(one)

    def below(identity: str, hierarchy: str) -> Iterator[str]:
        if identity not in children:
            yield hierarchy
        for child, name, status in children.get(identity, ()):
            if status != "down":
                yield from below(child, f"{hierarchy};{name}")

    roots = (one for one in children.get("", ()) if one[1] == zone.settings.resource)
    return [found for identity, name, _ in roots for found in below(identity, name)]


def _shared(hierarchy: str, held: Sequence[str]) -> int:
    """How many resources from the root a hierarchy has in common with the closest of `held`."""
    pairs = (zip(hierarchy.split(";"), one.split(";"), strict=False) for one in held)
    return max(sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], two)) for two in pairs)
