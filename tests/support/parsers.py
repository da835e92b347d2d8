"""The command line's parser, with every sub-command's arguments declared."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from pacsgrid.cli.commands import COMMANDS, build_parser


def parser() -> argparse.ArgumentParser:
    """Return the whole parser."""
    return build_parser(declared=[command.name for command in COMMANDS])


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments of a `pacsgrid` command; raises SystemExit when they are wrong."""
    return parser().parse_args(arguments)
