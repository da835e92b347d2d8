"""``pacsgrid fetch`` and ``pacsgrid search``: a researcher's access to the grid."""

from __future__ import annotations

import argparse
import re
import sys
import time
from pathlib import Path

CONNECTIONS = 8
_VERSION = re.compile(r"/releases/[^/]+/v\d+$")


def add_fetch(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``pacsgrid fetch``."""
    parser.description = (
        "Downloads a release, a collection or one object over several connections and compares "
        "the SHA-256 of every object with the zone's. Run the same command again to continue an "
        "interrupted download. Exit status 3: an object is damaged in every replica."
    )
    parser.add_argument(
        "path",
        help="release, collection or object, such as /ZONE/home/PROJECT/releases/NAME/v1",
    )
    parser.add_argument(
        "to", nargs="?", type=Path, default=Path(), help="directory for it (default: the current)"
    )
    parser.add_argument(
        "--connections",
        type=int,
        default=CONNECTIONS,
        metavar="N",
        help="parallel connections to the zone (default: %(default)s)",
    )
    _add_environment(parser)


def add_search(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``pacsgrid search``."""
    parser.description = (
        "Prints the collections below ROOT whose metadata (AVUs) match every criterion, one a "
        "line. Exit status 1: there is none."
    )
    parser.add_argument("root", help="where to search, such as /ZONE/home/PROJECT")
    parser.add_argument(
        "criteria",
        nargs="+",
        metavar="ATTRIBUTE=VALUE",
        help="an AVU that the collection has; %% in VALUE stands for any characters",
    )
    _add_environment(parser)


def _add_environment(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--environment",
        type=Path,
        metavar="FILE",
        help="iRODS environment file (default: $IRODS_ENVIRONMENT_FILE, else "
        "~/.irods/irods_environment.json)",
    )


def run_fetch(given: argparse.Namespace) -> int:
    """Download and verify; returns 3 if an object is damaged in every replica."""
    from pacsgrid.grid.fetch import fetch, fetch_release
    from pacsgrid.grid.user import UserZone

    shown_at = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal shown_at
        if sys.stderr.isatty() and (time.monotonic() - shown_at > 0.2 or done == total):
            shown_at = time.monotonic()
            print(f"\r{done / 1e6:,.0f} of {total / 1e6:,.0f} MB", end="", file=sys.stderr)

    with UserZone(given.environment) as zone, zone.explained():
        path = given.path.rstrip("/")
        download = fetch_release if _VERSION.search(path) else fetch
        report = download(zone, path, given.to, given.connections, progress)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    print(
        f"{report.fetched} objects downloaded and verified, {report.skipped} were already complete"
    )
    for path in report.bad:
        print(
            f"BAD {path}: no replica matches its checksum; tell the grid's data steward",
            file=sys.stderr,
        )
    return 3 if report.bad else 0


def run_search(given: argparse.Namespace) -> int:
    """Print the collections, one a line; returns 1 if there is none."""
    from pacsgrid.grid.search import Criterion, search
    from pacsgrid.grid.user import UserZone

    criteria = [Criterion.parse(text) for text in given.criteria]
    with UserZone(given.environment) as zone, zone.explained():
        found = search(zone, given.root, criteria)
    print(*found, sep="\n", end="\n" if found else "")
    return 0 if found else 1
