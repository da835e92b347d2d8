"""``pacsgrid share``, ``ticket`` and ``leave``: who may read a project, and where it lies."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta
from typing import Any

from pacsgrid.config import load_site
from pacsgrid.grid.release_tickets import (
    VERSION,
    fetch_script,
    issue_release_tickets,
    revoke_tickets,
)
from pacsgrid.grid.sharing import issue_ticket, share, unshare
from pacsgrid.pipeline import ProjectContext
from pacsgrid.pipeline.remove_partner import remove_partner


def add(commands: Any) -> None:
    """Declare the sub-commands."""
    group = commands.add_parser("share", help="let users read a project, in all its zones")
    group.add_argument("project")
    group.add_argument("members", nargs="*", metavar="NAME#ZONE")
    group.add_argument("--remove", action="store_true", help="take their access away")
    group.set_defaults(run=run_share)
    ticket = commands.add_parser("ticket", help="time-limited read access for an outsider")
    ticket.add_argument("project")
    ticket.add_argument(
        "collection",
        help="a collection of the home zone; of a version of a release a script is printed that "
        "fetches it with its tickets",
    )
    ticket.add_argument("--days", type=float, default=7.0)
    ticket.add_argument("--revoke", metavar="TICKET", help="end a ticket instead")
    ticket.set_defaults(run=run_ticket)
    out = commands.add_parser("leave", help="let a partner zone leave a project")
    out.add_argument("project")
    out.add_argument("zone")
    out.add_argument("--erase", action="store_true", help="remove the project's data there")
    out.set_defaults(run=run_leave)


def run_share(given: argparse.Namespace) -> int:
    """Grant or take away, zone by zone."""
    with ProjectContext(load_site(), given.project, "share") as context:
        for zone in (context.home, *context.partners):
            if given.remove:
                for member in given.members:
                    unshare(zone, given.project, member)
            else:
                # A bare name is a user of the home zone, everywhere.
                members = [
                    m if "#" in m else f"{m}#{context.project.home_zone}" for m in given.members
                ]
                group = share(zone, given.project, members)
                print(f"{zone.settings.name}: group {group} reads {given.project}")
    return 0


def run_ticket(given: argparse.Namespace) -> int:
    """Print a new ticket, or a script with those of a release; or end them."""
    collection = given.collection.rstrip("/")
    with ProjectContext(load_site(), given.project, "ticket") as context:
        until = datetime.now(UTC) + timedelta(days=given.days)
        if given.revoke:
            print(f"tickets ended: {revoke_tickets(context.home, given.revoke)}")
        elif VERSION.search(collection):
            print(fetch_script(issue_release_tickets(context.home, collection, until)), end="")
        else:
            print(issue_ticket(context.home, collection, until))
    return 0


def run_leave(given: argparse.Namespace) -> int:
    """Let the zone leave."""
    with ProjectContext(load_site(), given.project, "leave") as context:
        dropped = remove_partner(context, given.zone, given.erase)
    print(f"{given.zone} left {given.project}; {dropped} proofs dropped")
    return 0
