"""Write AVUs of collections; both operations change only what differs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from irods.meta import AVUOperation, iRODSMeta
from irods.models import Collection, CollectionMeta

from pacsgrid.grid.zone import Zone, translated_errors
from pacsgrid.model import AVU


def set_avus(zone: Zone, root: str, wanted: Mapping[str, Sequence[AVU]]) -> int:
    """Give collections their AVUs: one query for all, one atomic operation for each that differs.

    An attribute gets exactly the values that are given; attributes that are not given stay.

    Parameters
    ----------
    zone
        The zone.
    root
        The collection that the others lie directly in; it may be one of them.
    wanted
        The AVUs of each collection, by its path.

    Returns
    -------
    int
        How many AVUs were added and removed.

    Raises
    ------
    ZoneError, ZoneUnavailableError
        The zone refused, or does not answer.
    """
    have = _avus_at(zone, root)
    changed = 0
    for collection, avus in wanted.items():
        now, then = have.get(collection, set()), set(avus)
        names = {avu.attribute for avu in then}
        gone = {avu for avu in now - then if avu.attribute in names}
        operations = [("remove", avu) for avu in _sorted(gone)]
        operations += [("add", avu) for avu in _sorted(then - now)]
        if operations:
            with translated_errors(zone.settings.name):
                zone.session.metadata.apply_atomic_operations(
                    Collection,
                    collection,
                    *(AVUOperation(operation=name, avu=_meta(avu)) for name, avu in operations),
                )
            changed += len(operations)
    return changed


def remove_avus(zone: Zone, path: str) -> None:
    """Remove all AVUs of a collection.

    Parameters
    ----------
    zone
        The zone.
    path
        The collection; it has to exist.

    Raises
    ------
    ZoneError, ZoneUnavailableError
        The zone refused, or does not answer.
    """
    if have := _avus_at(zone, path).get(path):
        gone = [AVUOperation(operation="remove", avu=_meta(avu)) for avu in _sorted(have)]
        with translated_errors(zone.settings.name):
            zone.session.metadata.apply_atomic_operations(Collection, path, *gone)


def _sorted(avus: Iterable[AVU]) -> list[AVU]:
    return sorted(avus, key=lambda avu: (avu.attribute, avu.value, avu.units))


def _avus_at(zone: Zone, root: str) -> dict[str, set[AVU]]:
    """Return the AVUs of a collection and of those directly in it, by path."""
    columns = (
        Collection.name,
        CollectionMeta.name,
        CollectionMeta.value,
        CollectionMeta.units,
    )
    found: dict[str, set[AVU]] = {}
    for where in (Collection.name == root, Collection.parent_name == root):
        for row in zone.rows(columns, where):
            avu = AVU(
                row[CollectionMeta.name], row[CollectionMeta.value], row[CollectionMeta.units] or ""
            )
            found.setdefault(row[Collection.name], set()).add(avu)
    return found


def set_avu(zone: Zone, collection: str, wanted: AVU) -> bool:
    """Set an attribute of a collection to exactly one value.

    Parameters
    ----------
    zone
        The zone.
    collection
        The collection's path.
    wanted
        The AVU; others with the same attribute are removed in the same operation.

    Returns
    -------
    bool
        Whether anything changed.

    Raises
    ------
    ZoneError, ZoneUnavailableError
        The zone refused, or does not answer.
    """
    with translated_errors(zone.settings.name):
        metadata = zone.session.metadata
        have = [m for m in metadata.get(Collection, collection) if m.name == wanted.attribute]
        if [(m.value, m.units or "") for m in have] == [(wanted.value, wanted.units)]:
            return False
        metadata.apply_atomic_operations(
            Collection,
            collection,
            *(AVUOperation(operation="remove", avu=old) for old in have),
            AVUOperation(operation="add", avu=_meta(wanted)),
        )
    return True


def _meta(avu: AVU) -> iRODSMeta:
    return iRODSMeta(avu.attribute, avu.value, avu.units or None)
