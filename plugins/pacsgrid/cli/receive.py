"""``pacsgrid receive``: run the storage SCP that modalities and PACS push to."""

from __future__ import annotations

import argparse

from pacsgrid.cli.arguments import add_site
from pacsgrid.cli.logs import add_log_format, start_log


def add_receive(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``pacsgrid receive``."""
    parser.description = (
        "Receives instances by C-STORE, as the site file's section 'receiver' says, until SIGTERM "
        "or SIGINT. Complete studies are announced to Airflow."
    )
    add_site(parser)
    add_log_format(parser)


def run_receive(given: argparse.Namespace) -> int:
    """Receive until a signal; returns 0."""
    from pacsgrid.config import load_site
    from pacsgrid.pacs.storage_scp.run import serve
    from pacsgrid.pipeline.commitment import answer_requests

    start_log(given.log_format)
    site = load_site(given.site)
    serve(site, lambda: answer_requests(site))
    return 0
