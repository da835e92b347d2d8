"""Let one user read one release until a time, through a group whose name tells the time.

A group for each grant keeps grants apart: where two of them open the same study, the end of one
leaves the other. A reader of the catalog, such as the gateway, sees from the name alone that a
grant is over, even while the group is still there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from irods.access import iRODSAccess
from irods.column import Like
from irods.exception import (
    CAT_INVALID_USER,
    CAT_SUCCESS_BUT_WITH_NO_INFO,
    CAT_UNKNOWN_COLLECTION,
    CollectionDoesNotExist,
    GroupDoesNotExist,
)
from irods.models import Group, User

from pacsgrid.grid.sharing import add_member
from pacsgrid.grid.zone import Zone, translated_errors

_GROUP = re.compile(r"grant_([0-9a-f]{20})_until_(\d{8}T\d{6})Z")
_TIME = "%Y%m%dT%H%M%S"
_CONNECTIONS = 4


def grant_group(grant: str, until: datetime) -> str:
    """Return the name of a grant's group.

    Parameters
    ----------
    grant
        The grant's id, ``gr-`` and 20 hex digits.
    until
        When the grant ends.
    """
    return f"grant_{grant.removeprefix('gr-')}_until_{until.astimezone(UTC).strftime(_TIME)}Z"


def end_of_group(group: str) -> datetime | None:
    """Return when the grant of a group ends; None for a group that is no grant's."""
    found = _GROUP.fullmatch(group)
    if found is None:
        return None
    try:
        return datetime.strptime(found[2], _TIME).replace(tzinfo=UTC)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)  # a date that does not exist has passed


def open_to(
    zone: Zone, grant: str, until: datetime, member: str, collections: Sequence[str]
) -> None:
    """Let a user read collections through the grant's group; safe to repeat.

    The user becomes a member last, and so sees all of it or nothing.

    Parameters
    ----------
    zone
        The zone.
    grant
        The grant's id.
    until
        When the grant ends.
    member
        The user, as ``name#zone``.
    collections
        The collections to read, with everything in them.

    Raises
    ------
    ConfigError
        The user does not exist in the zone.
    ZoneError, ZoneUnavailableError
        The zone refused, or does not answer.
    """
    group, name = grant_group(grant, until), zone.settings.name
    with translated_errors(name):
        try:
            zone.session.groups.get(group)
        except GroupDoesNotExist:
            zone.session.groups.create(group)
    zone.run_parallel(
        lambda path: zone.session.acls.set(iRODSAccess("read", path, group, name), recursive=True),
        collections,
        _CONNECTIONS,
    )
    with translated_errors(name):
        add_member(zone, group, member)


def close(zone: Zone, grant: str, collections: Sequence[str], keep: str = "") -> int:
    """Take a grant's rights away: first from the user, then from what it opened.

    Parameters
    ----------
    zone
        The zone.
    grant
        The grant's id.
    collections
        The collections that it opened; those that are gone are left out.
    keep
        The group that stays, where the grant has another end now.

    Returns
    -------
    int
        How many groups were removed.

    Raises
    ------
    ZoneError, ZoneUnavailableError
        The zone refused, or does not answer.
    """
    name, groups = zone.settings.name, [g for g in grant_groups(zone, grant) if g != keep]
    for group in groups:
        with translated_errors(name):
            for user, home in _members(zone, group):
                zone.session.groups.removemember(group, user, home)
        zone.run_parallel(
            lambda path, group=group: _remove_right(zone, path, group),  # type: ignore[misc]
            collections,
            _CONNECTIONS,
        )
        with translated_errors(name):
            zone.session.groups.remove(group)
    return len(groups)


def grant_groups(zone: Zone, grant: str = "") -> list[str]:
    """Return the names of a grant's groups in a zone.

    Parameters
    ----------
    zone
        The zone.
    grant
        The grant's id; empty for the groups of every grant.
    """
    prefix = f"grant_{grant.removeprefix('gr-')}"
    rows = zone.rows((User.name,), User.type == "rodsgroup", Like(User.name, f"{prefix}%"))
    return sorted({row[User.name] for row in rows if end_of_group(row[User.name]) is not None})


def _members(zone: Zone, group: str) -> list[tuple[str, str]]:
    rows = zone.rows((User.name, User.zone), Group.name == group, User.type != "rodsgroup")
    return sorted((row[User.name], row[User.zone]) for row in rows)


def _remove_right(zone: Zone, path: str, group: str) -> None:
    try:
        zone.session.acls.set(iRODSAccess("null", path, group, zone.settings.name), recursive=True)
    except (
        CAT_UNKNOWN_COLLECTION,
        CAT_INVALID_USER,
        CAT_SUCCESS_BUT_WITH_NO_INFO,
        CollectionDoesNotExist,
    ):
        return
