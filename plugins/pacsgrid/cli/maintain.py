"""``pacsgrid maintain``, ``report`` and ``zones``: the replicas of a project and its zones."""

from __future__ import annotations

import argparse
import json

from pacsgrid.cli.arguments import add_project
from pacsgrid.errors import PacsgridError


def add_maintain(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``pacsgrid maintain``."""
    parser.description = (
        "Copies, verifies and repairs what the project's replication policy asks for, as the DAG "
        "replicate_and_verify does at night. Exit status 3: an instance has no good replica left; "
        "75: something failed and will be tried again."
    )
    add_project(parser)
    parser.add_argument(
        "--verify-now",
        action="store_true",
        help="verify every replica (default: those whose verification is due)",
    )


def add_report(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``pacsgrid report``."""
    parser.description = (
        "Prints the state of a project's replicas as JSON. Exit status 3: the replication policy "
        "is not met."
    )
    add_project(parser)


def add_zones(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``pacsgrid zones``."""
    parser.description = (
        "Stores, verifies, reads and deletes a test object in every zone of a project. Exit status "
        "1: a zone fails the test; 75: a zone does not answer."
    )
    add_project(parser)


def run_maintain(given: argparse.Namespace) -> int:
    """Maintain a project's replicas; returns 3 if an instance is lost, 75 if something failed."""
    from pacsgrid.config import load_site
    from pacsgrid.pipeline import ProjectContext
    from pacsgrid.pipeline.maintain import maintain

    with ProjectContext(load_site(), given.project, "maintain") as context:
        report = maintain(context, everything=given.verify_now)
    print(
        f"{report.studies} studies: {report.finished} interrupted ingests finished, "
        f"{report.copied} objects copied, {report.repaired} replicas repaired, "
        f"{report.restored} objects restored, {report.postponed} duties postponed, "
        f"{report.indexed} studies indexed for cohorts"
    )
    for ref, uid in sorted(report.lost):
        print(f"LOST {ref} {uid}: no good replica in any zone")
    for text in report.failures:
        print(f"will be tried again: {text}")
    return 3 if report.lost else 75 if report.failures else 0


def run_report(given: argparse.Namespace) -> int:
    """Print the report; returns 3 if the replication policy is not met."""
    from pacsgrid.config import load_site
    from pacsgrid.pipeline import ProjectContext
    from pacsgrid.pipeline.report import project_report

    with ProjectContext(load_site(), given.project, "report") as context:
        report = project_report(context)
    print(json.dumps(report.as_dict(), indent=1, default=str))
    return 0 if report.settled else 3


def run_zones(given: argparse.Namespace) -> int:
    """Test each zone; returns 75 if one does not answer, 1 if one fails.

    A zone that passes is used again at once, however long its absence would have been waited for.
    """
    from pacsgrid.config import load_site
    from pacsgrid.grid.probe import probe
    from pacsgrid.pipeline import ProjectContext

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
