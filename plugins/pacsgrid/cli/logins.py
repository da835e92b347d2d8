"""``pacsgrid logins``: who is logged in through the provider, and a check of all of them."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime


def add_logins(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``pacsgrid logins``."""
    parser.description = (
        "Lists the logins through the OpenID Connect provider that last: place, subject, iRODS "
        "user, groups, when the provider confirmed them, and when they end. With --check, asks the "
        "provider about all of them and lets the readers in iRODS follow, as the DAG check_logins "
        "does. Exit status 75: something did not answer and will be tried again."
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="ask the provider about every login (default: list them)",
    )


def run_logins(given: argparse.Namespace) -> int:
    """List or check the logins; returns 75 if something must be tried again."""
    from pacsgrid.config import load_site
    from pacsgrid.pipeline.logins import Logins

    logins = Logins(load_site())
    if given.check:
        report = logins.check()
        print(
            f"{report.confirmed} confirmed, {report.ended} ended, {report.unanswered} without an "
            f"answer; {report.readers} readers changed"
        )
        for text in report.failures:
            print(f"will be tried again: {text}")
        return 75 if report.failures else 0
    for one in logins.ledger.logins.live(datetime.now(UTC)):
        times = (one.confirmed_at.isoformat("T", "seconds"), one.ends_at.isoformat("T", "seconds"))
        print("\t".join((one.place, one.subject, one.user, ", ".join(one.groups), *times)))
    return 0
