"""Write AVUs of collections; both operations change only what differs."""

from __future__ import annotations

from collections.abc import Sequence

from irods.meta import AVUOperation, iRODSMeta
from irods.models import Collection

from pacsgrid.grid.zone import Zone, translated_errors
from pacsgrid.model import AVU


def add_avus(zone: Zone, collection: str, wanted: Sequence[AVU]) -> int:
    """Add the AVUs that a collection lacks, in one atomic operation.

    Parameters
    ----------
    zone
        The zone.
    collection
        The collection's path.
    wanted
        The AVUs that it must have.

    Returns
    -------
    int
        How many AVUs were added.

    Raises
    ------
    ZoneError, ZoneUnavailableError
        The zone refused, or does not answer.
    """
    with translated_errors(zone.settings.name):
        metadata = zone.session.metadata
        have = {(m.name, m.value, m.units or "") for m in metadata.get(Collection, collection)}
        missing = [a for a in wanted if (a.attribute, a.value, a.units) not in have]
        if missing:
            metadata.apply_atomic_operations(
                Collection,
                collection,
                *(AVUOperation(operation="add", avu=_meta(avu)) for avu in missing),
            )
    return len(missing)


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
