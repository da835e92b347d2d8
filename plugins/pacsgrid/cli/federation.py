"""``pacsgrid share``, ``ticket`` and ``remove-partner``: who reads a project, and where it is."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta

from pacsgrid.cli.arguments import add_project
from pacsgrid.cli.reidentify import account


def add_share(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``pacsgrid share``."""
    parser.description = (
        "Adds users to the group that reads a project, in its home zone and in every partner zone."
    )
    add_project(parser)
    parser.add_argument(
        "members",
        nargs="*",
        metavar="NAME#ZONE",
        help="iRODS users; NAME alone is a user of the home zone",
    )
    parser.add_argument(
        "--remove", action="store_true", help="remove the users from the group (default: add)"
    )


def add_ticket(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``pacsgrid ticket``."""
    parser.description = (
        "Issues an iRODS ticket with which anybody can read a collection for a limited time. For "
        "a version of a release it prints a shell script that downloads it."
    )
    add_project(parser)
    parser.add_argument(
        "collection",
        metavar="COLLECTION",
        help="collection of the home zone, such as /ZONE/home/PROJECT/releases/NAME/v1",
    )
    parser.add_argument(
        "--days",
        type=float,
        default=7.0,
        help="days until the ticket expires (default: %(default)g)",
    )
    parser.add_argument(
        "--revoke", metavar="TICKET", help="revoke this ticket (default: issue one)"
    )


def add_remove_partner(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``pacsgrid remove-partner``."""
    parser.description = (
        "Stops copying a project to a partner zone. Remove the zone from the project's "
        "partner_zones in the site file first."
    )
    add_project(parser)
    parser.add_argument("zone", metavar="ZONE", help="the partner zone")
    parser.add_argument(
        "--erase",
        action="store_true",
        help="also delete the project's data in that zone (default: leave it there)",
    )


def run_share(given: argparse.Namespace) -> int:
    """Add or remove readers, zone by zone; returns 0."""
    from pacsgrid.config import load_site
    from pacsgrid.grid.sharing import share, unshare
    from pacsgrid.pipeline import ProjectContext

    with ProjectContext(load_site(), given.project, "share") as context:
        for zone in (context.home, *context.partners):
            if given.remove:
                for member in given.members:
                    unshare(zone, given.project, member)
            else:
                # A name without a zone is a user of the home zone, in every zone.
                members = [
                    m if "#" in m else f"{m}#{context.project.home_zone}" for m in given.members
                ]
                group = share(zone, given.project, members)
                print(f"{zone.settings.name}: group {group} reads {given.project}")
    return 0


def run_ticket(given: argparse.Namespace) -> int:
    """Print a new ticket or a release's download script, or revoke tickets; returns 0."""
    from pacsgrid.config import load_site
    from pacsgrid.grid.release_tickets import (
        VERSION,
        fetch_script,
        issue_release_tickets,
        revoke_tickets,
    )
    from pacsgrid.grid.sharing import issue_ticket
    from pacsgrid.pipeline import ProjectContext
    from pacsgrid.pipeline.disclosures import note_disclosure

    collection = given.collection.rstrip("/")
    with ProjectContext(load_site(), given.project, "ticket") as context:
        if not given.revoke:
            note_disclosure(context, account(), "ticket", collection)
        until = datetime.now(UTC) + timedelta(days=given.days)
        if given.revoke:
            print(f"tickets revoked: {revoke_tickets(context.home, given.revoke)}")
        elif VERSION.search(collection):
            print(fetch_script(issue_release_tickets(context.home, collection, until)), end="")
        else:
            print(issue_ticket(context.home, collection, until))
    return 0


def run_remove_partner(given: argparse.Namespace) -> int:
    """Remove a partner zone from a project; returns 0."""
    from pacsgrid.config import load_site
    from pacsgrid.pipeline import ProjectContext
    from pacsgrid.pipeline.remove_partner import remove_partner

    with ProjectContext(load_site(), given.project, "remove-partner") as context:
        dropped = remove_partner(context, given.zone, given.erase)
    print(f"{given.zone} is no partner of {given.project} now; {dropped} proofs deleted")
    return 0
