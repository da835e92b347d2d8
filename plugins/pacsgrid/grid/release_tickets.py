"""Tickets of a release: one for its documents, one for each of its studies, ended together."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from irods.column import Like
from irods.models import Collection, DataObject, TicketQuery

from pacsgrid.errors import ZoneError
from pacsgrid.grid.fetch import get_document
from pacsgrid.grid.sharing import issue_ticket, new_ticket, revoke_ticket
from pacsgrid.grid.zone import Zone

VERSION = re.compile(r"/releases/[^/]+/v\d+$")
_STUDY = re.compile(r"data/[^/]+/[^/]+")
_CONNECTIONS = 4


@dataclass(frozen=True)
class ReleaseTickets:
    """Tickets of a version of a release.

    `name` ends them all; `studies` has a ticket for each study, by the study's place in the
    project.
    """

    name: str
    release: str
    until: datetime
    studies: Mapping[str, str]


def issue_release_tickets(zone: Zone, release: str, until: datetime) -> ReleaseTickets:
    """Let the bearer fetch a version of a release until a time: its documents and its studies.

    A ticket of iRODS opens one collection, and the images lie in the collections of their
    studies. All strings begin with the name of the first, which therefore ends all of them.

    Raises
    ------
    ConfigError
        The time is over already.
    ZoneError
        It is no version of a release, or a study of it is not in the zone. No ticket is left.
    """
    studies = _studies(zone, release)
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


def _studies(zone: Zone, release: str) -> list[str]:
    """The studies that a version's manifest lists, as places in the project."""
    text = get_document(zone, f"{release}/manifest.json")
    try:
        found = (_STUDY.match(one["path"]) for one in json.loads(text or "")["objects"])
        return sorted({one[0] for one in found if one is not None})
    except (ValueError, KeyError, TypeError):
        raise ZoneError(
            f"{release}: no release; give the collection of one of its versions"
        ) from None


def fetch_script(tickets: ReleaseTickets) -> str:
    """Return a shell script that fetches the release with iCommands and its tickets.

    Run again after an interruption, it goes on with the study where it was.
    """
    project, _, version = tickets.release.partition("/releases/")
    target = version.replace("/", "-")
    lines = [
        f"fetch {ticket} {shlex.quote(f'{project}/{study}')} {shlex.quote(study)}"
        for study, ticket in tickets.studies.items()
    ]
    return f"""#!/bin/sh
# Fetches {tickets.release} with iCommands, of any account or of "anonymous", into {target}.
# Whoever has this file may read the release until {_told(tickets.until)}: keep it to yourself.
# Run again after an interruption, it goes on. Its tickets are ended by the name {tickets.name}.
set -eu

fetch() {{  # TICKET COLLECTION PLACE
    [ -e "$3/.fetched" ] && return
    mkdir -p "${{3%/*}}"
    iget -r -K -f -t "$1" "$2" "${{3%/*}}"
    : > "$3/.fetched"
}}

mkdir -p {shlex.quote(target)}
cd {shlex.quote(target)}
for document in README.md SHA256SUMS manifest.json ro-crate-metadata.json; do
    iget -K -f -t {tickets.name} {shlex.quote(tickets.release)}/"$document" .
done
{chr(10).join(lines)}
sha256sum --quiet -c SHA256SUMS
echo "all is here, as it was released"
"""


def _told(until: datetime) -> str:
    return f"{until.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def revoke_tickets(zone: Zone, name: str) -> int:
    """End a ticket, and those of the studies if it is a release's; returns how many ended.

    One that is gone is no error.
    """
    string = TicketQuery.Ticket.string
    criteria = [string == name]
    if name.isalnum():  # as ours are: nothing that a query takes for a wildcard
        criteria.append(Like(string, f"{name}.%"))
    return _end(
        zone, [row[string] for criterion in criteria for row in zone.rows((string,), criterion)]
    )


def revoke_tickets_below(zone: Zone, collection: str) -> int:
    """End every ticket on a collection and on what is in it; returns how many ended.

    Somebody else's tickets are left: without their object they open nothing.
    """
    below = (Collection.name == collection, Like(Collection.name, f"{collection}/%"))
    # A real catalog joins a ticket to its object's name for one kind of object at a time only.
    ids = {
        row[column]
        for column in (Collection.id, DataObject.id)
        for criterion in below
        for row in zone.rows((column,), criterion)
    }
    string, of = TicketQuery.Ticket.string, TicketQuery.Ticket.object_id
    found = {row[string] for row in zone.rows((string, of)) if row[of] in ids}
    return _end(zone, sorted(found))


def _end(zone: Zone, strings: Sequence[str]) -> int:
    for string in strings:
        revoke_ticket(zone, string)
    return len(strings)
