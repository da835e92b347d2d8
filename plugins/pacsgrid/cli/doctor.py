"""``pacsgrid doctor``: check the invariants over ledger, directories and zones."""

from __future__ import annotations

import argparse


def add_doctor(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``pacsgrid doctor``."""
    parser.description = (
        "Checks that ledger, directories and zones agree, prints every fault and changes nothing. "
        "Exit status 1: there is a fault."
    )
    parser.add_argument(
        "project",
        nargs="*",
        metavar="PROJECT",
        help="projects of the site file (default: all of them)",
    )


def run_doctor(given: argparse.Namespace) -> int:
    """Print every fault, one a line; returns 1 if there is any."""
    from pacsgrid.config import load_site
    from pacsgrid.ledger import owns_its_trail
    from pacsgrid.pipeline import ProjectContext
    from pacsgrid.pipeline.doctor import find_faults
    from pacsgrid.pipeline.site_check import ONE_ROLE

    site = load_site()
    count = 0
    if owns_its_trail(site.ledger_dsn):
        print(f"note: {ONE_ROLE}")
    for project in given.project or site.projects:
        with ProjectContext(site, project, "doctor") as context:
            for fault in find_faults(context):
                print(f"{project}: {fault.rule}: {fault.where}: {fault.what}")
                count += 1
    print(f"{count} faults" if count else "every invariant holds")
    return 1 if count else 0
