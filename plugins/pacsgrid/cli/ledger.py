"""``pacsgrid ledger``: the ledger's schema brought up to date by the role that owns it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pacsgrid.config import ledger_dsn, read_key
from pacsgrid.ledger import prepare


def add(commands: Any) -> None:
    """Add the sub-command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "ledger",
        help="bring the ledger's schema up to date as the role that owns it",
        description="Lets the role of FILE own the ledger, brings its schema up to date, and gives "
        "the role of the site file what the application needs: it may add to the audit trail and "
        "read it. Run it at each upgrade, and once to separate the roles of a ledger that has one.",
    )
    parser.add_argument(
        "--owner-dsn-file",
        type=Path,
        metavar="FILE",
        required=True,
        help="holds the owner's libpq connection string; no service needs to be able to read it",
    )
    parser.add_argument("--site", type=Path, help="site file, by default that of PACSGRID_SITE")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Carry the sub-command out; returns 0."""
    owner = read_key("--owner-dsn-file", given.owner_dsn_file).decode().strip()
    version = prepare(owner, ledger_dsn(given.site))
    print(f"the ledger's schema is version {version}; the application may add to its audit trail")
    return 0
