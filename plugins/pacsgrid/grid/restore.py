"""Objects that a zone has lost, brought back from another zone's proven copy."""

from __future__ import annotations

from collections.abc import Sequence

from pacsgrid.grid.catalog import replicas_below
from pacsgrid.grid.deposit import PARTIAL, remove_object
from pacsgrid.grid.layout import Deposited, object_path, study_collection
from pacsgrid.grid.partner import opener_from
from pacsgrid.grid.put import put_one
from pacsgrid.grid.zone import Zone, translated


def restore(source: Zone, target: Zone, project: str, instances: Sequence[Deposited]) -> list[str]:
    """Bring objects back into `target`; returns the SOP UIDs that `source` could give.

    `instances` are those without any good replica in `target`. Each is put beside its place,
    proven, and only then takes the place of what is left there.
    """
    restored: list[str] = []
    if not instances:
        return restored
    name = target.settings.name
    first = instances[0]
    there = replicas_below(
        source, study_collection(source.settings.name, project, first.subject, first.study_uid)
    )
    opener = opener_from(source, project)
    for one in instances:
        if object_path(source.settings.name, project, one) not in there:
            continue
        path = object_path(name, project, one)
        with translated(name):
            target.session.collections.create(path.rsplit("/", 1)[0])
        remove_object(target, path + PARTIAL)
        with translated(name):
            put_one(target, path + PARTIAL, one, opener)
        remove_object(target, path)
        with translated(name):
            target.session.data_objects.move(path + PARTIAL, path)
        restored.append(one.sop_uid)
    return restored
