"""``pacsgrid cohort``: preview and release; ``pacsgrid withdraw``: a patient out of everything."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pacsgrid.config import load_site
from pacsgrid.errors import ConfigError
from pacsgrid.grid.search import Criterion
from pacsgrid.pipeline import ProjectContext
from pacsgrid.pipeline.release import release_cohort, select_cohort, summarise_cohort
from pacsgrid.pipeline.withdraw import withdraw


def add(commands: Any) -> None:
    """Declare both sub-commands."""
    cohort = commands.add_parser("cohort", help="count a cohort, or freeze it as a release")
    cohort.add_argument("project")
    cohort.add_argument("criteria", nargs="*", metavar="ATTRIBUTE=VALUE", help="%% for anything")
    cohort.add_argument("--list", type=Path, help="file of study UIDs or subjects, one a line")
    cohort.add_argument("--release", metavar="NAME", help="freeze it under this name")
    cohort.add_argument("--title", default="", help="title of the release")
    cohort.set_defaults(run=run_cohort)
    out = commands.add_parser("withdraw", help="remove a patient from every zone, with proof")
    out.add_argument("project")
    out.add_argument("subject", help="the patient's pseudonym")
    out.set_defaults(run=run_withdraw)


def _listed(file: Path | None) -> list[str]:
    if file is None:
        return []
    try:
        return file.read_text(encoding="utf-8").split()
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: no text in UTF-8; list one UID or subject a line") from None


def run_cohort(given: argparse.Namespace) -> int:
    """Print the cohort's counts and, when asked, release it."""
    criteria = [Criterion.parse(text) for text in given.criteria]
    listed = _listed(given.list)
    with ProjectContext(load_site(), given.project, "cohort") as context:
        members = select_cohort(context, criteria, listed, listed)
        seen = summarise_cohort(members)
        print(
            f"{seen.subjects} subjects, {seen.studies} studies, {seen.instances} instances, "
            f"{seen.bytes:,} bytes; instances by modality: "
            + (", ".join(f"{name} {count}" for name, count in seen.modalities.items()) or "none")
        )
        if given.release:
            print(release_cohort(context, given.release, members, given.title))
    return 0


def run_withdraw(given: argparse.Namespace) -> int:
    """Withdraw; 75 when a zone is away and `pacsgrid keep` will go on."""
    with ProjectContext(load_site(), given.project, "withdraw") as context:
        left = withdraw(context, given.subject)
        for row in context.ledger.withdrawals.of_project(given.project):
            if row.subject == given.subject and row.proven_at is not None:
                print(f"{row.zone}: proven gone at {row.proven_at.isoformat()}: {row.proof}")
    for zone in left:
        print(f"{zone}: still to be done; `pacsgrid keep {given.project}` goes on with it")
    return 75 if left else 0
