"""The command line's parser, with every sub-command's arguments declared."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from pacsgrid import cli

# Until the new names are there, the old ones stand in.
OLD = {"maintain": "keep", "remove-partner": "leave"}


def parser() -> argparse.ArgumentParser:
    """Return the whole parser."""
    made = argparse.ArgumentParser(prog="pacsgrid")
    commands = made.add_subparsers(dest="command", required=True)
    for module in cli.COMMANDS:
        module.add(commands)
    return made


def present(arguments: Sequence[str]) -> list[str]:
    """Return arguments with the name that the sub-command has now."""
    (action,) = (a for a in parser()._actions if isinstance(a, argparse._SubParsersAction))
    first, *rest = arguments
    return [first if first in action.choices else OLD.get(first, first), *rest]


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments of a `pacsgrid` command; raises SystemExit when they are wrong."""
    return parser().parse_args(present(arguments))
