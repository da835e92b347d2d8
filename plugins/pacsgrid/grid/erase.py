"""Erase: a patient out of a zone, replicas and trash included, and proven gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from irods.column import In, Like
from irods.exception import SYS_NO_API_PRIV, iRODSException
from irods.models import Collection, CollectionMeta, DataObject

from pacsgrid.errors import ZoneError
from pacsgrid.grid.irods_requests import stored_checksum
from pacsgrid.grid.release_tickets import revoke_tickets_below
from pacsgrid.grid.zone import Zone, translated_errors
from pacsgrid.uids import named

_SOME = 100


@dataclass(frozen=True)
class ErasureReport:
    """What was removed, and how many vault files the server was asked for in vain."""

    objects: int
    replicas: int
    vault_files_gone: int


def erase_subject(zone: Zone, project: str, subject: str, sop_uids: Sequence[str]) -> ErasureReport:
    """Remove everything of a subject from a zone, tickets first; safe to repeat.

    Raises
    ------
    ZoneError
        Something of the subject is still there afterwards.
    """
    name = zone.settings.name
    replicas = _replicas(zone, project, subject, sop_uids)
    objects = {path for path, _, _ in replicas}
    collections = _collections(zone, project, subject)
    for path in collections:
        revoke_tickets_below(zone, path)
    with translated_errors(name):
        for path in collections:
            if zone.session.collections.exists(path):
                zone.session.collections.remove(path, recurse=True, force=True)
        for path, _, _ in _replicas(zone, project, subject, sop_uids):
            if zone.session.data_objects.exists(path):
                zone.session.data_objects.unlink(path, force=True)
    left = [
        *_collections(zone, project, subject),
        *(path for path, _, _ in _replicas(zone, project, subject, sop_uids)),
        *_marked(zone, project, subject),
    ]
    if left:
        raise ZoneError(f"zone {name}: {len(left)} entries of a withdrawn subject are left")
    gone = sum(zone.run_parallel(lambda one: _file_gone(zone, *one), sorted(replicas), 4))
    return ErasureReport(len(objects), len(replicas), gone)


def _replicas(
    zone: Zone, project: str, subject: str, sop_uids: Sequence[str]
) -> set[tuple[str, str, str]]:
    """Every replica below the subject's collection, or of its instances anywhere in the zone."""
    columns = (Collection.name, DataObject.name, DataObject.resc_hier, DataObject.path)
    root = f"/{zone.settings.name}/home/{project}/data/{named(subject)}"
    names = [f"{uid}.dcm" for uid in sop_uids]
    some = [names[at : at + _SOME] for at in range(0, len(names), _SOME)]
    queries = [Like(Collection.name, f"{root}/%"), *(In(DataObject.name, part) for part in some)]
    return {
        (
            f"{row[Collection.name]}/{row[DataObject.name]}",
            row[DataObject.resc_hier],
            row[DataObject.path],
        )
        for query in queries
        for row in zone.rows(columns, query)
    }


def _collections(zone: Zone, project: str, subject: str) -> list[str]:
    """The subject's collection where it belongs, and where a removal may have moved it."""
    name = zone.settings.name
    home = f"/{name}/home/{project}/data/{named(subject)}"
    trash = f"/{name}/trash/%/{subject}"
    found = [
        row[Collection.name]
        for criterion in (Collection.name == home, Like(Collection.name, trash))
        for row in zone.rows((Collection.name,), criterion)
    ]
    return sorted(set(found))


def _marked(zone: Zone, project: str, subject: str) -> list[str]:
    rows = zone.rows(
        (Collection.name,),
        Like(Collection.name, f"/{zone.settings.name}/%"),
        CollectionMeta.name == "pacsgrid.subject",
        CollectionMeta.value == subject,
    )
    return [row[Collection.name] for row in rows if f"/{project}/" in row[Collection.name]]


def _file_gone(zone: Zone, path: str, hierarchy: str, file: str) -> bool:
    try:
        stored_checksum(zone, path, hierarchy, file, 1)
    except SYS_NO_API_PRIV:
        return False  # not an administrator: the catalog alone is the proof
    except iRODSException:
        return True
    raise ZoneError(
        f"zone {zone.settings.name}: a vault file of a withdrawn subject is still on {hierarchy}"
    )
