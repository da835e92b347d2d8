"""The command ``pacsgrid``.

`commands` lists the sub-commands; each module beside it holds one of them, or a few that belong
together.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from pacsgrid.cli.commands import COMMANDS, RENAMED, build_parser
from pacsgrid.errors import PacsgridError

FAILED, WRONG, HELD, AGAIN = 1, 2, 3, 75  # 75 is EX_TEMPFAIL of sysexits.h


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command.

    Parameters
    ----------
    arguments
        The command line without the program's name; by default that of the process.

    Returns
    -------
    int
        The exit status. 0: done. 1: the machine or the program failed. 2: arguments, settings or
        the installation are wrong. 3: done, but something is held or damaged. 75: try again later.

    Raises
    ------
    SystemExit
        The arguments cannot be parsed (status 2), or ask for help or the version (status 0).
    """
    if "_ARGCOMPLETE" in os.environ:  # set by the shell when a user presses TAB
        _complete()
    given = build_parser().parse_args(_renamed(sys.argv[1:] if arguments is None else arguments))
    name = f"pacsgrid {given.command}"
    try:
        status: int = given.run(given)
    except PacsgridError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return AGAIN if error.retryable else WRONG
    except OSError as error:
        # The name of an input file may identify its patient.
        place = f"{error.filename}: " if error.filename and given.command != "deid" else ""
        print(f"{name}: {place}{error.strerror or type(error).__name__}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if missing := _missing_package(error):
            print(f"{name}: {_advice(given.command, missing)}", file=sys.stderr)
            return WRONG
        # The text of an unexpected error may quote a value, so only its type and place are shown.
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"
        print(f"{name}: fails with {where}; please report it", file=sys.stderr)
        return FAILED
    return status


def _complete() -> None:
    """Print what the command line that is being typed can go on with, and exit."""
    import argcomplete

    # argcomplete sees only what is declared before it begins.
    typed = os.environ.get("COMP_LINE", "").split()
    argcomplete.autocomplete(build_parser(declared=typed))


def _renamed(arguments: Sequence[str]) -> list[str]:
    """Replace an old name of a sub-command, with a note on standard error."""
    first, *rest = arguments or [""]
    if first not in RENAMED:
        return list(arguments)
    new = RENAMED[first]
    print(
        f"pacsgrid: '{first}' is now '{new}'; the old name will be removed in the next release",
        file=sys.stderr,
    )
    return [new, *rest]


def _missing_package(error: Exception) -> str:
    """Return the name of the package whose absence is the error, if that is what it is."""
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return ""
    package = error.name.partition(".")[0]
    return "" if package == "pacsgrid" or find_spec(package) else package


def _advice(command: str, missing: str) -> str:
    extra = next(one.extra for one in COMMANDS if one.name == command)
    target = f"pacsgrid[{extra}]" if extra else "pacsgrid"
    return f"the package {missing} is not installed; run: pip install '{target}'"
