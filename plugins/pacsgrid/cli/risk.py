"""``pacsgrid sample`` and ``pacsgrid risk``: check a release by random samples, and report."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from pathlib import Path

from pacsgrid.cli.arguments import add_project, add_site
from pacsgrid.errors import ConfigError


def add_sample(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``pacsgrid sample``."""
    parser.description = (
        "Draws deposited instances at random, enters the sample into the ledger and prints it as "
        "a table (CSV). People look at each instance, write `clean` or a kind of finding into "
        "the column `verdict`, and enter the table with --record. `pacsgrid risk` shows what the "
        "result proves."
    )
    add_project(parser)
    parser.add_argument(
        "--release", default="", metavar="NAME",
        help="draw from the newest version of this release (default: all verified studies)",
    )  # fmt: skip
    parser.add_argument(
        "--modality", default="", help="draw instances of this modality only (default: all)"
    )
    parser.add_argument(
        "--limit", type=float, default=1.0, metavar="PERCENT",
        help="share of instances with something identifying that is to be ruled out (default: 1)",
    )  # fmt: skip
    parser.add_argument(
        "--confidence", type=float, default=95.0, metavar="PERCENT",
        help="how surely (default: 95)",
    )  # fmt: skip
    parser.add_argument(
        "--show",
        type=int,
        metavar="NUMBER",
        help="print a sample that was drawn before (default: draw one)",
    )
    parser.add_argument(
        "--record", type=Path, metavar="FILE",
        help="enter the filled-in table of the sample that --show names (default: print it)",
    )  # fmt: skip
    parser.add_argument(
        "--who",
        default="",
        help="who draws, or who looked at the images (default: no one, which is refused)",
    )  # fmt: skip
    add_site(parser)


def add_risk(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``pacsgrid risk``."""
    parser.description = (
        "Prints what is known of the residual risk in a project: what is held, what stewards "
        "decided, what random samples prove, and which areas of known devices are blanked."
    )
    add_project(parser)
    parser.add_argument("--json", action="store_true", help="print JSON (default: Markdown)")
    add_site(parser)


def run_sample(given: argparse.Namespace) -> int:
    """Draw, print or record a sample; returns 0."""
    from pacsgrid.config import load_site
    from pacsgrid.pipeline import ProjectContext
    from pacsgrid.pipeline.residual_risk import (
        COLUMNS,
        draw_sample,
        record_verdicts,
        sample_sheet,
    )

    if given.record is not None and given.show is None:
        raise ConfigError("name the sample that the table belongs to: --show NUMBER")
    rows = _read(given.record) if given.record is not None else []
    with ProjectContext(load_site(given.site), given.project, "sample") as context:
        if given.record is not None:
            entered = record_verdicts(context, given.show, rows, given.who)
            print(f"{entered} verdicts of sample {given.show} entered", file=sys.stderr)
            return 0
        number = given.show
        if number is None:
            number = draw_sample(
                context,
                given.release,
                given.modality,
                given.limit / 100,
                given.confidence / 100,
                given.who,
            )
        sheet = sample_sheet(context, number, given.who)
    writer = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(sheet)
    print(f"sample {number}: {len(sheet)} instances", file=sys.stderr)
    return 0


def _read(file: Path) -> list[dict[str, str]]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: not UTF-8 text; save the table as CSV in UTF-8") from None
    # Spreadsheets of some languages write semicolons.
    delimiter = ";" if ";" in text.partition("\n")[0] else ","
    reader = csv.DictReader(text.splitlines(), delimiter=delimiter)
    missing = {"number", "path", "verdict"} - set(reader.fieldnames or ())
    if missing:
        raise ConfigError(f"{file}: the table lacks the columns {', '.join(sorted(missing))}")
    return list(reader)


def run_risk(given: argparse.Namespace) -> int:
    """Print the report on a project's residual risk; returns 0."""
    from pacsgrid.config import load_site
    from pacsgrid.pipeline import ProjectContext
    from pacsgrid.pipeline.residual_risk import as_markdown, residual_risk

    with ProjectContext(load_site(given.site), given.project, "risk") as context:
        risk = residual_risk(context)
    if given.json:
        print(json.dumps(risk.as_dict(), indent=1, default=str, ensure_ascii=False))
    else:
        print(as_markdown(risk), end="")
    return 0
