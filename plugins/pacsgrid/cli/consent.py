"""``pacsgrid consent``: ask for the consent of a project's patients, as each night does."""

from __future__ import annotations

import argparse

from pacsgrid.cli.arguments import add_project, add_site


def add_consent(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``pacsgrid consent``."""
    parser.description = (
        "Asks the project's source of consent for its patients, as the DAG check_consent does each "
        "night, and prints the subjects whose consent has ended. It withdraws nobody: use "
        "`pacsgrid withdraw` or the DAG withdraw_patient. Exit status 75: the source does not "
        "answer."
    )
    add_project(parser)
    add_site(parser)


def run_consent(given: argparse.Namespace) -> int:
    """Ask, and print what came of it; returns 0."""
    from pacsgrid.config import load_site
    from pacsgrid.errors import ConfigError
    from pacsgrid.pipeline import ProjectContext

    with ProjectContext(load_site(given.site), given.project, "consent") as context:
        if not context.consent.is_asked:
            raise ConfigError(f"projects.{given.project}.consent asks nobody; set it first")
        report = context.consent.ask_again()
    print(
        f"{report.asked} subjects asked for, {report.changed} answers changed, {report.resumed} "
        "held studies go on"
    )
    for subject, since in report.ended:
        print(f"ENDED {subject} since {since:%Y-%m-%d}")
    return 0
