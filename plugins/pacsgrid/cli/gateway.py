"""``pacsgrid gateway``: DICOM out of the grid, for viewers and researchers' programs."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from pacsgrid.config import load_site


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "gateway",
        help="serve what the zones hold, as a DICOM node and as DICOMweb",
        description="Serves by the site file's 'gateway' section until SIGTERM or SIGINT.",
    )
    parser.add_argument("--site", type=Path, help="site file, by default that of PACSGRID_SITE")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Carry the sub-command out."""
    from pacsgrid.gateway.service import serve  # what it imports takes its time

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    serve(load_site(given.site))
    return 0
