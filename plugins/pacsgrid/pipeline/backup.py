"""Back up and restore what cannot be made again: the ledger, other databases, the keys.

A backup is a directory with a manifest of sizes and SHA-256s. It is written under another name,
renamed when it is complete, and restored only when every file is as the manifest says. The
manifest holds fingerprints of the keys. The keys themselves are sealed with a passphrase and
normally kept apart, so that a backup alone identifies no patient.
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
    """What a backup or a restore includes beside the ledger.

    Attributes
    ----------
    databases
        The connection string (libpq) of each further database, by its name in the backup.
    keys
        The file that the sealed keys are written to or read from; None to leave them out.
    keys_inside
        Whether the sealed keys are in the backup itself instead.
    passphrase
        What the keys are sealed with.
    """

    databases: Mapping[str, str] = field(default_factory=dict)
    keys: Path | None = None
    keys_inside: bool = False
    passphrase: bytes = b""


def backup(site_file: Path, into: Path, options: BackupOptions) -> dict[str, Any]:
    """Write a backup.

    Parameters
    ----------
    site_file
        The site settings.
    into
        The directory to write; it must not exist.
    options
        What to include beside the ledger.

    Returns
    -------
    dict
        The backup's manifest.

    Raises
    ------
    ConfigError
        `into` exists, a setting is wrong, or the file of keys is inside the backup.
    RetryableError
        A database does not answer, or another backup is being written there.
    """
    into = into.absolute()
    for name in options.databases:
        if not re.fullmatch(r"[a-z][a-z0-9_-]*", name) or name == LEDGER:
            raise ConfigError(f"database {name!r}: give another name, in small letters")
    if options.keys and into in options.keys.absolute().parents:
        raise ConfigError(
            f"the keys would lie in the backup: name a file outside of {into}, or ask for it"
        )
    site = load_site(site_file)
    keys = {n: read_key(n, path) for n, path in key_files(site_file).items()}
    with _new_backup(into) as folder:
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
            "files": {path.name: _size_and_digest(path) for path in sorted(folder.iterdir())},
        }
        if options.keys:
            _seal_apart(options.keys, keys, options.passphrase)
        _write(folder / MANIFEST, json.dumps(manifest, indent=1).encode())
    return manifest


@contextmanager
def _new_backup(into: Path) -> Iterator[Path]:
    """Lend a directory to write to; it is renamed to `into` at the end, or removed on an error."""
    if into.exists():
        raise ConfigError(f"{into} exists already; name a directory that does not")
    partial = into.with_name(f".{into.name}.part")
    partial.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(partial, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RetryableError(f"another backup is being written to {into}") from None
        # Files that a killed backup left behind.
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


def _seal_apart(file: Path, keys: Mapping[str, bytes], passphrase: bytes) -> None:
    """Seal the keys outside the backup; replace the file there unless it holds other keys."""
    if file.exists():
        held = unseal(file, file.read_bytes(), passphrase)
        if held == keys:
            return
        if lost := sorted(name for name, key in held.items() if keys.get(name) != key):
            raise ConfigError(f"{file} holds other keys ({', '.join(lost)}); move it away first")
    _write(file, seal(keys, passphrase))


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return a backup's manifest after checking every file against it.

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
        raise ConfigError(
            f"{folder}: not a backup, or an incomplete one: it has no {MANIFEST}"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"{folder}: {MANIFEST} is damaged; take another backup") from None
    if kind != _FORMAT or schema > newest():
        raise ConfigError(
            f"{folder}: made by a newer pacsgrid ({manifest.get('pacsgrid')}); restore with that "
            "version"
        )
    present = {path.name for path in folder.iterdir()} - {MANIFEST}
    if present != set(files) or f"{LEDGER}.dump" not in files or not keys:
        odd = ", ".join(sorted(present ^ set(files))) or MANIFEST
        raise ConfigError(f"{folder}: incomplete, or mixed with files of another backup: {odd}")
    for name, expected in files.items():
        if _size_and_digest(folder / name) != expected:
            raise ConfigError(f"{folder}: {name} is not as it was written; take another backup")
        if name.endswith(".dump") and not readable(folder / name):
            raise ConfigError(
                f"{folder}: pg_restore cannot read {name}; did a newer pg_dump write it?"
            )
    return manifest


def restore(
    site_file: Path, folder: Path, options: BackupOptions, replace: bool = False
) -> dict[str, Any]:
    """Restore keys, then databases, the ledger last.

    Everything is checked before anything is changed. Each database is restored in one
    transaction. After an interruption, the same call with `replace` completes the restore.

    Parameters
    ----------
    site_file
        The site settings.
    folder
        The backup.
    options
        What to restore beside the ledger.
    replace
        Whether to replace databases that are not empty. Otherwise nothing is changed when one
        is not.

    Returns
    -------
    dict
        The backup's manifest.

    Raises
    ------
    ConfigError
        The backup is incomplete, a key is another one, a database is not empty, or the ledger's
        owner is needed and not named, or not another role than the application's.
    RetryableError
        A database does not answer, or somebody still works in it.
    """
    manifest = read_manifest(folder)
    for name in options.databases:
        if f"{name}.dump" not in manifest["files"]:
            raise ConfigError(f"{folder}: no database {name} in this backup")
    missing = _missing_keys(site_file, folder, manifest["keys"], options)
    # The site settings cannot be loaded without the key files.
    for path, key in missing.items():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write(path, key)
    working = load_site(site_file).ledger_dsn
    # If the application's role does not own the ledger, the owner is named among the databases.
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
    site_file: Path, folder: Path, fingerprints: Mapping[str, str], options: BackupOptions
) -> dict[Path, bytes]:
    """Return the key files to write; raise ConfigError for a key that is not the backup's."""
    held: dict[str, bytes] = {}
    if sealed := options.keys or (folder / KEYS if options.keys_inside else None):
        held = unseal(sealed, read_key("keys", sealed), options.passphrase)
    missing: dict[Path, bytes] = {}
    for name, path in key_files(site_file).items():
        key = path.read_bytes() if path.exists() else held.get(name)
        if key is None:
            raise ConfigError(f"{name}: {path} is not there; restore it, or give the sealed keys")
        # The backup does not know the key of a project that was added later.
        if fingerprints.get(name, fingerprint(key)) != fingerprint(key):
            raise ConfigError(f"{name}: not the key that this backup was made with")
        if not path.exists():
            missing[path] = key
    return missing


def _size_and_digest(path: Path) -> dict[str, Any]:
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
