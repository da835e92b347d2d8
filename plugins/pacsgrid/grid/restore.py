"""Objects that a zone has lost, brought back from another zone's proven copy or from files."""

from __future__ import annotations

from collections.abc import Sequence

from pacsgrid.grid.catalog import replicas_below
from pacsgrid.grid.deposit import PARTIAL, remove_object
from pacsgrid.grid.layout import InstanceInfo, ensure_project, object_path, study_collection
from pacsgrid.grid.partner import zone_opener
from pacsgrid.grid.put import Opener, _D_contra, put_object
from pacsgrid.grid.zone import Zone, translated_errors


def restore_objects(
    source: Zone, target: Zone, project: str, instances: Sequence[InstanceInfo]
) -> list[str]:
    """Bring objects back into `target`; returns the SOP UIDs that `source` could give.

    `instances` are those without any good replica in `target`.

    Raises
    ------
    ZoneUnavailableError, ZoneError
        As in `put_back`.
    """
    if not instances:
        return []
    first = instances[0]
    name = source.settings.name
    there = replicas_below(source, study_collection(name, project, first.subject, first.study_uid))
    given = [one for one in instances if object_path(name, project, one) in there]
    replace_objects(target, project, given, zone_opener(source, project))
    return [one.sop_uid for one in given]


def replace_objects(
    target: Zone, project: str, instances: Sequence[_D_contra], opener: Opener[_D_contra]
) -> int:
    """Put instances whose replicas in `target` are missing or bad; returns how many.

    Each is put beside its place, proven, and only then takes the place of what is left there.

    Parameters
    ----------
    opener
        Gives the bytes of each: a file, or an open stream.

    Raises
    ------
    ZoneUnavailableError
        The zone did not answer, or what arrived is not what was sent.
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
