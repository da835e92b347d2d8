"""``pacsgrid keep``: a night's duties of a project; ``report``: how its replicas stand;
``zones``: whether its zones do what is asked of them."""

from __future__ import annotations

import argparse
import json
from typing import Any

from pacsgrid.config import load_site
from pacsgrid.errors import PacsgridError
from pacsgrid.grid.probe import probe
from pacsgrid.pipeline import ProjectContext
from pacsgrid.pipeline.maintain import maintain
from pacsgrid.pipeline.report import project_report


def add(commands: Any) -> None:
    """Declare the sub-commands."""
    keep = commands.add_parser("keep", help="copy, verify and repair what the policy asks for")
    keep.add_argument("project")
    keep.add_argument(
        "--verify-now",
        action="store_true",
        help="verify every replica, not only those that are due",
    )
    keep.set_defaults(run=run_keep)
    report = commands.add_parser("report", help="replicas of a project, as JSON")
    report.add_argument("project")
    report.set_defaults(run=run_report)
    zones = commands.add_parser("zones", help="try every zone of a project with real bytes")
    zones.add_argument("project")
    zones.set_defaults(run=run_zones)


def run_keep(given: argparse.Namespace) -> int:
    """Do one night's duties; 75 when something is to be tried again, 3 when something is lost."""
    with ProjectContext(load_site(), given.project, "keep") as context:
        night = maintain(context, everything=given.verify_now)
    print(
        f"{night.studies} studies: {night.finished} taken to their end, {night.copied} objects "
        f"copied, {night.repaired} replicas repaired, {night.restored} objects restored, "
        f"{night.postponed} duties postponed"
    )
    for ref, uid in sorted(night.lost):
        print(f"LOST {ref} {uid}: no good replica in any zone")
    for text in night.failures:
        print(f"again: {text}")
    return 3 if night.lost else 75 if night.failures else 0


def run_report(given: argparse.Namespace) -> int:
    """Print the report; 3 when the policy is not met."""
    with ProjectContext(load_site(), given.project, "report") as context:
        report = project_report(context)
    print(json.dumps(report.as_dict(), indent=1, default=str))
    return 0 if report.settled else 3


def run_zones(given: argparse.Namespace) -> int:
    """Probe each zone; 75 when one is away, 1 when one does not do.

    One that does is asked again from now on, however long it was left alone.
    """
    status = 0
    with ProjectContext(load_site(), given.project, "zones") as context:
        for zone in (context.home, *context.partners):
            name = zone.settings.name
            try:
                seen = probe(zone, given.project)
            except PacsgridError as error:
                print(f"{name}: {error}")
                status = max(status, 75 if error.retryable else 1)
                continue
            context.ledger.absences.mark_present(name)
            account = "administrator" if seen.administrator else "no administrator"
            print(
                f"{name}: put {seen.put_seconds:.2f} s, verified {seen.verify_seconds:.2f} s, got "
                f"{seen.get_seconds:.2f} s, {seen.replicas} replicas, account is {account}"
            )
    return status
