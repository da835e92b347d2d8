"""``pacsgrid backfill``: how far the ingests of a project are; pause one, or let it go on."""

from __future__ import annotations

import argparse
import getpass
from typing import TYPE_CHECKING

from pacsgrid.cli.arguments import add_project
from pacsgrid.errors import ConfigError

if TYPE_CHECKING:
    from pacsgrid.ledger import Ingest, Ledger


def add_backfill(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``pacsgrid backfill``."""
    parser.description = (
        "Shows how far the ingests of a project are, with an estimate of the work that is left. "
        "A paused ingest finishes the wave that runs, and starts no other. A resumed one goes on "
        "within ten minutes, by the DAG continue_ingests."
    )
    parser.add_argument(
        "action", choices=("status", "pause", "resume"), help="show, pause or resume them"
    )
    add_project(parser)
    parser.add_argument(
        "ingest",
        nargs="?",
        default="",
        metavar="INGEST",
        help="which ingest (default: all of the project that have not ended)",
    )


def run_backfill(given: argparse.Namespace) -> int:
    """Print the ingests, after pausing or resuming them; returns 0."""
    from pacsgrid.config import load_site
    from pacsgrid.ledger import Ledger

    site = load_site()
    site.project(given.project)
    ledger = Ledger(site.ledger_dsn, "backfill")
    if given.action != "status":
        _change(ledger, given.project, given.ingest, paused=given.action == "pause")
    for ingest in _wanted(ledger, given.project, given.ingest):
        print(describe(ingest))
    return 0


def _wanted(ledger: Ledger, project: str, name: str) -> list[Ingest]:
    found = ledger.ingests.of_projects([project])
    if not name:
        return found
    if not (named := [ingest for ingest in found if ingest.id == name]):
        raise ConfigError(f"project {project} has no ingest {name}; it has: {_ids(found)}")
    return named


def _ids(ingests: list[Ingest]) -> str:
    return ", ".join(ingest.id for ingest in ingests) or "none"


def _change(ledger: Ledger, project: str, name: str, paused: bool) -> None:
    from pacsgrid.ledger import IngestState

    done = [IngestState.ENDED, IngestState.PAUSED if paused else IngestState.RUNNING]
    open_ones = [one for one in _wanted(ledger, project, name) if one.state not in done]
    note = f"paused by {getpass.getuser()}" if paused else ""
    for ingest in open_ones:
        ledger.ingests.pause(ingest.id, paused, note)
    if not open_ones:
        print(f"nothing to {'pause' if paused else 'resume'}")


def describe(ingest: Ingest) -> str:
    """Return an ingest's progress as one line."""
    parts = [
        f"{ingest.id} {ingest.kind} from {ingest.source}: {ingest.state}",
        f"{ingest.found} studies, {ingest.verified} verified, {ingest.held} held, "
        f"{ingest.withdrawn} withdrawn, {ingest.not_wanted} not wanted, "
        f"{ingest.pending} pending, {ingest.waves} waves",
    ]
    if ingest.pending and ingest.hours_left is not None:
        parts.append(
            f"{ingest.rate:,.0f} studies an hour, {_hours(ingest.hours_left)} of work left"
        )
    if ingest.note:
        parts.append(ingest.note)
    return "; ".join(parts)


def _hours(hours: float) -> str:
    if hours < 1:
        return f"{max(1, round(hours * 60))} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"
