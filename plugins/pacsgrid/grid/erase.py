"""Erase a withdrawn subject from a zone, replicas and trash included, and check that it is gone."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import irods.keywords as kw
from irods.column import In, Like
from irods.exception import (
    CAT_INSUFFICIENT_PRIVILEGE_LEVEL,
    CAT_NO_ACCESS_PERMISSION,
    SYS_NO_API_PRIV,
    iRODSException,
)
from irods.models import Collection, CollectionMeta, DataObject

from pacsgrid.errors import ZoneError
from pacsgrid.grid.irods_requests import stored_checksum
from pacsgrid.grid.release_tickets import revoke_tickets_below
from pacsgrid.grid.zone import Zone, translated_errors
from pacsgrid.uids import named

# Object names in one catalog query; a query's text is limited.
_NAMES_AT_ONCE = 100
_CONNECTIONS = 4
# What servers answer when the account lacks the right to remove something.
_NO_RIGHT = (CAT_NO_ACCESS_PERMISSION, CAT_INSUFFICIENT_PRIVILEGE_LEVEL, SYS_NO_API_PRIV)
# A subject that was derived from a project's key.
_DERIVED = re.compile(r"S[A-Z2-7]{12}")


@dataclass(frozen=True)
class ErasureReport:
    """What was removed from a zone.

    Attributes
    ----------
    objects, replicas
        How many data objects and replicas were removed.
    vault_files_gone
        How many vault files were proven gone: the server was asked to read each and could not.
        0 when the account is not an administrator's; then the catalog alone is the proof.
    """

    objects: int
    replicas: int
    vault_files_gone: int


def erase_subject(zone: Zone, project: str, subject: str, sop_uids: Sequence[str]) -> ErasureReport:
    """Remove everything of a subject from a zone, tickets first; safe to repeat.

    Parameters
    ----------
    zone
        The zone.
    project
        The project's name.
    subject
        The patient's pseudonym.
    sop_uids
        Every SOPInstanceUID that was ever deposited for the subject. Objects with these names
        are removed wherever they are in the zone.

    Returns
    -------
    ErasureReport
        What was removed, and how many vault files were proven gone.

    Raises
    ------
    ZoneError
        The account may not remove something, or something of the subject is left.
    ZoneUnavailableError
        The zone does not answer.
    """
    name = zone.settings.name
    replicas = _replicas(zone, project, subject, sop_uids)
    objects = {path for path, _, _ in replicas}
    collections = _collections(zone, project, subject)
    for path in collections:
        revoke_tickets_below(zone, path)
    with translated_errors(name):
        session = zone.session
        for path in collections:
            if session.collections.exists(path):
                _remove(zone, path, session.collections.remove)
        for path in {path for path, _, _ in _replicas(zone, project, subject, sop_uids)}:
            if session.data_objects.exists(path):
                _remove(zone, path, session.data_objects.unlink)
    left = [
        *_collections(zone, project, subject),
        *(path for path, _, _ in _replicas(zone, project, subject, sop_uids)),
        *_marked_collections(zone, project, subject),
    ]
    if left:
        raise ZoneError(
            f"zone {name}: {len(left)} collections or replicas of a withdrawn subject are left, "
            f"such as {left[0]}; remove them as the zone's administrator"
        )
    gone = sum(
        zone.run_parallel(lambda one: _file_is_gone(zone, *one), sorted(replicas), _CONNECTIONS)
    )
    return ErasureReport(len(objects), len(replicas), gone)


def _remove(zone: Zone, path: str, remove: Callable[..., Any]) -> None:
    """Remove a collection or object for good, from another user's trash with an admin's rights."""
    try:
        remove(path, force=True)
    except _NO_RIGHT:
        if not path.startswith(f"/{zone.settings.name}/trash/"):
            raise
        # As `irmtrash -M` does; ownership does not count for it.
        try:
            remove(path, force=True, **{kw.ADMIN_RMTRASH_KW: ""})
        except _NO_RIGHT as error:
            raise ZoneError(
                f"zone {zone.settings.name}: account {zone.settings.user} may not remove a "
                f"withdrawn subject from a user's trash ({type(error).__name__}): {path}; let a "
                "rodsadmin run `irmtrash -M`; the next maintenance then completes the withdrawal"
            ) from None


def _replicas(
    zone: Zone, project: str, subject: str, sop_uids: Sequence[str]
) -> set[tuple[str, str, str]]:
    """Return every replica below the subject's collection, or of its instances in the zone.

    Each is the object's path, the resource hierarchy and the vault file.
    """
    columns = (Collection.name, DataObject.name, DataObject.resc_hier, DataObject.path)
    root = f"/{zone.settings.name}/home/{project}/data/{named(subject)}"
    names = [f"{uid}.dcm" for uid in sop_uids]
    parts = [names[at : at + _NAMES_AT_ONCE] for at in range(0, len(names), _NAMES_AT_ONCE)]
    queries = [Like(Collection.name, f"{root}/%"), *(In(DataObject.name, part) for part in parts)]
    return {
        (
            f"{row[Collection.name]}/{row[DataObject.name]}",
            row[DataObject.resc_hier],
            row[DataObject.path],
        )
        for number, query in enumerate(queries)
        for row in zone.rows(columns, query)
        # In a pattern, the underscore of a subject stands for any character.
        if number or row[Collection.name].startswith(f"{root}/")
    }


def _collections(zone: Zone, project: str, subject: str) -> list[str]:
    """Return the subject's collection, and those that a removal moved to a user's trash."""
    name = zone.settings.name
    home = f"/{name}/home/{project}/data/{named(subject)}"
    trash = f"/{name}/trash/%/{subject}"
    found = [
        row[Collection.name]
        for criterion in (Collection.name == home, Like(Collection.name, trash))
        for row in zone.rows((Collection.name,), criterion)
    ]
    return sorted({path for path in found if path == home or _is_thrown(path, project, subject)})


def _is_thrown(path: str, project: str, subject: str) -> bool:
    """Return whether a collection in the trash is the subject's.

    A derived subject occurs in one project only. One from outside may be another's in another
    project, and the underscore in it stands for any character in a pattern.
    """
    if path.rsplit("/", 1)[1] != subject:
        return False
    return _DERIVED.fullmatch(subject) is not None or path.endswith(f"/{project}/data/{subject}")


def _marked_collections(zone: Zone, project: str, subject: str) -> list[str]:
    """Return the project's collections whose AVU names the subject."""
    rows = zone.rows(
        (Collection.name,),
        Like(Collection.name, f"/{zone.settings.name}/%"),
        CollectionMeta.name == "pacsgrid.subject",
        CollectionMeta.value == subject,
    )
    return [row[Collection.name] for row in rows if f"/{project}/" in row[Collection.name]]


def _file_is_gone(zone: Zone, path: str, hierarchy: str, file: str) -> bool:
    """Return whether the server can prove that a vault file is gone.

    Raises
    ------
    ZoneError
        The file is still there.
    """
    try:
        stored_checksum(zone, path, hierarchy, file, 1)
    except SYS_NO_API_PRIV:
        return False
    except iRODSException:
        return True
    raise ZoneError(
        f"zone {zone.settings.name}: a vault file of a withdrawn subject is still on {hierarchy}; "
        f"remove {file} there as the server's administrator"
    )
