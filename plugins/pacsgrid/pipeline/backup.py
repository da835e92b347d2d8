"""Backup and restore of what cannot be made again: the ledger, other databases, the keys.

A backup is one directory with a manifest of sizes and SHA-256s. It is written under another name
and renamed when it is whole, and read back only when every file is as the manifest says. The keys
are fingerprinted in it and otherwise kept apart, sealed with a passphrase: who finds a backup alone
cannot find a patient.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pacsgrid import __version__
from pacsgrid.config import key_files, load_site, read_key
from pacsgrid.disk import sha256_of, sync_directory
from pacsgrid.errors import ConfigError, RetryableError
from pacsgrid.ledger.dump import dump, is_empty, load, readable
from pacsgrid.ledger.migrate import migrate, newest
from pacsgrid.ledger.roles import check_two, may_replace, prepare
from pacsgrid.pipeline.key_ring import fingerprint, seal, unseal

MANIFEST, LEDGER, SITE, KEYS = "manifest.json", "ledger", "site.yaml", "keys.sealed"
_FORMAT = 1


@dataclass(frozen=True)
class BackupOptions:
    """What a backup or a restore takes in beside the ledger.

    Attributes
    ----------
    databases
        Further databases: their name in the backup, and a libpq connection string.
    keys
        Where the sealed keys are written to, or read from; None leaves them alone.
    keys_inside
        Whether they go into the backup itself instead.
    passphrase
        What they are sealed with.
    """

    databases: Mapping[str, str] = field(default_factory=dict)
    keys: Path | None = None
    keys_inside: bool = False
    passphrase: bytes = b""


def backup(site_file: Path, into: Path, options: BackupOptions) -> dict[str, Any]:
    """Write a backup; returns its manifest.

    Raises
    ------
    ConfigError
        `into` is there already, a setting is wrong, or the keys would lie in the backup unasked.
    RetryableError
        A database does not answer, or another backup is writing there.
    """
    into = into.absolute()
    for name in options.databases:
        if not re.fullmatch(r"[a-z][a-z0-9_-]*", name) or name == LEDGER:
            raise ConfigError(f"database {name!r}: give another name, in small letters")
    if options.keys and into in options.keys.absolute().parents:
        raise ConfigError("the keys would lie in the backup; ask for that, or name another place")
    site = load_site(site_file)
    keys = {n: read_key(n, path) for n, path in key_files(site_file).items()}
    with _being_written(into) as folder:
        version = migrate(site.ledger_dsn)
        dump(site.ledger_dsn, folder / f"{LEDGER}.dump")
        for name, dsn in options.databases.items():
            dump(dsn, folder / f"{name}.dump")
        shutil.copyfile(site_file, folder / SITE)
        if options.keys_inside:
            _write(folder / KEYS, seal(keys, options.passphrase))
        manifest = {
            "format": _FORMAT,
            "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "pacsgrid": __version__,
            "schema": version,
            "keys": {name: fingerprint(key) for name, key in keys.items()},
            "files": {path.name: _told(path) for path in sorted(folder.iterdir())},
        }
        if options.keys:
            _keep_apart(options.keys, keys, options.passphrase)
        _write(folder / MANIFEST, json.dumps(manifest, indent=1).encode())
    return manifest


@contextmanager
def _being_written(into: Path) -> Iterator[Path]:
    if into.exists():
        raise ConfigError(f"{into} is there already; name a directory that is not")
    partial = into.with_name(f".{into.name}.part")
    partial.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(partial, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RetryableError(f"another backup is being written to {into}") from None
        # What one that was killed left behind.
        for path in partial.iterdir():
            path.unlink()
        try:
            yield partial
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        for path in partial.iterdir():
            _sync(path)
        sync_directory(partial)
        os.rename(partial, into)
        sync_directory(into.parent)
    finally:
        os.close(handle)


def _keep_apart(file: Path, keys: Mapping[str, bytes], passphrase: bytes) -> None:
    """Seal the keys beside the backup; what lies there is replaced when it lacks none of ours."""
    if file.exists():
        held = unseal(file, file.read_bytes(), passphrase)
        if held == keys:
            return
        if lost := sorted(name for name, key in held.items() if keys.get(name) != key):
            raise ConfigError(f"{file} holds other keys ({', '.join(lost)}); move it away first")
    _write(file, seal(keys, passphrase))


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return a backup's manifest when every file is as it says.

    Raises
    ------
    ConfigError
        A file is missing, added or changed, or a newer pacsgrid wrote the backup.
    """
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
        files: dict[str, dict[str, Any]] = dict(manifest["files"])
        keys, schema, kind = dict(manifest["keys"]), int(manifest["schema"]), manifest["format"]
    except OSError:
        raise ConfigError(f"{folder}: no backup, or half of one: no {MANIFEST}") from None
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"{folder}: {MANIFEST} is damaged; take another backup") from None
    if kind != _FORMAT or schema > newest():
        raise ConfigError(f"{folder}: made by a newer pacsgrid ({manifest.get('pacsgrid')})")
    there = {path.name for path in folder.iterdir()} - {MANIFEST}
    if there != set(files) or f"{LEDGER}.dump" not in files or not keys:
        odd = ", ".join(sorted(there ^ set(files))) or MANIFEST
        raise ConfigError(f"{folder}: half a backup, or not this one's files: {odd}")
    for name, told in files.items():
        if _told(folder / name) != told:
            raise ConfigError(f"{folder}: {name} is not as it was written; take another backup")
        if name.endswith(".dump") and not readable(folder / name):
            raise ConfigError(f"{folder}: pg_restore cannot read {name}; is it a newer one's?")
    return manifest


