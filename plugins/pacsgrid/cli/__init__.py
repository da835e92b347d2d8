"""The command line: one module per sub-command, each with `add` and `run`."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from pacsgrid.cli import (
    backup,
    cohort,
    deid,
    doctor,
    federation,
    fetch,
    gateway,
    keep,
    ledger,
    receive,
    reidentify,
    roles,
)
from pacsgrid.errors import PacsgridError

COMMANDS = (
    backup,
    cohort,
    deid,
    doctor,
    federation,
    fetch,
    gateway,
    keep,
    ledger,
    receive,
    reidentify,
    roles,
)
WRONG, HELD, AGAIN = 2, 3, 75  # 75 is EX_TEMPFAIL of sysexits.h


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command; return the exit status.

    0: all done. 1: something of the machine failed. 2: arguments or settings are wrong.
    3: done, but something is held. 75: try again later.
    """
    parser = argparse.ArgumentParser(prog="pacsgrid", description="DICOM into the grid.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in COMMANDS:
        module.add(commands)
    given = parser.parse_args(arguments)
    try:
        status: int = given.run(given)
    except PacsgridError as error:
        print(f"pacsgrid {given.command}: {error}", file=sys.stderr)
        return AGAIN if error.retryable else WRONG
    except OSError as error:
        # A file that goes in may be named after its patient.
        place = f"{error.filename}: " if error.filename and given.command != "deid" else ""
        told = error.strerror or type(error).__name__
        print(f"pacsgrid {given.command}: {place}{told}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        # A foreign error's text may quote a value: only its type and place are told.
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"
        print(f"pacsgrid {given.command}: fails with {where}; please report it", file=sys.stderr)
        return 1
    return status
