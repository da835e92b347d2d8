"""``pacsgrid gateway``: serve the grid's images to DICOM viewers and programs."""

from __future__ import annotations

import argparse

from pacsgrid.cli.arguments import add_site
from pacsgrid.cli.logs import add_log_format, start_log


def add_gateway(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``pacsgrid gateway``."""
    parser.description = (
        "Serves what the zones hold by C-FIND, C-GET, C-MOVE and DICOMweb, as the site file's "
        "section 'gateway' says, until SIGTERM or SIGINT."
    )
    add_site(parser)
    add_log_format(parser)


def run_gateway(given: argparse.Namespace) -> int:
    """Serve until a signal; returns 0."""
    from pacsgrid.config import load_site
    from pacsgrid.gateway.service import serve

    start_log(given.log_format)
    serve(load_site(given.site))
    return 0
