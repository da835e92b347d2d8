"""``pacsgrid cohort`` and ``pacsgrid withdraw``: releases for researchers, withdrawn consent."""

from __future__ import annotations

import argparse
from pathlib import Path

from pacsgrid.cli.arguments import add_project
from pacsgrid.errors import ConfigError


def add_cohort(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``pacsgrid cohort``."""
    parser.description = (
        "Counts the subjects, studies and instances that match every criterion or are listed. "
        "With --release the cohort is frozen as a release, with manifest and checksums."
    )
    add_project(parser)
    parser.add_argument(
        "criteria",
        nargs="*",
        metavar="ATTRIBUTE=VALUE",
        help="an AVU of the study, such as Modality=CT; %% in VALUE stands for any characters",
    )
    parser.add_argument(
        "--list",
        type=Path,
        metavar="FILE",
        help="text file of study UIDs or subjects, one a line (default: all studies)",
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
    """Print the cohort's counts and, if asked, release it; returns 0."""
    from pacsgrid.config import load_site
    from pacsgrid.grid.search import Criterion
    from pacsgrid.pipeline import ProjectContext
    from pacsgrid.pipeline.release import count_cohort, release_cohort, select_cohort

    criteria = [Criterion.parse(text) for text in given.criteria]
    listed = _listed(given.list)
    with ProjectContext(load_site(), given.project, "cohort") as context:
        seen = count_cohort(context, criteria, listed, listed)
        print(
            f"{seen.subjects} subjects, {seen.studies} studies, {seen.instances} instances, "
            f"{seen.bytes:,} bytes; instances by modality: "
            + (", ".join(f"{name} {count}" for name, count in seen.modalities.items()) or "none")
        )
        if given.release:
            members = select_cohort(context, criteria, listed, listed)
            if context.consent.left_out:
                print(f"{context.consent.left_out} subjects are left out for want of consent")
            print(release_cohort(context, given.release, members, given.title))
    return 0


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
