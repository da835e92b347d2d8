"""``pacsgrid reprofile``: anonymise deposited studies again under the project's new profile."""

from __future__ import annotations

import argparse
import getpass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pacsgrid.cli.arguments import add_project

if TYPE_CHECKING:
    from pacsgrid.pipeline import ProjectContext


def add_reprofile(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``pacsgrid reprofile``."""
    parser.description = (
        "Anonymises verified studies again that have another profile than the project's. Each "
        "becomes a new version of itself; the one before stays until the new one is proven, and "
        "while a release lists it. `status` counts, `preview` compares some studies and changes "
        "nothing, `start` enters them: the DAG continue_ingests goes on with them within ten "
        "minutes, and `pacsgrid backfill` shows how far they are."
    )
    parser.add_argument(
        "action", choices=("status", "preview", "start"), help="count, compare or start"
    )
    add_project(parser)
    parser.add_argument(
        "--studies",
        type=int,
        metavar="N",
        help="how many studies at most (default: 3 to compare, all to enter)",
    )
    parser.add_argument(
        "--reason", default="", help="why, for the audit trail; names no one (default: empty)"
    )


def run_reprofile(given: argparse.Namespace) -> int:
    """Count, compare or enter studies; returns 75 if one could not be compared."""
    from pacsgrid.config import load_site
    from pacsgrid.pipeline import ProjectContext

    with ProjectContext(load_site(), given.project, "reprofile") as context:
        if given.action == "preview":
            return _preview(context, 3 if given.studies is None else given.studies)
        from pacsgrid.pipeline.reprofile import enter_new_versions, progress

        if given.action == "start":
            limit = 10**9 if given.studies is None else given.studies
            run = f"shell {datetime.now(UTC).isoformat()}"
            entered = enter_new_versions(context, getpass.getuser(), given.reason, run, limit)
            for source, ingest in entered.ingests.items():
                print(f"{ingest}: studies from {source}")
            print(f"{entered.studies} studies are to be anonymised again")
        now = progress(context)
    print(
        f"{now.outdated} studies have another profile: {now.underway} have a new version on its "
        f"way, {now.held} one that is held; of old versions, {now.kept} are kept for releases, "
        f"{now.removing} are being removed"
    )
    return 0


def _preview(context: ProjectContext, studies: int) -> int:
    from pacsgrid.pipeline.reprofile_preview import describe, preview_new_versions

    found = preview_new_versions(context, studies)
    for one in found:
        print("\n".join(describe(one)))
    if not found:
        print("every study that its source can give again has the project's profile")
    return 75 if any(one.failure for one in found) else 0
