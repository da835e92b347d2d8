"""``pacsgrid reidentify``: from a pseudonym back to the patient, recorded."""

from __future__ import annotations

import argparse
import json
import os
import pwd
from pathlib import Path

from pacsgrid.config import load_site
from pacsgrid.pipeline.reidentify import reidentify


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "reidentify",
        help="open the vault for a pseudonym; recorded in the ledger",
        description="Prints what identifies the studies of a pseudonym, a JSON object per line. "
        "Who asked and why is in the ledger's append-only record before the vault is opened.",
    )
    parser.add_argument("pseudonym", help="a subject, a study, series or SOP UID, or a reference")
    parser.add_argument("--project", required=True)
    parser.add_argument(
        "--who",
        required=True,
        help="the authorised person who asks; recorded beside the account that runs this",
    )
    parser.add_argument("--reason", required=True, help="why, in a sentence")
    parser.add_argument("--site", type=Path, help="site file, by default that of PACSGRID_SITE")
    parser.set_defaults(run=run)


def account() -> str:
    """Return whose process this is, as the operating system says.

    Environment variables such as LOGNAME are what the caller likes them to be. The one that sudo
    sets is noted as what it is, a claim: root may set it to anything.
    """
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:  # an account without a name, as in a container
        name = "no name"
    claimed = os.environ.get("SUDO_USER", "")
    through = f", says it is sudo of {claimed}" if claimed else ""
    return f"account {name}, uid {uid}{through}"


def run(given: argparse.Namespace) -> int:
    """Carry the sub-command out."""
    site = load_site(given.site)
    site.project(given.project)
    who = f"{given.who.strip()} ({account()})" if given.who.strip() else ""
    opened = reidentify(
        site.ledger_dsn, site.vault_key, given.project, given.pseudonym, who, given.reason
    )
    for ref, identity in opened:
        print(json.dumps({"ref": ref, **identity}, ensure_ascii=False), flush=True)
    return 0
