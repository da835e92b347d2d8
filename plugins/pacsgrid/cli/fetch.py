"""``pacsgrid fetch`` and ``pacsgrid search``: a researcher's way to what the grid holds."""

from __future__ import annotations

import argparse
import re
import sys
import time
from pathlib import Path
from typing import Any

from pacsgrid.grid.fetch import CONNECTIONS, fetch, fetch_release
from pacsgrid.grid.search import Criterion, search
from pacsgrid.grid.user import UserZone

_VERSION = re.compile(r"/releases/[^/]+/v\d+$")


def add(commands: Any) -> None:
    """Declare both sub-commands."""
    get = commands.add_parser(
        "fetch", help="a collection out of the grid: parallel, resumable, every object proven"
    )
    get.add_argument(
        "path", help="collection, object or release, as /ZONE/home/PROJECT/releases/NAME/v1"
    )
    get.add_argument("to", nargs="?", type=Path, default=Path(), help="directory (here)")
    get.add_argument("--connections", type=int, default=CONNECTIONS)
    get.add_argument("--environment", type=Path, help="irods_environment.json")
    get.set_defaults(run=run_fetch)
    find = commands.add_parser("search", help="collections by their AVUs")
    find.add_argument("root", help="where to look, as /ZONE/home/PROJECT")
    find.add_argument("criteria", nargs="+", metavar="ATTRIBUTE=VALUE", help="%% for anything")
    find.add_argument("--environment", type=Path, help="irods_environment.json")
    find.set_defaults(run=run_search)


def run_fetch(given: argparse.Namespace) -> int:
    """Fetch; 3 when some object is bad in every replica."""
    told = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal told
        if sys.stderr.isatty() and (time.monotonic() - told > 0.2 or done == total):
            told = time.monotonic()
            print(f"\r{done / 1e6:,.0f} of {total / 1e6:,.0f} MB", end="", file=sys.stderr)

    with UserZone(given.environment) as zone, zone.explained():
        path = given.path.rstrip("/")
        way = fetch_release if _VERSION.search(path) else fetch
        report = way(zone, path, given.to, given.connections, progress)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    print(f"{report.fetched} objects fetched and proven, {report.skipped} were here")
    for path in report.bad:
        print(f"BAD {path}: no replica has its checksum; tell the grid's steward", file=sys.stderr)
    return 3 if report.bad else 0


def run_search(given: argparse.Namespace) -> int:
    """Print the collections, one a line; 1 when there is none."""
    criteria = [Criterion.parse(text) for text in given.criteria]
    with UserZone(given.environment) as zone, zone.explained():
        found = search(zone, given.root, criteria)
    print(*found, sep="\n", end="\n" if found else "")
    return 0 if found else 1
