"""``pacsgrid reidentify`` and ``pseudonym``: from a pseudonym to the patient, and back."""

from __future__ import annotations

import argparse
import json
import os
import pwd
import sys
from dataclasses import asdict
from getpass import getpass
from pathlib import Path

from pacsgrid.cli.arguments import add_site
from pacsgrid.errors import ConfigError


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


def add_pseudonym(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``pacsgrid pseudonym``."""
    parser.description = (
        "Prints the subject and the studies of patients in each project, one JSON object a line. "
        "The identifiers are read from a file or from standard input, one a line, or asked for; "
        "they are no arguments, which other users and the shell's history would see. Who asked "
        "and why is written to the ledger's append-only record. Exit status 1: no project knows "
        "one of them."
    )
    parser.add_argument(
        "kind",
        choices=("patient", "accession", "study"),
        help="what is given: PatientIDs, accession numbers or StudyInstanceUIDs",
    )
    parser.add_argument(
        "--list",
        type=Path,
        metavar="FILE",
        help="file of identifiers, one a line (default: standard input)",
    )
    parser.add_argument(
        "--project",
        action="append",
        metavar="PROJECT",
        help="a project of the site file; may be repeated (default: all of them)",
    )
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


def run_pseudonym(given: argparse.Namespace) -> int:
    """Print what each project has; returns 1 if no project knows one of the identifiers."""
    from pacsgrid.config import load_site
    from pacsgrid.pipeline import ProjectContext
    from pacsgrid.pipeline.pseudonym import IdentifierKind, check_question, find_pseudonyms

    site, kind = load_site(given.site), IdentifierKind(given.kind)
    check_question(given.who, given.reason)
    projects = [site.project(name).name for name in given.project or site.projects]
    values = _identifiers(given.list)
    who = f"{given.who.strip()} ({account()})"
    known: set[int] = set()
    for project in projects:
        with ProjectContext(site, project, "pseudonym") as context:
            for one in find_pseudonyms(context, kind, values, who, given.reason.strip()):
                known.add(one.entry)
                print(json.dumps(asdict(one)), flush=True)
    missing = sorted(set(range(1, len(values) + 1)) - known)
    for number in missing:
        print(f"entry {number}: no study in {', '.join(projects)}", file=sys.stderr)
    return 1 if missing else 0


def _identifiers(file: Path | None) -> list[str]:
    """Return the identifiers of a file, of standard input, or as they are typed, without echo."""
    try:
        if file is not None:
            text = file.read_text(encoding="utf-8")
        elif sys.stdin.isatty():
            text = getpass("Identifier (is not shown): ")
        else:
            text = sys.stdin.read()
    except OSError as error:
        raise ConfigError(f"{file or 'standard input'}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file or 'standard input'}: not UTF-8 text") from None
    return [line.strip() for line in text.splitlines() if line.strip()]
