"""``pacsgrid receive``: the storage SCP that modalities and PACS push to."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from pacsgrid.config import load_site
from pacsgrid.pacs.storage_scp.run import serve


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "receive",
        help="run the storage SCP that modalities and PACS push to",
        description="Receives by the site file's 'receiver' section until SIGTERM or SIGINT; "
        "complete studies are announced to Airflow.",
    )
    parser.add_argument("--site", type=Path, help="site file, by default that of PACSGRID_SITE")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Carry the sub-command out."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    serve(load_site(given.site))
    return 0
