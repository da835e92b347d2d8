"""Restore objects that a zone has lost, from another zone's proven copy or from files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from pacsgrid.grid.catalog import replicas_of_study
from pacsgrid.grid.layout import PARTIAL, InstanceInfo, ensure_project, object_path
from pacsgrid.grid.partner import zone_opener
from pacsgrid.grid.put import Opener, put_object
from pacsgrid.grid.remove import remove_object
from pacsgrid.grid.zone import Zone, translated_errors

_I = TypeVar("_I", bound=InstanceInfo)


def restore_objects(
    source: Zone, target: Zone, project: str, instances: Sequence[InstanceInfo]
) -> list[str]:
    """Copy the objects that a zone has lost from another zone, as far as that one has them.

    Parameters
    ----------
    source
        The zone to read from.
    target
        The zone that lost them.
    project
        The project's name, in both zones.
    instances
        Instances of one study that have no good replica in `target`.

    Returns
    -------
    list of str
        The SOP UIDs that were restored.

    Raises
    ------
    ZoneUnavailableError
        A zone did not answer, or an object arrived damaged.
    ZoneError
        A zone refused, or the bytes are not the anonymiser's.
    """
    if not instances:
        return []
    present = replicas_of_study(source, project, instances)
    name = source.settings.name
    given = [one for one in instances if object_path(name, project, one) in present]
    replace_objects(target, project, given, zone_opener(source, project))
    return [one.sop_uid for one in given]


def replace_objects(target: Zone, project: str, instances: Sequence[_I], opener: Opener[_I]) -> int:
    """Put instances whose objects are missing or bad.

    Each is put beside its path and checked; only then it replaces what is left there.

    Parameters
    ----------
    target
        The zone to put them in.
    project
        The project's name.
    instances
        The instances.
    opener
        Returns the bytes of an instance: a file, or an open stream.

    Returns
    -------
    int
        How many objects were put.

    Raises
    ------
    ZoneUnavailableError
        The zone did not answer, or an object arrived damaged.
    ZoneError
        The zone refused, or the bytes are not the anonymiser's.
    """
    if not instances:
        return 0
    name = target.settings.name
    ensure_project(target, project)
    for one in instances:
        path = object_path(name, project, one)
        with translated_errors(name):
            target.session.collections.create(path.rsplit("/", 1)[0])
        remove_object(target, path + PARTIAL)
        with translated_errors(name):
            put_object(target, path + PARTIAL, one, opener)
        remove_object(target, path)
        with translated_errors(name):
            target.session.data_objects.move(path + PARTIAL, path)
    return len(instances)
