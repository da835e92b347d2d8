"""``pacsgrid ledger``: bring the ledger's schema up to date as the role that owns it."""

from __future__ import annotations

import argparse
from pathlib import Path

from pacsgrid.cli.arguments import add_site


def add_ledger(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``pacsgrid ledger``."""
    parser.description = (
        "Makes the PostgreSQL role in FILE the owner of the ledger, migrates the schema to this "
        "version, and grants the role of the site file what the services need: it can append to "
        "the audit trail and read it, not change it. Run it once to separate the two roles, and "
        "at every upgrade."
    )
    parser.add_argument(
        "--owner-dsn-file",
        type=Path,
        metavar="FILE",
        required=True,
        help="file with the owner's libpq connection string; no service should be able to read it",
    )
    add_site(parser)


def run_ledger(given: argparse.Namespace) -> int:
    """Migrate the ledger and print the schema's version; returns 0."""
    from pacsgrid.config import ledger_dsn, read_key
    from pacsgrid.ledger import prepare

    owner = read_key("--owner-dsn-file", given.owner_dsn_file).decode().strip()
    version = prepare(owner, ledger_dsn(given.site))
    print(f"the ledger's schema is version {version}; the application may add to its audit trail")
    return 0
