"""Issue and revoke the tickets of a release: one for its documents, one for each study.

A study that is listed in part has one for each listed series.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from irods.column import Like
from irods.models import Collection, DataObject, TicketQuery

from pacsgrid.grid.documents import get_document
from pacsgrid.grid.fetch import not_a_release
from pacsgrid.grid.release_script import release_script
from pacsgrid.grid.sharing import issue_ticket, new_ticket, revoke_ticket
from pacsgrid.grid.zone import Zone

VERSION = re.compile(r"/releases/[^/]+/v\d+$")
_STUDY = re.compile(r"data/[^/]+/([^/]+)")
_SERIES = re.compile(r"data/[^/]+/[^/]+/(?:results/[^/]+/)?[^/]+")
_CONNECTIONS = 4


@dataclass(frozen=True)
class ReleaseTickets:
    """The tickets of a version of a release.

    Attributes
    ----------
    name
        The ticket of the documents; revoking it revokes all of them.
    release
        The collection of the version.
    until
        When the tickets expire.
    studies
        The ticket of each study, or of each listed series of a study that is listed in part, by
        its path below the project's collection.
    """

    name: str
    release: str
    until: datetime
    studies: Mapping[str, str]


def issue_release_tickets(zone: Zone, release: str, until: datetime) -> ReleaseTickets:
    """Issue tickets that let their bearer fetch a version of a release until a time.

    A ticket of iRODS opens one collection, but the images lie in the collections of their
    studies. The strings of all tickets begin with the first one, which is how they are revoked
    together.

    Parameters
    ----------
    zone
        The zone.
    release
        The collection of the version (``.../releases/NAME/vN``).
    until
        When the tickets expire.

    Returns
    -------
    ReleaseTickets
        The tickets, and when they expire.

    Raises
    ------
    ConfigError
        The time has passed already.
    ZoneError
        It is not a version of a release, or the zone lacks one of its studies. No ticket is left.
    ZoneUnavailableError
        The zone does not answer.
    """
    studies = _listed_studies(zone, release)
    name = new_ticket()
    tickets = {study: f"{name}.{number}" for number, study in enumerate(studies, 1)}
    project = release.split("/releases/")[0]
    wanted = {release: name, **{f"{project}/{study}": tickets[study] for study in studies}}
    try:
        zone.run_parallel(
            lambda one: issue_ticket(zone, one[0], until, string=one[1]),
            wanted.items(),
            _CONNECTIONS,
        )
    except BaseException:
        revoke_tickets(zone, name)
        raise
    return ReleaseTickets(name, release, until, tickets)


def _listed_studies(zone: Zone, release: str) -> list[str]:
    """Return the studies that a version's manifest lists, as paths below the project.

    Of a study that is listed in part, the listed series take its place.
    """
    text = get_document(zone, f"{release}/manifest.json")
    try:
        manifest = json.loads(text or "")
        partial = set(manifest.get("partial_studies", ()))
        found = set()
        for one in manifest["objects"]:
            study, series = _STUDY.match(one["path"]), _SERIES.match(one["path"])
            if study is not None and series is not None:
                found.add(series[0] if study[1] in partial else study[0])
        return sorted(found)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise not_a_release(release) from None


def fetch_script(tickets: ReleaseTickets) -> str:
    """Return a shell script that fetches the release with iCommands and its tickets.

    Run again after an interruption, the script continues where it was.
    """
    about = (
        f"Fetches {tickets.release} with iCommands. Any account will do, "
        '"anonymous" too.\n'
        f"Whoever has this file can read the release until {_utc_text(tickets.until)}: keep it "
        f"private. Revoke its tickets by the name {tickets.name}."
    )
    return release_script(tickets.release, about, tickets.name, tickets.studies)


def _utc_text(until: datetime) -> str:
    return f"{until.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def revoke_tickets(zone: Zone, name: str) -> int:
    """Revoke a ticket, and those of the studies if it is a release's.

    Parameters
    ----------
    zone
        The zone.
    name
        The ticket's string. One that does not exist is not an error.

    Returns
    -------
    int
        How many tickets were revoked.

    Raises
    ------
    ZoneError, ZoneUnavailableError
        The zone refused, or does not answer.
    """
    string = TicketQuery.Ticket.string
    criteria = [string == name]
    if name.isalnum():  # as ours are: nothing that a query takes for a wildcard
        criteria.append(Like(string, f"{name}.%"))
    return _revoke(
        zone, [row[string] for criterion in criteria for row in zone.rows((string,), criterion)]
    )


def revoke_tickets_below(zone: Zone, collection: str) -> int:
    """Revoke the tickets on a collection and on everything in it.

    Tickets that other accounts issued stay: without their object they open nothing.

    Parameters
    ----------
    zone
        The zone.
    collection
        The collection.

    Returns
    -------
    int
        How many tickets were revoked.

    Raises
    ------
    ZoneError, ZoneUnavailableError
        The zone refused, or does not answer.
    """
    below = (Collection.name == collection, Like(Collection.name, f"{collection}/%"))
    # A real catalog joins a ticket to its object's name for one kind of object at a time only.
    ids = {
        row[column]
        for column in (Collection.id, DataObject.id)
        for criterion in below
        for row in zone.rows((column,), criterion)
    }
    string, object_id = TicketQuery.Ticket.string, TicketQuery.Ticket.object_id
    found = {row[string] for row in zone.rows((string, object_id)) if row[object_id] in ids}
    return _revoke(zone, sorted(found))


def _revoke(zone: Zone, strings: Sequence[str]) -> int:
    for string in strings:
        revoke_ticket(zone, string)
    return len(strings)
