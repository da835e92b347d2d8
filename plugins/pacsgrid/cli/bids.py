"""``pacsgrid bids``: a release as NIfTI images in BIDS."""

from __future__ import annotations

import argparse
import sys

from pacsgrid.cli.arguments import add_project


def add_bids(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``pacsgrid bids``."""
    parser.description = (
        "Converts the DICOM files of a release with dcm2niix and puts the images beside the "
        "release, in its collection `bids`, in each zone of the project. After an interruption, "
        "run it again. Exit status 1: studies were refused, and code/conversion.tsv says why."
    )
    add_project(parser)
    parser.add_argument("release", metavar="RELEASE", help="the release's name")
    parser.add_argument(
        "--version",
        type=int,
        default=0,
        metavar="N",
        help="the version's number (default: the newest)",
    )


def run_bids(given: argparse.Namespace) -> int:
    """Derive the data set and print what it holds; returns 1 if studies were refused."""
    from pacsgrid.config import load_site
    from pacsgrid.pipeline import ProjectContext
    from pacsgrid.pipeline.bids import convert_studies, finish, open_derivative, replicate

    def progress(done: int, total: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{done} of {total} studies", end="", file=sys.stderr, flush=True)

    with ProjectContext(load_site(), given.project, "bids") as context:
        derivative = open_derivative(context, given.release, given.version)
        counts = convert_studies(derivative, derivative.pending(), progress)
        told = finish(derivative)
        copies = replicate(context, derivative.name, derivative.version)
    print(
        f"{derivative.root}: {told['studies']} studies, {told['images']} images, "
        f"{told['series_left']} series left out, {told['refused']} studies refused"
    )
    print(", ".join(f"{number} {what}" for what, number in sorted(counts.items())) or "nothing new")
    print(
        f"proven in {copies.proven} zones, {copies.copied} files copied"
        + (f"; {copies.postponed} zones do not answer and get it later" * bool(copies.postponed))
    )
    return 1 if told["refused"] else 0
