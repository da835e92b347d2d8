"""``pacsgrid deid``: folders or files in, anonymised and checked studies out."""

from __future__ import annotations

import argparse
import errno
import os
import sys
import tempfile
import time
from pathlib import Path

from pacsgrid.config import read_key
from pacsgrid.deid import Profile, Pseudonyms, load_profile
from pacsgrid.deid.difference import difference
from pacsgrid.deid.folder import JOURNAL, FolderRun, Summary, list_files
from pacsgrid.deid.quarantine import REASONS, displayable_path
from pacsgrid.errors import ConfigError

HELD = 3


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "deid",
        help="anonymise files or folders after PS3.15",
        description="Anonymises after PS3.15 Annex E and checks every result. Run again after an "
        "interruption it goes on where it stopped. Exit status 3: some files are held.",
    )
    parser.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="IN ... OUT",
        help="OUT comes last; with --dry-run it may be left out",
    )
    parser.add_argument("--profile", default="basic", help="basic, research, strict or a file")
    parser.add_argument(
        "--key-file",
        type=Path,
        help="the project's secret, at least 16 bytes; needed for what is kept",
    )
    parser.add_argument("--project", help="the pseudonym space; needed for what is kept")
    parser.add_argument("--quarantine", type=Path, help="for held files; by default OUT-held")
    parser.add_argument("--processes", type=int, default=0, help="by default one per core")
    parser.add_argument("--dry-run", action="store_true", help="write nothing; say what would be")
    parser.add_argument(
        "--diff", action="store_true", help="show one file, before and after, on this terminal"
    )
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Carry the sub-command out."""
    profile = load_profile(given.profile)
    pseudonyms = _pseudonyms(given)
    if given.diff:
        return _diff(given.paths, pseudonyms, profile)
    inputs, out = _places(given)
    quarantine = given.quarantine or out.with_name(f"{out.name}-held")
    if not given.dry_run:
        for place in (out, quarantine):
            if place.exists() and not place.is_dir():
                raise ConfigError(f"{place}: is a file; name a folder for what comes out")
    progress = _Progress()
    listing = list_files(inputs, [out, quarantine])
    work = FolderRun(pseudonyms, profile, out, quarantine, given.processes, progress)
    summary = work.dry_run(listing) if given.dry_run else work.run(listing)
    progress.end(summary)
    if given.dry_run:
        for tag, fates in summary.counts.tags().items():
            print(tag, ", ".join(f"{count} {fate}" for fate, count in fates.items()))
    totals = ", ".join(f"{count} {fate}" for fate, count in summary.counts.totals().items())
    print(f"{summary.files} files: {summary.made} done, {summary.earlier} done before; {totals}")
    if summary.copies:
        print(f"{summary.copies} taken once: copies of instances among the done (duplicate)")
    for code, count in sorted(summary.skipped.items()):
        where = "" if given.dry_run else f", named in {displayable_path(quarantine / REASONS)}"
        print(f"{count} passed over{where}: {code}")
    for code, count in sorted(summary.held.items()):
        where = "would be held" if given.dry_run else f"held, see {displayable_path(quarantine)}"
        print(f"{count} {where}: {code}")
    return HELD if summary.held else 0


def _places(given: argparse.Namespace) -> tuple[list[Path], Path]:
    """Part what goes in from OUT; with --dry-run OUT may be left out, or not be there yet."""
    paths: list[Path] = given.paths
    if len(paths) < 2 and not given.dry_run:
        raise ConfigError("name at least one IN and, last, OUT")
    last = paths[-1]
    *inputs, out = paths if len(paths) > 1 else [*paths, Path("/nonexistent")]
    if given.dry_run and len(paths) > 1 and not _is_for_results(last):
        inputs, out = paths, Path("/nonexistent")
    for path in inputs:
        try:
            path.stat()
        except OSError as error:
            why = "no such file or folder" if error.errno == errno.ENOENT else error.strerror
            raise ConfigError(f"{displayable_path(path)}: {why}") from None
    return inputs, out


def _is_for_results(path: Path) -> bool:
    """Say whether a folder is a rehearsal's OUT: not there, empty, or with results."""
    if not path.exists():
        return True
    return path.is_dir() and ((path / JOURNAL).exists() or not any(path.iterdir()))


def _pseudonyms(given: argparse.Namespace) -> Pseudonyms:
    kept = not (given.dry_run or given.diff)
    for name, value in (("--key-file", given.key_file), ("--project", given.project)):
        if kept and not value:
            raise ConfigError(f"{name} is not given: it decides the pseudonyms")
    if given.key_file is None:
        return Pseudonyms(os.urandom(32), given.project or "")
    key = read_key("--key-file", given.key_file)
    if len(key) < 16:
        raise ConfigError(f"--key-file: {given.key_file} needs at least 16 bytes")
    return Pseudonyms(key, given.project or "")


def _diff(paths: list[Path], pseudonyms: Pseudonyms, profile: Profile) -> int:
    if len(paths) != 1:
        raise ConfigError("--diff takes one file")
    if not sys.stdout.isatty():
        raise ConfigError("--diff shows identifying values: on a terminal only, not into a file")
    with tempfile.TemporaryDirectory(prefix="pacsgrid-") as folder:
        for line in difference(paths[0], Path(folder), pseudonyms, profile):
            print(line)
    return 0


class _Progress:
    """One line on standard error, rewritten on a terminal, else a line every ten seconds."""

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
        """Finish the line."""
        if self._terminal:
            self._show(summary, time.monotonic())
            print(file=sys.stderr)
