"""``pacsgrid doctor``: do the invariants hold over ledger, rooms and zones?"""

from __future__ import annotations

import argparse
from typing import Any

from pacsgrid.config import load_site
from pacsgrid.ledger import owns_its_trail
from pacsgrid.pipeline import ProjectContext
from pacsgrid.pipeline.doctor import find_faults
from pacsgrid.pipeline.site_check import ONE_ROLE


def add(commands: Any) -> None:
    """Declare the sub-command."""
    doctor = commands.add_parser("doctor", help="examine ledger, rooms and zones; changes nothing")
    doctor.add_argument("project", nargs="*", help="all of the site's when none is named")
    doctor.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Print every fault, a line each; 1 when there is any."""
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
