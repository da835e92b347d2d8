"""`make deid-corpus`: all real files, and each row of the table at depths 0, 1 and 3."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from pacsgrid.deid import (
    Pseudonyms,
    anonymise_file,
    check_file,
    collect_identifiers,
    load_profile,
)
from pacsgrid.errors import HeldError

from . import canaries, validity
from .files import real_files
from .table import Row, rows

DEPTHS = (0, 1, 3)
# The checker's refusals: a result that had to be refused is the anonymiser's fault.
FAULTS = frozenset(
    {"identity-left", "private-left", "required-missing", "reference-changed", "not-clean",
     "pixels-changed", "pixels-text", "value-lost", "geometry-lost"}
)  # fmt: skip
_PSEUDONYMS = Pseudonyms(b"c" * 32, "corpus")


def one_file(path: Path, out: Path, profile_name: str) -> tuple[str, Path | None, list[str]]:
    """Anonymise, check and validate a file; return its fate, the result, and what is wrong."""
    profile = load_profile(profile_name)
    try:
        made = anonymise_file(path, out, _PSEUDONYMS, profile, collect_identifiers([path]))
        check_file(path, made.path, profile)
    except HeldError as error:
        wrong = [f"{path.name}: {error}"] if error.code in FAULTS else []
        return error.code, None, wrong
    except Exception as error:
        return "crashed", None, [f"{path.name}: crashed with {type(error).__name__}"]
    news = validity.new_errors(path, made.path) if validity.DCIODVFY else []
    return "anonymised", made.path, [f"{path.name}: {error}" for error in news]


def real(paths: Iterable[Path], folder: Path, profile: str) -> tuple[Counter[str], list[str]]:
    """Run over real files; return how many had which fate, and what is wrong."""
    fates, wrong = Counter[str](), []
    for number, path in enumerate(paths):
        fate, _, faults = one_file(path, folder / str(number), profile)
        fates[fate] += 1
        wrong += faults
    return fates, wrong


def generated(
    table: Iterable[tuple[int, Row]], depths: Iterable[int], folder: Path, profile_name: str
) -> tuple[Counter[str], list[str]]:
    """Run over one file for each row and depth; return fates and what is left or wrong."""
    fates, wrong, options = Counter[str](), [], load_profile(profile_name).options
    for number, row in table:
        for depth in depths:
            path = folder / f"{number}-{depth}.dcm"
            if not canaries.write(path, number, row, depth):
                fates["no file can carry it"] += 1
                continue
            fate, result, faults = one_file(path, folder / "out", profile_name)
            fates[fate] += 1
            wrong += [f"{row.name} at depth {depth}: {fault}" for fault in faults]
            if result is None and fate == "overlay-unreadable" and row.tag >> 24 == 0x60:
                continue  # a word is no overlay
            if result is None:
                wrong.append(f"{row.name} at depth {depth}: held as {fate}")
            elif left := canaries.left_over(result, number, row, depth, options):
                wrong.append(left)
    return fates, wrong


def main() -> int:
    """Run all and say what came of it; 1 when anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", action="append")
    parser.add_argument("--only", choices=("real", "generated"))
    arguments = parser.parse_args()
    wrong: list[str] = []
    for profile in arguments.profile or ["basic", "research", "strict"]:
        with tempfile.TemporaryDirectory() as folder:
            if arguments.only != "generated":
                fates, faults = real(real_files(), Path(folder), profile)
                wrong += faults
                print(f"{profile}: {sum(fates.values())} real files:", dict(fates.most_common()))
            if arguments.only != "real":
                root = Path(folder) / "canaries"
                fates, faults = generated(enumerate(rows()), DEPTHS, root, profile)
                wrong += faults
                print(f"{profile}: {sum(fates.values())} generated:", dict(fates.most_common()))
    for line in wrong:
        print("WRONG", line)
    print(f"{len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
