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
from pacsgrid.grid.catalog import replicas_below, replicas_in
from pacsgrid.grid.layout import InstanceInfo, collection_of_study
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
        found = collections.get(path)
        # iRODS refuses to remove a collection directly below /<zone>/home unless it is empty.
        for inner in found.subcollections:
            collections.remove(inner.path, recurse=True, force=True)
        for one in found.data_objects:
            zone.session.data_objects.unlink(one.path, force=True)
        collections.remove(path, recurse=True, force=True)


def remove_version(zone: Zone, project: str, instances: Sequence[InstanceInfo]) -> None:
    """Remove a version of a study from a zone, and make sure that it is gone.

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
    remove_collection(zone, path)
    if left := {**replicas_below(zone, path), **replicas_in(zone, path)}:
        raise ZoneError(f"{path}: {len(left)} objects are left after its removal; remove them")
