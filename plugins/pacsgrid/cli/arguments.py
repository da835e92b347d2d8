"""Arguments that several sub-commands share."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_project(parser: argparse.ArgumentParser) -> None:
    """Declare the argument PROJECT."""
    parser.add_argument("project", metavar="PROJECT", help="a project of the site file")


def add_site(parser: argparse.ArgumentParser) -> None:
    """Declare the option ``--site``."""
    parser.add_argument(
        "--site", type=Path, metavar="FILE", help="site file (default: $PACSGRID_SITE)"
    )
