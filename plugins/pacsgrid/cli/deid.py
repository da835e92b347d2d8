"""``pacsgrid deid``: de-identify DICOM files and check every result."""

from __future__ import annotations

import argparse
import errno
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pacsgrid.cli.user_key import ensure_user_key, user_key_path
from pacsgrid.disk import storing, sync_directory
from pacsgrid.errors import ConfigError

if TYPE_CHECKING:
    from pacsgrid.deid import Profile, Pseudonyms
    from pacsgrid.deid.folder import Summary

PROJECT = "default"
HELD = 3
_NOWHERE = Path("/nonexistent")
_SUFFIXES = (".dcm", ".dicom", ".ima")


def add_deid(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``pacsgrid deid``."""
    parser.usage = "%(prog)s [options] IN [IN ...] OUT"
    parser.description = (
        "De-identifies DICOM files as PS3.15 Annex E says and checks every result. Patients get "
        "pseudonyms that depend on the key and the project alone. Run the same command again to "
        "continue after an interruption. Exit status 3: some files are held."
    )
    parser.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="IN ... OUT",
        help="files or folders, and last the folder for the results; if IN is one file, OUT may "
        "be a file that ends in .dcm; with --dry-run OUT may be left out",
    )
    parser.add_argument(
        "--profile",
        default="basic",
        help="basic, research, strict, or the YAML file of a profile (default: %(default)s)",
    )
    parser.add_argument(
        "--key-file",
        type=Path,
        metavar="FILE",
        help="secret of at least 16 bytes that the pseudonyms are derived from (default: a key "
        "made once, ~/.config/pacsgrid/deid.key)",
    )
    parser.add_argument(
        "--project",
        metavar="NAME",
        help="pseudonym space: the same patient has another pseudonym in another project "
        f"(default: {PROJECT})",
    )
    parser.add_argument(
        "--quarantine",
        type=Path,
        metavar="FOLDER",
        help="folder for files that are held; they identify patients (default: OUT-held)",
    )
    parser.add_argument(
        "--processes",
        type=_processes,
        default=0,
        metavar="N",
        help="parallel processes (default: one per core)",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="write nothing; print what would be done (default: write)",
    )
    parser.add_argument(
        "--diff",
        action="store_true",
        help="show one file before and after on this terminal (default: write)",
    )


def _processes(text: str) -> int:
    number = int(text) if text.isdecimal() else -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of processes, 0 or more")
    return number


@dataclass(frozen=True)
class _Places:
    """The paths of a run; `single` says that OUT is a file."""

    inputs: list[Path]
    out: Path
    quarantine: Path
    single: bool


def run_deid(given: argparse.Namespace) -> int:
    """De-identify, or show what would be done; returns 3 if files are held."""
    from pacsgrid.deid import load_profile

    profile = load_profile(given.profile)
    if given.diff:
        return _diff(given.paths, _pseudonyms(given), profile)
    places = _places(given)
    if not given.dry_run:
        _check_free(places)
    summary = _carry_out(given, places, profile)
    _report(summary, places.quarantine, given.dry_run)
    return HELD if summary.held else 0


def _carry_out(given: argparse.Namespace, places: _Places, profile: Profile) -> Summary:
    from pacsgrid.deid.folder import FolderRun, list_files

    pseudonyms = _pseudonyms(given)
    progress = _Progress()
    listing = list_files(places.inputs, [places.out, places.quarantine])

    def run_to(out: Path) -> FolderRun:
        return FolderRun(pseudonyms, profile, out, places.quarantine, given.processes, progress)

    if given.dry_run:
        summary = run_to(places.out).dry_run(listing)
    elif not places.single:
        summary = run_to(places.out).run(listing)
    else:
        parent = places.out.parent
        with storing(parent):
            parent.mkdir(parents=True, exist_ok=True)
            folder = tempfile.TemporaryDirectory(prefix=".pacsgrid-", dir=parent)
        with folder as name:
            summary = run_to(Path(name)).run(listing)
            with storing(parent):
                for result in Path(name).rglob("*.dcm"):
                    os.replace(result, places.out)
                sync_directory(parent)
    progress.end(summary)
    return summary


def _report(summary: Summary, quarantine: Path, dry_run: bool) -> None:
    """Print what was done, and how many files were not taken for which reason."""
    from pacsgrid.deid.quarantine import REASONS, displayable_path

    if dry_run:
        for tag, fates in summary.counts.tags().items():
            print(tag, ", ".join(f"{count} {fate}" for fate, count in fates.items()))
    totals = ", ".join(f"{count} {fate}" for fate, count in summary.counts.totals().items())
    print(f"{summary.files} files: {summary.made} done, {summary.earlier} done before; {totals}")
    if summary.copies:
        print(f"{summary.copies} copies of instances that are done (duplicate)")
    for code, count in sorted(summary.skipped.items()):
        where = "" if dry_run else f", listed in {displayable_path(quarantine / REASONS)}"
        print(f"{count} passed over{where}: {code}")
    for code, count in sorted(summary.held.items()):
        where = "would be held" if dry_run else f"held, see {displayable_path(quarantine)}"
        print(f"{count} {where}: {code}")


def _places(given: argparse.Namespace) -> _Places:
    """Split the paths into inputs and OUT, which may be missing with ``--dry-run``."""
    from pacsgrid.deid.quarantine import displayable_path

    paths: list[Path] = given.paths
    if len(paths) < 2 and not given.dry_run:
        raise ConfigError("name at least one IN and, last, OUT")
    last = paths[-1]
    *inputs, out = paths if len(paths) > 1 else [*paths, _NOWHERE]
    if given.dry_run and len(paths) > 1 and not _is_for_results(last):
        inputs, out = paths, _NOWHERE
    for path in inputs:
        try:
            path.stat()
        except OSError as error:
            why = "no such file or folder" if error.errno == errno.ENOENT else error.strerror
            raise ConfigError(f"{displayable_path(path)}: {why}") from None
    if any(path.is_dir() and out.exists() and path.samefile(out) for path in inputs):
        raise ConfigError("OUT is the same folder as IN; name another folder for the results")
    single = _is_single(inputs, out)
    held = out.with_name(f"{out.stem if single else out.name}-held")
    return _Places(inputs, out, given.quarantine or held, single)


def _is_for_results(path: Path) -> bool:
    """Return whether a path can be the OUT of a dry run: missing, empty, or with results."""
    from pacsgrid.deid.folder import JOURNAL

    if not path.exists():
        return True
    return path.is_dir() and ((path / JOURNAL).exists() or not any(path.iterdir()))


def _is_single(inputs: list[Path], out: Path) -> bool:
    """Return whether OUT is to be a file, as programs that take one file and write one do."""
    if len(inputs) != 1 or not inputs[0].is_file() or out.is_dir():
        return False
    suffix = out.suffix.lower()
    return suffix in _SUFFIXES or suffix == inputs[0].suffix.lower() != ""


def _check_free(places: _Places) -> None:
    if places.single and places.out.exists():
        raise ConfigError(f"{places.out}: exists already; name another file or a folder")
    for place in (places.quarantine,) if places.single else (places.out, places.quarantine):
        if place.exists() and not place.is_dir():
            raise ConfigError(f"{place}: is a file; name a folder for the results")


def _pseudonyms(given: argparse.Namespace) -> Pseudonyms:
    from pacsgrid.config import read_key
    from pacsgrid.deid import Pseudonyms

    project = given.project or PROJECT
    file = given.key_file
    if file is None and (given.dry_run or given.diff):
        file = user_key_path()
        if not file.exists():  # nothing is kept, so any key will do
            return Pseudonyms(os.urandom(32), project)
    elif file is None:
        file = ensure_user_key()
        print(
            f"Using the key {file}; keep it: with the same key the same patient gets the same "
            "pseudonym.",
            file=sys.stderr,
        )
    key = read_key("--key-file", file)
    if len(key) < 16:
        raise ConfigError(f"--key-file: {file} needs at least 16 bytes")
    return Pseudonyms(key, project)


def _diff(paths: list[Path], pseudonyms: Pseudonyms, profile: Profile) -> int:
    from pacsgrid.deid.difference import difference

    if len(paths) != 1:
        raise ConfigError("--diff takes one file")
    if not sys.stdout.isatty():
        raise ConfigError("--diff shows identifying values, so it writes to a terminal only")
    with tempfile.TemporaryDirectory(prefix="pacsgrid-") as folder:
        for line in difference(paths[0], Path(folder), pseudonyms, profile):
            print(line)
    return 0


class _Progress:
    """Progress on standard error: one line on a terminal, else a line every ten seconds."""

    def __init__(self) -> None:
        self._start = self._last = time.monotonic()
        self._terminal = sys.stderr.isatty()

    def __call__(self, summary: Summary) -> None:
        now = time.monotonic()
        if now - self._last >= (0.2 if self._terminal else 10):
            self._last = now
            self._show(summary, now)

    def _show(self, summary: Summary, now: float) -> None:
        fresh = summary.finished - summary.earlier
        rate = fresh / max(now - self._start, 1e-3)
        left = (summary.files - summary.finished) / rate if rate else 0
        text = (
            f"{summary.finished} of {summary.files} files, {sum(summary.held.values())} held, "
            f"{rate:.0f}/s, {left:.0f} s left"
        )
        print(f"\r{text}\033[K" if self._terminal else text,
              end="" if self._terminal else "\n", file=sys.stderr, flush=True)  # fmt: skip

    def end(self, summary: Summary) -> None:
        """Print the final state."""
        if self._terminal:
            self._show(summary, time.monotonic())
            print(file=sys.stderr)
