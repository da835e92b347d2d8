"""Remove objects and collections for good, past the trash."""

from __future__ import annotations

from collections.abc import Sequence

from irods.exception import (
    CAT_NO_ROWS_FOUND,
    CAT_UNKNOWN_FILE,
    LOCKED_DATA_OBJECT_ACCESS,
    CollectionDoesNotExist,
    DataObjectDoesNotExist,
)

from pacsgrid.errors import ZoneError
from pacsgrid.grid.avus import remove_avus
from pacsgrid.grid.catalog import replicas_below, replicas_in
from pacsgrid.grid.layout import RESULTS, InstanceInfo, collection_of_study
from pacsgrid.grid.repair import unlock
from pacsgrid.grid.zone import Zone, translated_errors

# What servers answer when the object to remove does not exist; iRODS 5.0.2 says the last one.
_ABSENT = (
    CAT_UNKNOWN_FILE,
    DataObjectDoesNotExist,
    CollectionDoesNotExist,
    CAT_NO_ROWS_FOUND,
)


def remove_object(zone: Zone, path: str) -> None:
    """Remove an object if it exists; nothing goes to the trash.

    An object that an interrupted put left intermediate or locked is removed too, if the account
    is an administrator's: a server never releases such a lock itself.

    Parameters
    ----------
    zone
        The zone.
    path
        The data object.

    Raises
    ------
    ZoneError, ZoneUnavailableError
        The zone refused, or does not answer.
    """
    with translated_errors(zone.settings.name):
        try:
            try:
                zone.session.data_objects.unlink(path, force=True)
            except LOCKED_DATA_OBJECT_ACCESS:
                unlock(zone, replicas_in(zone, path.rsplit("/", 1)[0])[path])
                zone.session.data_objects.unlink(path, force=True)
        except _ABSENT:
            return


def remove_collection(zone: Zone, path: str) -> None:
    """Remove a collection and everything in it if it exists; nothing goes to the trash.

    Parameters
    ----------
    zone
        The zone.
    path
        The collection.

    Raises
    ------
    ZoneError, ZoneUnavailableError
        The zone refused, or does not answer.
    """
    collections = zone.session.collections
    with translated_errors(zone.settings.name):
        if not collections.exists(path):
            return
        # iRODS refuses to remove a collection directly below /<zone>/home unless it is empty.
        _remove_inside(zone, path)
        collections.remove(path, recurse=True, force=True)


def _remove_inside(zone: Zone, path: str, keep: str = "") -> None:
    """Remove what is in a collection, apart from one collection that is to stay."""
    with translated_errors(zone.settings.name):
        found = zone.session.collections.get(path)
        for inner in found.subcollections:
            if inner.path != keep:
                zone.session.collections.remove(inner.path, recurse=True, force=True)
        for one in found.data_objects:
            zone.session.data_objects.unlink(one.path, force=True)


def remove_version(zone: Zone, project: str, instances: Sequence[InstanceInfo]) -> None:
    """Remove a version of a study from a zone, and make sure that it is gone.

    Results that lie in its collection stay where they are, and the collection for their sake. It
    loses its AVUs, so that no search takes it for a study.

    Parameters
    ----------
    zone
        The zone.
    project
        The project's name.
    instances
        The version's instances, at least one.

    Raises
    ------
    ZoneError
        The zone refused, or something of the version is left.
    ZoneUnavailableError
        The zone does not answer.
    """
    path = collection_of_study(zone, project, instances)
    results = f"{path}/{RESULTS}"
    with translated_errors(zone.settings.name):
        kept = zone.session.collections.exists(results)
    if kept:
        # AVUs first: while objects are left, this is done again.
        remove_avus(zone, path)
        _remove_inside(zone, path, keep=results)
    else:
        remove_collection(zone, path)
    found = {**replicas_below(zone, path), **replicas_in(zone, path)}
    if left := [one for one in found if not one.startswith(f"{results}/")]:
        raise ZoneError(f"{path}: {len(left)} objects are left after its removal; remove them")
