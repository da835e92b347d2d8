"""``pacsgrid reidentify``: find the patient behind a pseudonym, on record."""

from __future__ import annotations

import argparse
import json
import os
import pwd

from pacsgrid.cli.arguments import add_site


def add_reidentify(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``pacsgrid reidentify``."""
    parser.description = (
        "Prints what identifies the studies of a pseudonym, one JSON object a line. Who asked and "
        "why is written to the ledger's append-only record before the vault is opened."
    )
    parser.add_argument(
        "pseudonym",
        metavar="PSEUDONYM",
        help="a subject, a study, series or SOP instance UID, or a study reference",
    )
    parser.add_argument("--project", required=True, help="a project of the site file")
    parser.add_argument(
        "--who",
        required=True,
        help="the authorised person who asks; recorded with the account that runs this",
    )
    parser.add_argument("--reason", required=True, help="why, in one sentence")
    add_site(parser)


def account() -> str:
    """Return the operating system's account of this process.

    Environment variables such as LOGNAME can be set to anything by the caller and are not used.
    SUDO_USER is recorded as a claim: root can set it to anything.
    """
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:  # an account without a name, as in a container
        name = "no name"
    claimed = os.environ.get("SUDO_USER", "")
    through = f", says it is sudo of {claimed}" if claimed else ""
    return f"account {name}, uid {uid}{through}"


def run_reidentify(given: argparse.Namespace) -> int:
    """Record the request, open the vault and print what it holds; returns 0."""
    from pacsgrid.config import load_site
    from pacsgrid.pipeline.reidentify import reidentify

    site = load_site(given.site)
    site.project(given.project)
    who = f"{given.who.strip()} ({account()})" if given.who.strip() else ""
    opened = reidentify(
        site.ledger_dsn, site.vault_key, given.project, given.pseudonym, who, given.reason
    )
    for ref, identity in opened:
        print(json.dumps({"ref": ref, **identity}, ensure_ascii=False), flush=True)
    return 0
