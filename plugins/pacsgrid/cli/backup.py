"""``pacsgrid backup`` and ``pacsgrid restore``: what cannot be made again."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import Any

from pacsgrid.config import SITE_ENV, read_key
from pacsgrid.errors import ConfigError
from pacsgrid.pipeline.backup import BackupOptions, backup, restore


def add(commands: Any) -> None:
    """Declare the sub-commands."""
    out = commands.add_parser(
        "backup",
        help="keep ledger, other databases and sealed keys",
        description="Writes a new directory with a dump of the ledger, of the databases named, "
        "the site file and a manifest of checksums. What identifies patients is encrypted in it; "
        "the keys go to a place of their own.",
    )
    out.add_argument("directory", type=Path, metavar="DIR", help="a directory that is not there")
    _common(out, "write the keys to FILE, sealed with the passphrase")
    out.set_defaults(run=run_backup)
    back = commands.add_parser(
        "restore",
        help="bring a backup back",
        description="Refuses a backup that is not whole, keys that are not its own, and databases "
        "that are not empty. Stop everything that works in them first.",
    )
    back.add_argument("directory", type=Path, metavar="DIR")
    _common(back, "take key files that are missing from FILE")
    back.add_argument("--replace", action="store_true", help="drop what the databases have")
    back.set_defaults(run=run_restore)


def _common(parser: argparse.ArgumentParser, keys: str) -> None:
    parser.add_argument("--site", type=Path, help="site file, by default that of PACSGRID_SITE")
    parser.add_argument(
        "--database",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="one database more; FILE holds its libpq connection string",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--keys", type=Path, metavar="FILE", help=keys)
    where.add_argument(
        "--keys-inside", action="store_true", help="keys in the backup itself: guard it well"
    )
    parser.add_argument("--passphrase-file", type=Path, metavar="FILE")


def run_backup(given: argparse.Namespace) -> int:
    """Write a backup and tell what is in it."""
    manifest = backup(_site(given), given.directory, _options(given))
    for name, told in manifest["files"].items():
        print(f"{told['size']:>12}  {name}")
    if not (given.keys or given.keys_inside):
        print(f"without the keys; keep them elsewhere: {', '.join(manifest['keys'])}")
    return 0


def run_restore(given: argparse.Namespace) -> int:
    """Bring a backup back and tell what to look at then."""
    manifest = restore(_site(given), given.directory, _options(given), given.replace)
    print(f"restored as of {manifest['made_at']}; now run: pacsgrid doctor")
    return 0


def _site(given: argparse.Namespace) -> Path:
    named = given.site or os.environ.get(SITE_ENV)
    if not named:
        raise ConfigError(f"no site file: set the environment variable {SITE_ENV} to its path")
    return Path(named)


def _options(given: argparse.Namespace) -> BackupOptions:
    passphrase = b""
    if given.keys or given.keys_inside:
        if given.passphrase_file is None:
            raise ConfigError("sealed keys need --passphrase-file")
        passphrase = read_key("--passphrase-file", given.passphrase_file).strip()
    databases = {}
    for text in given.database:
        name, equals, file = text.partition("=")
        if not equals:
            raise ConfigError(f"--database {text}: give NAME=FILE")
        dsn = read_key(f"--database {name}", Path(file)).decode().strip()
        # Airflow's own spelling names the driver too.
        databases[name] = re.sub(r"^postgres(ql)?\+\w+://", "postgresql://", dsn)
    return BackupOptions(databases, given.keys, given.keys_inside, passphrase)
