"""Find the storage resources that lack a replica of an object, and replicate to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile

import irods.keywords as kw
from irods.models import Resource

from pacsgrid.grid.zone import Zone, translated_errors


def replicate_missing(zone: Zone, path: str, held: Sequence[str]) -> int:
    """Make the replicas of an object that are missing from its zone's number of copies.

    A server that is given only the root resource makes no replica when a good one lies below
    that root already, and reports success. So each new replica names its full hierarchy.

    Parameters
    ----------
    zone
        The zone; its settings name the root resource and the number of copies.
    path
        The data object.
    held
        The resource hierarchies that hold a replica, as the catalog writes them
        (``pair;disk1``).

    Returns
    -------
    int
        How many replicas were made; fewer than are missing when no storage resource is free.

    Raises
    ------
    ZoneError, ZoneUnavailableError
        The zone refused, or does not answer.
    """
    held = list(held)
    before = len(held)
    root = zone.settings.resource
    hierarchies: list[str] = []
    while len(held) < zone.settings.copies:
        if any(one.split(";")[0] == root for one in held):
            hierarchies = hierarchies or storage_hierarchies(zone)
            free = [one for one in hierarchies if one not in held]
            if not free:
                break
            # Prefer another branch of the tree to another disk of the same branch.
            target = min(free, key=lambda one: _shared_levels(one, held))
            options = {kw.DEST_RESC_HIER_STR_KW: target}
        else:
            target = root
            options = {kw.DEST_RESC_NAME_KW: root}
        held.append(target)
        with translated_errors(zone.settings.name):
            zone.session.data_objects.replicate(path, **options)
    return len(held) - before


def storage_hierarchies(zone: Zone) -> list[str]:
    """Return the hierarchies from the zone's root resource to each storage resource that is up."""
    columns = (Resource.id, Resource.name, Resource.parent, Resource.status)
    children: dict[str, list[tuple[str, str, str]]] = {}
    for row in zone.rows(columns):
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


def _shared_levels(hierarchy: str, held: Sequence[str]) -> int:
    """Count the levels from the root that a hierarchy shares with the closest of `held`."""
    pairs = (zip(hierarchy.split(";"), one.split(";"), strict=False) for one in held)
    return max(sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], two)) for two in pairs)
