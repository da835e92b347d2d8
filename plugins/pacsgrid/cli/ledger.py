"""``pacsgrid ledger``: bring the ledger's schema up to date as the role that owns it."""

from __future__ import annotations

import argparse
from pathlib import Path

from pacsgrid.cli.arguments import add_site


def add_ledger(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``pacsgrid ledger``."""
    parser.description = (
        "Makes the PostgreSQL role in FILE the owner of the ledger, migrates the schema to this "
        "version, makes room for the next years of the audit trail, and grants the role of the "
        "site file what the services need: it can append to the audit trail and read it, not "
        "change it. Run it once to separate the two roles, and at every upgrade."
    )
    parser.add_argument(
        "--owner-dsn-file",
        type=Path,
        metavar="FILE",
        required=True,
        help="file with the owner's libpq connection string; no service should be able to read it",
    )
    parser.add_argument(
        "--archive-trail",
        type=Path,
        metavar="DIRECTORY",
        help="also move years of the audit trail that are older than audit.trail_years of the "
        "site file into files of this directory (default: move nothing)",
    )
    add_site(parser)


def run_ledger(given: argparse.Namespace) -> int:
    """Migrate the ledger and print the schema's version; returns 0."""
    from datetime import UTC, datetime, timedelta

    from pacsgrid.config import audit_years, ledger_dsn, read_key
    from pacsgrid.errors import ConfigError
    from pacsgrid.ledger import archive_trail, prepare

    owner = read_key("--owner-dsn-file", given.owner_dsn_file).decode().strip()
    version = prepare(owner, ledger_dsn(given.site))
    print(f"the ledger's schema is version {version}; the application may add to its audit trail")
    if given.archive_trail:
        years = audit_years(given.site)
        if not years:
            raise ConfigError("audit.trail_years is not set; the audit trail is kept for ever")
        before = datetime.now(UTC) - timedelta(days=365.25 * years)
        parts = archive_trail(owner, before, given.archive_trail)
        for part in parts:
            print(f"{part.file}: {part.rows} entries, SHA-256 {part.sha256}")
        print(f"{len(parts)} years were moved out of the audit trail")
    return 0
