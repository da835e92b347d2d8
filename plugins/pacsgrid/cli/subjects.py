"""``pacsgrid subjects``: the table of pseudonyms that a project has from outside."""

from __future__ import annotations

import argparse
from pathlib import Path

from pacsgrid.cli.arguments import add_project, add_site
from pacsgrid.cli.reidentify import account


def add_subjects(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``pacsgrid subjects``."""
    parser.description = (
        "Says how many patients of a project have a pseudonym from outside. With --import the "
        "patients of a table are added, all of them or none, and studies that were held for want "
        "of them go on."
    )
    add_project(parser)
    parser.add_argument(
        "--import",
        dest="table",
        type=Path,
        metavar="FILE",
        help="CSV with the columns patient_id and subject; issuer where PatientIDs have one; "
        "shift_days where dates are shifted by the table (default: count only)",
    )
    parser.add_argument(
        "--remove-unused",
        action="store_true",
        help="first remove the patients who have no study yet, to import a corrected table "
        "(default: keep all)",
    )
    add_site(parser)


def run_subjects(given: argparse.Namespace) -> int:
    """Import the table or count the subjects; returns 0."""
    from pacsgrid.config import load_site
    from pacsgrid.pipeline import ProjectContext

    with ProjectContext(load_site(given.site), given.project, "subjects") as context:
        context.subjects.check_mode()
        if given.remove_unused:
            print(f"{context.ledger.subjects.remove_unused(given.project)} patients removed")
        if given.table:
            added, listed = context.subjects.import_table(given.table, account())
            print(f"{added} of {listed} patients are new")
            print(f"{context.subjects.unhold_listed()} held studies go on")
        print(f"{context.ledger.subjects.count(given.project)} patients have a subject")
        print(f"subjects: {context.project.subjects.mode}")
    return 0
