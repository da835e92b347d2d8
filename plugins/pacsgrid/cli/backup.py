"""``pacsgrid backup`` and ``pacsgrid restore``: save and restore what cannot be made again."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from pacsgrid.cli.arguments import add_site
from pacsgrid.errors import ConfigError

if TYPE_CHECKING:
    from pacsgrid.pipeline.backup import BackupOptions


def add_backup(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``pacsgrid backup``."""
    parser.description = (
        "Writes a new directory with a dump of the ledger and of the databases named, the site "
        "file and a manifest with checksums. What identifies patients is encrypted in it; store "
        "the keys elsewhere."
    )
    parser.add_argument(
        "directory", type=Path, metavar="DIR", help="directory to write; must not exist"
    )
    _add_common(parser, "also write the keys to FILE, encrypted with the passphrase")


def add_restore(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``pacsgrid restore``."""
    parser.description = (
        "Restores a backup. Stop every service that uses the databases first. A backup that is "
        "incomplete, keys that are not its own and databases that are not empty are refused."
    )
    parser.add_argument("directory", type=Path, metavar="DIR", help="the backup")
    _add_common(parser, "restore missing key files from FILE")
    parser.add_argument(
        "--replace", action="store_true", help="drop what the databases hold (default: refuse)"
    )


def _add_common(parser: argparse.ArgumentParser, keys: str) -> None:
    add_site(parser)
    parser.add_argument(
        "--database",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="a further database; FILE holds its libpq connection string; may be repeated "
        "(default: none)",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--keys", type=Path, metavar="FILE", help=f"{keys} (default: no keys)")
    where.add_argument(
        "--keys-inside",
        action="store_true",
        help="the keys are in the backup itself, encrypted; store it safely (default: no keys)",
    )
    parser.add_argument(
        "--passphrase-file",
        type=Path,
        metavar="FILE",
        help="file with the passphrase (default: none; required with --keys and --keys-inside)",
    )


def run_backup(given: argparse.Namespace) -> int:
    """Write a backup and print its content; returns 0."""
    from pacsgrid.pipeline.backup import backup

    manifest = backup(_site(given), given.directory, _options(given))
    for name, file in manifest["files"].items():
        print(f"{file['size']:>12}  {name}")
    if not (given.keys or given.keys_inside):
        print(f"without the keys; store them elsewhere: {', '.join(manifest['keys'])}")
    return 0


def run_restore(given: argparse.Namespace) -> int:
    """Restore a backup and print the next step; returns 0."""
    from pacsgrid.pipeline.backup import restore

    manifest = restore(_site(given), given.directory, _options(given), given.replace)
    print(f"restored as of {manifest['made_at']}; now run: pacsgrid doctor")
    return 0


def _site(given: argparse.Namespace) -> Path:
    from pacsgrid.config import SITE_ENV

    named = given.site or os.environ.get(SITE_ENV)
    if not named:
        raise ConfigError(f"no site file: set the environment variable {SITE_ENV} to its path")
    return Path(named)


def _options(given: argparse.Namespace) -> BackupOptions:
    from pacsgrid.config import read_key
    from pacsgrid.pipeline.backup import BackupOptions

    passphrase = b""
    if given.keys or given.keys_inside:
        if given.passphrase_file is None:
            raise ConfigError("--keys and --keys-inside need --passphrase-file")
        passphrase = read_key("--passphrase-file", given.passphrase_file).strip()
    databases = {}
    for text in given.database:
        name, equals, file = text.partition("=")
        if not equals:
            raise ConfigError(f"--database {text}: write NAME=FILE")
        dsn = read_key(f"--database {name}", Path(file)).decode().strip()
        # SQLAlchemy's spelling, which Airflow uses, names the driver too.
        databases[name] = re.sub(r"^postgres(ql)?\+\w+://", "postgresql://", dsn)
    return BackupOptions(databases, given.keys, given.keys_inside, passphrase)