def restore(
    site_file: Path, folder: Path, options: BackupOptions, replace: bool = False
) -> dict[str, Any]:
    """Bring back keys, then databases, the ledger last; returns the manifest.

    Everything is checked before anything is changed. Each database comes back in one transaction;
    interrupted, the same call with `replace` goes through it again.

    Parameters
    ----------
    replace
        Databases that are not empty are replaced; else nothing is changed when one is not.

    Raises
    ------
    ConfigError
        The backup is not whole, a key is another one, a database is not empty, or the ledger's
        owner is needed and not named, or not another role than the application's.
    RetryableError
        A database does not answer, or somebody still works in it.
    """
    manifest = read_manifest(folder)
    for name in options.databases:
        if f"{name}.dump" not in manifest["files"]:
            raise ConfigError(f"{folder}: no database {name} in this backup")
    missing = _missing_keys(site_file, folder, manifest["keys"], options)
    # Their files may be all that is missing, so the site is read after them.
    for path, key in missing.items():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write(path, key)
    working = load_site(site_file).ledger_dsn
    # Named among the databases is the ledger's owner, where the application's role is another.
    owner = options.databases.get(LEDGER, working)
    if owner != working:
        check_two(owner, working)
    if not may_replace(owner):
        raise ConfigError(
            "the ledger belongs to another role than this one: give --database ledger=FILE, where "
            "FILE holds its owner's connection string"
        )
    others = {name: dsn for name, dsn in options.databases.items() if name != LEDGER}
    targets = {**others, LEDGER: owner}
    if not replace:
        for name, dsn in targets.items():
            if not is_empty(dsn):
                raise ConfigError(f"database {name} is not empty; empty it, or ask to replace it")
    for name, dsn in targets.items():
        load(dsn, folder / f"{name}.dump", replace)
    if owner == working:
        migrate(working)
    else:
        prepare(owner, working)
    return manifest


def _missing_keys(
    site_file: Path, folder: Path, prints: Mapping[str, str], options: BackupOptions
) -> dict[Path, bytes]:
    """Return the key files to write; raises ConfigError for a key that is not the backup's."""
    held: dict[str, bytes] = {}
    if sealed := options.keys or (folder / KEYS if options.keys_inside else None):
        held = unseal(sealed, read_key("keys", sealed), options.passphrase)
    missing: dict[Path, bytes] = {}
    for name, path in key_files(site_file).items():
        key = path.read_bytes() if path.exists() else held.get(name)
        if key is None:
            raise ConfigError(f"{name}: {path} is not there; restore it, or give the sealed keys")
        # A project that came after the backup has a key that the backup cannot know.
        if prints.get(name, fingerprint(key)) != fingerprint(key):
            raise ConfigError(f"{name}: not the key that this backup was made with")
        if not path.exists():
            missing[path] = key
    return missing


def _told(path: Path) -> dict[str, Any]:
    return {"size": path.stat().st_size, "sha256": sha256_of(path)}


def _sync(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def _write(path: Path, content: bytes) -> None:
    """Write a private file, whole or not at all."""
    partial = path.with_name(f".{path.name}.part")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(partial, path)
    sync_directory(path.parent)
