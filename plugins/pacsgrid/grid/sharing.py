"""Share a project: a group with read access that new objects inherit, and tickets that expire."""

from __future__ import annotations

import secrets
import string as ascii_characters
from collections.abc import Sequence
from datetime import UTC, datetime

from irods.access import iRODSAccess
from irods.exception import (
    CAT_TICKET_INVALID,
    CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME,
    GroupDoesNotExist,
    UserDoesNotExist,
)
from irods.models import Group, User
from irods.ticket import Ticket

from pacsgrid.errors import ConfigError
from pacsgrid.grid.layout import ensure_collection
from pacsgrid.grid.zone import Zone, translated_errors

# The collections of a project that its readers may read.
SHARED = ("data", "releases")
_CHARACTERS = ascii_characters.ascii_letters + ascii_characters.digits
_LENGTH = 24


def share(zone: Zone, project: str, members: Sequence[str]) -> str:
    """Let users read a project through its group, including what is deposited later.

    Parameters
    ----------
    zone
        The zone.
    project
        The project's name.
    members
        Users as ``name`` or, of a partner zone, ``name#zone``. Users of a partner zone that this
        zone does not know are registered in it.

    Returns
    -------
    str
        The group's name.

    Raises
    ------
    ConfigError
        A user of the zone itself does not exist.
    ZoneError, ZoneUnavailableError
        The zone refused, or does not answer.
    """
    session, name = zone.session, zone.settings.name
    group = _group(project)
    home = f"/{name}/home/{project}"
    for shared in SHARED:
        ensure_collection(zone, f"{home}/{shared}")
    with translated_errors(name):
        try:
            session.groups.get(group)
        except GroupDoesNotExist:
            session.groups.create(group)
        # Without access to the collection above, a reader is told that nothing is there.
        session.acls.set(iRODSAccess("read", home, group, name))
        for shared in SHARED:
            path = f"{home}/{shared}"
            session.acls.set(iRODSAccess("read", path, group, name), recursive=True)
            session.acls.set(iRODSAccess("inherit", path), recursive=True)
        for member in members:
            add_member(zone, group, member)
    return group


def _group(project: str) -> str:
    return f"{project}_readers"


def add_member(zone: Zone, group: str, member: str) -> None:
    """Add a user to a group; one who is in it already stays.

    Parameters
    ----------
    zone
        The zone.
    group
        The group's name.
    member
        The user, as ``name`` or ``name#zone``. One of a partner zone is registered in this zone.

    Raises
    ------
    ConfigError
        A user of the zone itself does not exist.
    """
    user, _, home = member.partition("#")
    session, name = zone.session, zone.settings.name
    try:
        session.users.get(user, home or name)
    except UserDoesNotExist:
        if not home or home == name:
            raise ConfigError(
                f"zone {name} has no user {user!r}; create it there first, or write it as "
                "NAME#ZONE if it belongs to a partner zone"
            ) from None
        session.users.create_remote(user, home)
    try:
        session.groups.addmember(group, user, home or name)
    except CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME:
        return


def unshare(zone: Zone, project: str, member: str) -> None:
    """Remove a user from a project's group.

    Parameters
    ----------
    zone
        The zone.
    project
        The project's name.
    member
        The user, as ``name`` or ``name#zone``.

    Raises
    ------
    ZoneError, ZoneUnavailableError
        The zone refused, or does not answer.
    """
    user, _, home = member.partition("#")
    with translated_errors(zone.settings.name):
        zone.session.groups.removemember(_group(project), user, home or zone.settings.name)


def add_reader(zone: Zone, project: str, member: str) -> None:
    """Let one user read a project; where it is shared already, nothing but the group changes.

    Parameters
    ----------
    zone
        The zone.
    project
        The project's name.
    member
        The user, as for `share`.

    Raises
    ------
    ConfigError
        A user of the zone itself does not exist.
    ZoneError, ZoneUnavailableError
        The zone refused, or does not answer.
    """
    with translated_errors(zone.settings.name):
        try:
            zone.session.groups.get(_group(project))
        except GroupDoesNotExist:
            share(zone, project, [member])
        else:
            add_member(zone, _group(project), member)


def is_reader(zone: Zone, project: str, member: str) -> bool:
    """Return whether a user is in a project's group.

    Parameters
    ----------
    zone
        The zone.
    project
        The project's name.
    member
        The user, as ``name#zone``.

    Raises
    ------
    ZoneError, ZoneUnavailableError
        The zone refused, or does not answer.
    """
    user, _, home = member.partition("#")
    rows = zone.rows(
        (Group.id,), Group.name == _group(project), User.name == user, User.zone == home
    )
    return any(True for _ in rows)


def new_ticket() -> str:
    """Return a ticket's string that nobody can guess."""
    return "".join(secrets.choice(_CHARACTERS) for _ in range(_LENGTH))


def issue_ticket(
    zone: Zone, collection: str, until: datetime, uses: int = 0, string: str = ""
) -> str:
    """Issue a ticket that lets its bearer read a collection until a time.

    Parameters
    ----------
    zone
        The zone.
    collection
        The collection to read.
    until
        When the ticket expires.
    uses
        How often an object may be read with it; 0 for any number.
    string
        The ticket's string; by default one that nobody can guess.

    Returns
    -------
    str
        The ticket's string.

    Raises
    ------
    ConfigError
        The time has passed already.
    ZoneError, ZoneUnavailableError
        The zone refused, or does not answer.
    """
    if until <= datetime.now(UTC):
        raise ConfigError(
            f"the ticket would have expired already, at {until.isoformat()}; choose a later time"
        )
    with translated_errors(zone.settings.name):
        ticket = Ticket(zone.session, string or new_ticket())
        ticket.issue("read", collection)
        try:
            ticket.modify("expire", until.astimezone(UTC).strftime("%Y-%m-%d.%H:%M:%S"))
            if uses:
                ticket.modify("uses", str(uses))
        except BaseException:
            ticket.delete()  # without its limits it would open the collection for ever
            raise
    return str(ticket.string)


def revoke_ticket(zone: Zone, ticket: str) -> None:
    """Revoke a ticket; one that does not exist is not an error.

    Parameters
    ----------
    zone
        The zone.
    ticket
        The ticket's string.

    Raises
    ------
    ZoneError, ZoneUnavailableError
        The zone refused, or does not answer.
    """
    with translated_errors(zone.settings.name):
        try:
            Ticket(zone.session, ticket).delete()
        except CAT_TICKET_INVALID:
            return
