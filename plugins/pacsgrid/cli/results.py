"""``pacsgrid results`` and ``return-results``: list results, release them, send them back."""

from __future__ import annotations

import argparse
import json

from pacsgrid.cli.arguments import add_project, add_site
from pacsgrid.cli.reidentify import account


def add_results(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``pacsgrid results``."""
    parser.description = (
        "Lists the results that researchers sent back, one JSON object a line. With --release or "
        "--withhold it decides whether cohorts include a result."
    )
    add_project(parser)
    parser.add_argument(
        "--study", metavar="UID", default="", help="those of one study (default: of all)"
    )
    decision = parser.add_mutually_exclusive_group()
    decision.add_argument(
        "--release", metavar="REF", help="let cohorts include this result (default: only list)"
    )
    decision.add_argument(
        "--withhold", metavar="REF", help="let them include it no longer (default: only list)"
    )
    parser.add_argument(
        "--reason", default="", help="why, for the audit trail (default: none, to list only)"
    )
    add_site(parser)


def run_results(given: argparse.Namespace) -> int:
    """List results, or decide about one; returns 0."""
    from pacsgrid.config import load_site
    from pacsgrid.errors import ConfigError
    from pacsgrid.pipeline import ProjectContext
    from pacsgrid.pipeline.results import decide_release

    with ProjectContext(load_site(given.site), given.project, "results") as context:
        if ref := given.release or given.withhold:
            if not given.reason.strip():
                raise ConfigError("give a --reason: the decision is recorded with it")
            decide_release(context, ref, bool(given.release), account(), given.reason)
        ledger = context.ledger
        for one in ledger.results.of_project(given.project, given.study):
            items, rows = ledger.results.items(one.ref), ledger.instances.of_study(one.ref)
            told = {
                "ref": one.ref,
                "name": one.name,
                "study": rows[0].study_uid if rows else "",
                "state": ledger.studies.state(one.ref).value,
                "objects": len(items),
                "sent_by": sorted({item.who for item in items}),
                "software": sorted({item.software for item in items}),
                "released": one.released,
            }
            print(json.dumps(told, ensure_ascii=False))
    return 0


def add_return_results(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``pacsgrid return-results``."""
    parser.description = (
        "Sends a result back to the hospital under the patient's own identifiers. Who asked and "
        "why is written to the ledger's append-only record before the vault is opened."
    )
    add_project(parser)
    parser.add_argument("ref", metavar="REF", help="the result's reference")
    parser.add_argument("--to", required=True, metavar="NAME", help="an entry of `returns`")
    parser.add_argument(
        "--source",
        default="",
        metavar="NAME",
        help="the source to ask for the study (default: where it came from)",
    )
    parser.add_argument(
        "--who",
        required=True,
        help="the authorised person who asks; recorded with the account that runs this",
    )
    parser.add_argument("--reason", required=True, help="why, in one sentence")
    add_site(parser)


def run_return_results(given: argparse.Namespace) -> int:
    """Send a result back; returns 0."""
    from pacsgrid.config import load_site
    from pacsgrid.pipeline import ProjectContext
    from pacsgrid.pipeline.return_results import return_result

    who = f"{given.who.strip()} ({account()})" if given.who.strip() else ""
    with ProjectContext(load_site(given.site), given.project, "return-results") as context:
        sent = return_result(context, given.ref, given.to, who, given.reason, given.source)
    print(f"{sent} objects returned to {given.to}")
    return 0
