"""The sub-commands: their names, their summaries, and the modules that hold them.

This table is all that ``pacsgrid --help`` needs. A sub-command's module is imported when the
sub-command is chosen, and what does the work when it runs.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from pacsgrid import __version__

DEID, GATEWAY, AIRFLOW = "deid", "gateway", "airflow"


@dataclass(frozen=True)
class Command:
    """A sub-command.

    Attributes
    ----------
    name
        What is typed.
    summary
        One line for ``pacsgrid --help``.
    module
        Module of `pacsgrid.cli` with the functions ``add_NAME`` and ``run_NAME``.
    extra
        The extra of the distribution that the sub-command needs; empty where the bare
        installation is enough.
    """

    name: str
    summary: str
    module: str
    extra: str = AIRFLOW

    def add(self, parser: argparse.ArgumentParser) -> None:
        """Declare the sub-command's arguments, and the function that runs it."""
        module = import_module(f"pacsgrid.cli.{self.module}")
        name = self.name.replace("-", "_")
        add: Callable[[argparse.ArgumentParser], None] = getattr(module, f"add_{name}")
        add(parser)
        parser.set_defaults(run=getattr(module, f"run_{name}"))


COMMANDS = (
    Command("backfill", "show, pause or resume the ingests of a project", "backfill"),
    Command("backup", "back up the ledger, other databases and the sealed keys", "backup"),
    Command("bids", "convert a release to NIfTI images in BIDS", "bids"),
    Command("cohort", "count a cohort, or release it", "cohort"),
    Command("completion", "print the completion script of a shell", "completion", extra=""),
    Command("consent", "ask for the consent of a project's patients now", "consent"),
    Command("deid", "de-identify DICOM files or folders (PS3.15)", "deid", DEID),
    Command("doctor", "check ledger, directories and zones; changes nothing", "doctor"),
    Command("fetch", "download a release or a collection and verify it", "fetch", extra=""),
    Command("gateway", "serve the zones as a DICOM node and as DICOMweb", "gateway", GATEWAY),
    Command("ledger", "bring the ledger's schema up to date", "ledger"),
    Command("logins", "list or check the logins through the provider", "logins"),
    Command("maintain", "copy, verify and repair a project's replicas", "maintain"),
    Command("pseudonym", "find the pseudonyms of patients and studies, on record", "reidentify"),
    Command("receive", "run the storage SCP that modalities and PACS push to", "receive", GATEWAY),
    Command("reidentify", "look a pseudonym up in the vault, on record", "reidentify"),
    Command("remove-partner", "stop copying a project to a partner zone", "federation"),
    Command("report", "print the state of a project's replicas as JSON", "maintain"),
    Command("reprofile", "anonymise deposited studies under a new profile", "reprofile"),
    Command("restore", "restore a backup", "backup"),
    Command("results", "list the results that came back, or release one", "results"),
    Command("return-results", "send a result back to the hospital, on record", "results"),
    Command("risk", "report what may still identify somebody in a project", "risk"),
    Command("roles", "create or update the roles of Airflow's users", "roles"),
    Command("sample", "draw instances at random for people to check", "risk"),
    Command("search", "list collections by their metadata (AVUs)", "fetch", extra=""),
    Command("share", "let users read a project in all its zones", "federation"),
    Command("subjects", "import a project's table of pseudonyms, or count it", "subjects"),
    Command("ticket", "issue or revoke time-limited read access", "federation"),
    Command("withdraw", "remove a patient from every zone, with proof", "cohort"),
    Command("zones", "test every zone of a project by storing and reading data", "maintain"),
)
# Old names, which work for one more release.
RENAMED = {"keep": "maintain", "leave": "remove-partner"}


class CommandParser(argparse.ArgumentParser):
    """The parser of a sub-command, which imports the sub-command's module when it is chosen.

    Parameters
    ----------
    command
        The sub-command; None for the parser of ``pacsgrid`` itself.
    **settings
        As for `argparse.ArgumentParser`.
    """

    def __init__(self, *, command: Command | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self._command = command
        # Options may stand between IN and OUT; argparse cannot mix them with sub-commands, nor
        # argcomplete follow.
        self._mixes = command is not None and "_ARGCOMPLETE" not in os.environ

    def declare(self) -> None:
        """Declare the sub-command's arguments, unless that is done."""
        if self._command is not None:
            command, self._command = self._command, None
            command.add(self)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse arguments after declaring them, see `argparse.ArgumentParser.parse_known_args`."""
        self.declare()
        if not self._mixes:
            return super().parse_known_args(args, namespace)
        self._mixes = False  # argparse calls this method for each of its two passes
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._mixes = True


def build_parser(declared: Collection[str] = ()) -> argparse.ArgumentParser:
    """Return the parser of ``pacsgrid`` with every sub-command.

    Parameters
    ----------
    declared
        Names of sub-commands whose arguments are declared now, not when they are parsed.
    """
    parser = CommandParser(
        prog="pacsgrid", description="Medical images from hospital PACS into an iRODS grid."
    )
    parser.add_argument("--version", action="version", version=f"pacsgrid {__version__}")
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", title="commands"
    )
    for command in COMMANDS:
        added = commands.add_parser(command.name, help=command.summary, command=command)
        if command.name in declared:
            added.declare()
    return parser
