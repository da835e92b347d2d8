"""Sharing: groups with read access that new objects inherit, and tickets that end by themselves."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime

from irods.access import iRODSAccess
from irods.exception import (
    CAT_TICKET_INVALID,
    CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME,
    GroupDoesNotExist,
    UserDoesNotExist,
)
from irods.ticket import Ticket

from pacsgrid.errors import ConfigError, ZoneError
from pacsgrid.grid.fetch import stored_below
from pacsgrid.grid.layout import ensure_collection
from pacsgrid.grid.zone import Zone, translated_errors

ROOMS = ("data", "releases")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def share(zone: Zone, project: str, members: Sequence[str]) -> str:
    """Let users read a project through its group, what comes later included; returns the group.

    Parameters
    ----------
    members
        Users as ``name`` or, of a partner zone, ``name#zone``; those the zone does not know yet
        are entered as its users.

    Raises
    ------
    ConfigError
        A user of the zone itself does not exist.
    """
    session, name = zone.session, zone.settings.name
    group = f"{project}_readers"
    home = f"/{name}/home/{project}"
    for room in ROOMS:
        ensure_collection(zone, f"{home}/{room}")
    with translated_errors(name):
        try:
            session.groups.get(group)
        except GroupDoesNotExist:
            session.groups.create(group)
        # A reader who may not see the collection above is told that nothing is there.
        session.acls.set(iRODSAccess("read", home, group, name))
        for room in ROOMS:
            path = f"{home}/{room}"
            session.acls.set(iRODSAccess("read", path, group, name), recursive=True)
            session.acls.set(iRODSAccess("inherit", path), recursive=True)
        for member in members:
            _add(zone, group, member)
    return group


def _add(zone: Zone, group: str, member: str) -> None:
    user, _, home = member.partition("#")
    session, name = zone.session, zone.settings.name
    try:
        session.users.get(user, home or name)
    except UserDoesNotExist:
        if not home or home == name:
            raise ConfigError(f"zone {name} has no user {user!r}; make it there first") from None
        session.users.create_remote(user, home)
    try:
        session.groups.addmember(group, user, home or name)
    except CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME:
        return


def unshare(zone: Zone, project: str, member: str) -> None:
    """Take a user's access to a project away."""
    user, _, home = member.partition("#")
    with translated_errors(zone.settings.name):
        zone.session.groups.removemember(f"{project}_readers", user, home or zone.settings.name)


def check_read_access(reader: Zone, collection: str) -> int:
    """Check a grant as the reader does, by moving the bytes of one object; returns how many.

    Raises
    ------
    ZoneError
        Nothing is to be seen there, or an object is listed and cannot be read.
    """
    one = next(stored_below(reader, collection), None)
    if one is None:
        raise ZoneError(f"{reader.settings.user} sees nothing in {collection}; walk its parents")
    with (
        translated_errors(reader.settings.name),
        reader.session.data_objects.open(one.path, "r", allow_redirect=False) as stream,
    ):
        return len(stream.read())


def new_ticket() -> str:
    """Return a string for a ticket that nobody can guess."""
    return "".join(secrets.choice(_LETTERS) for _ in range(24))


def issue_ticket(
    zone: Zone, collection: str, until: datetime, uses: int = 0, string: str = ""
) -> str:
    """Return a ticket that lets its bearer read a collection until a time.

    Parameters
    ----------
    uses
        How often an object may be read with it; 0 for any number.
    string
        What the ticket reads; by default something that nobody can guess.
    """
    if until <= datetime.now(UTC):
        raise ConfigError(f"a ticket until {until.isoformat()} would be over already")
    with translated_errors(zone.settings.name):
        ticket = Ticket(zone.session, string or new_ticket())
        ticket.issue("read", collection)
        try:
            ticket.modify("expire", until.astimezone(UTC).strftime("%Y-%m-%d.%H:%M:%S"))
            if uses:
                ticket.modify("uses", str(uses))
        except BaseException:
            ticket.delete()  # one without its limits would open the collection for ever
            raise
    return str(ticket.string)


def revoke_ticket(zone: Zone, ticket: str) -> None:
    """End a ticket; one that is gone is no error."""
    with translated_errors(zone.settings.name):
        try:
            Ticket(zone.session, ticket).delete()
        except CAT_TICKET_INVALID:
            return
