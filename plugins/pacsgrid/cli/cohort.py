"""``pacsgrid cohort`` and ``pacsgrid withdraw``: releases for researchers, withdrawn consent."""

from __future__ import annotations

import argparse
import getpass
from pathlib import Path
from typing import TYPE_CHECKING

from pacsgrid.cli.arguments import add_project
from pacsgrid.errors import ConfigError

if TYPE_CHECKING:
    from pacsgrid.pipeline import ProjectContext
    from pacsgrid.pipeline.cohorts import Cohort

_PRINTED = ("Modality", "BodyPartExamined", "SliceThickness", "SeriesDescription", "Manufacturer")


_COHORT_EXAMPLES = """\
a query, in quotes, names attributes of the series, its study and its images:
  Modality = CT and BodyPartExamined = CHEST and SliceThickness <= 1.5
  PatientAge = 60..70 and not has ContrastBolusAgent
  Modality in (CT, MR) and StudyDate >= 2020-05 and StudyDescription ~ "low dose"
  has SEG and NumberOfSlices > 100 and zone = praha

examples:
  pacsgrid cohort lung 'Modality = CT and SliceThickness <= 1.5' --save thin
  pacsgrid cohort lung --saved thin --series
  pacsgrid cohort lung --saved thin --release thin --small-cells drop
"""


def add_cohort(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``pacsgrid cohort``."""
    parser.description = (
        "Counts the subjects, studies and instances that match every query or are listed. With "
        "--release the cohort is frozen as a release, with manifest and checksums."
    )
    parser.epilog = _COHORT_EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_project(parser)
    parser.add_argument(
        "criteria",
        nargs="*",
        metavar="QUERY",
        help="what a series must match; all queries must hold",
    )
    parser.add_argument(
        "--list",
        type=Path,
        metavar="FILE",
        help="text file of study UIDs or subjects, one a line (default: none)",
    )
    parser.add_argument(
        "--saved", default="", metavar="NAME", help="begin with a saved cohort (default: none)"
    )
    parser.add_argument(
        "--save", default="", metavar="NAME", help="save the queries as NAME (default: do not save)"
    )
    parser.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="UID",
        help="leave out a series; may be repeated (default: none)",
    )
    parser.add_argument(
        "--matching-series",
        action="store_true",
        help="take the matching series only (default: whole studies)",
    )
    parser.add_argument(
        "--small-cells",
        choices=("refuse", "drop", "keep"),
        default="refuse",
        help="what to do with studies below the project's release gate (default: refuse)",
    )
    parser.add_argument(
        "--series", action="store_true", help="list the series that match (default: counts only)"
    )
    parser.add_argument(
        "--release", metavar="NAME", help="freeze the cohort under NAME (default: count only)"
    )
    parser.add_argument("--title", default="", help="title of the release (default: its name)")


def add_withdraw(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``pacsgrid withdraw``."""
    parser.description = (
        "Removes everything of a patient from the zones and releases of a project and proves that "
        "it is gone. Exit status 75: a zone did not answer; `pacsgrid maintain` continues there."
    )
    add_project(parser)
    parser.add_argument("subject", metavar="SUBJECT", help="the patient's pseudonym")


def _listed(file: Path | None) -> list[str]:

    if file is None:
        return []
    try:
        return file.read_text(encoding="utf-8").split()
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(
            f"{file}: not UTF-8 text; write one study UID or subject a line"
        ) from None


def run_cohort(given: argparse.Namespace) -> int:
    """Print the cohort's counts and, if asked, save or release it; returns 0."""
    from pacsgrid.config import load_site
    from pacsgrid.pipeline import ProjectContext
    from pacsgrid.pipeline.cohorts import (
        Cohort,
        chosen_series,
        count_chosen,
        describe_cells,
        select_cohort,
        small_cells_of,
        with_saved,
    )
    from pacsgrid.pipeline.release import release_cohort

    cohort = Cohort(
        tuple(given.criteria),
        tuple(_listed(given.list)),
        frozenset(given.exclude),
        given.matching_series,
        given.small_cells,
    )
    with ProjectContext(load_site(), given.project, "cohort") as context:
        cohort = with_saved(context, cohort, given.saved)
        chosen = chosen_series(context, cohort)
        seen = count_chosen(context, chosen)
        print(
            f"{seen.subjects} subjects, {seen.studies} studies, {seen.instances} instances, "
            f"{seen.bytes:,} bytes; instances by modality: "
            + (", ".join(f"{name} {count}" for name, count in seen.modalities.items()) or "none")
        )
        if small := small_cells_of(context, chosen):
            print(describe_cells(context, small))
        if given.series:
            _print_series(context, cohort)
        if given.save:
            context.ledger.saved_cohorts.save(
                given.project,
                given.save,
                cohort.criteria,
                sorted(cohort.excluded),
                cohort.matching,
                getpass.getuser(),
            )
        if given.release:
            members = select_cohort(context, cohort)
            if context.consent.left_out:
                print(f"{context.consent.left_out} subjects are left out for want of consent")
            print(release_cohort(context, given.release, members, given.title))
    return 0


def _print_series(context: ProjectContext, cohort: Cohort) -> None:
    """Print a line for each series that matches."""
    from pacsgrid.cohort_query import parse_all
    from pacsgrid.ledger.cohort_index import Selection

    last = ""
    selection = Selection(context.project.name, parse_all(cohort.criteria), cohort.excluded)
    while page := context.ledger.cohorts.page(selection, last):
        last = page[-1].ref
        for one in page:
            shown = one.labels
            print(
                f"{one.subject} {one.study_uid} {one.series_uid} {one.instances} instances, "
                + ", ".join(shown[name] for name in _PRINTED if name in shown)
            )


def run_withdraw(given: argparse.Namespace) -> int:
    """Withdraw a patient and print the proofs; returns 75 if a zone did not answer."""
    from pacsgrid.config import load_site
    from pacsgrid.pipeline import ProjectContext
    from pacsgrid.pipeline.withdraw import withdraw

    with ProjectContext(load_site(), given.project, "withdraw") as context:
        left = withdraw(context, given.subject)
        for row in context.ledger.withdrawals.of_project(given.project):
            if row.subject == given.subject and row.proven_at is not None:
                print(f"{row.zone}: proven gone at {row.proven_at.isoformat()}: {row.proof}")
    for zone in left:
        print(f"{zone}: still to do; `pacsgrid maintain {given.project}` continues")
    return 75 if left else 0
