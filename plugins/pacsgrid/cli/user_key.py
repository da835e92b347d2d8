"""The key of a user who names none: made once, in the user's configuration directory."""

from __future__ import annotations

import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

from pacsgrid.disk import sync_directory
from pacsgrid.errors import ConfigError

_BYTES = 32


def user_key_path() -> Path:
    """Return the path of the user's key, whether or not it exists.

    It is ``pacsgrid/deid.key`` in ``$XDG_CONFIG_HOME``, or in ``~/.config`` if that variable is
    not an absolute path, as the XDG Base Directory Specification asks.

    Raises
    ------
    ConfigError
        The account has no home directory.
    """
    named = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    try:
        folder = named if named.is_absolute() else Path.home() / ".config"
    except RuntimeError:
        raise ConfigError(
            "this account has no home directory to store a key in; name one with --key-file"
        ) from None
    return folder / "pacsgrid" / "deid.key"


def ensure_user_key() -> Path:
    """Return the path of the user's key, after making the key if there is none.

    Of several processes that make it at the same time one does, and all use that key.

    Raises
    ------
    ConfigError
        The key cannot be stored, or other accounts can read it.
    """
    path = user_key_path()
    try:
        if not path.exists():
            _create(path)
        mode = path.stat().st_mode
    except OSError as error:
        raise ConfigError(
            f"cannot store a key in {path.parent}: {error.strerror}; name one with --key-file"
        ) from None
    if mode & 0o077:
        raise ConfigError(f"other accounts can read the key {path}; run: chmod 600 '{path}'")
    return path


def _create(path: Path) -> None:
    """Write a new key unless there is one; it is complete from the moment it has its name."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(handle, "w") as stream:
            stream.write(secrets.token_hex(_BYTES))
            stream.flush()
            os.fsync(stream.fileno())
        # Unlike a rename, a link does not replace the key of another process.
        with suppress(FileExistsError):
            os.link(partial, path)
    finally:
        os.unlink(partial)
    sync_directory(path.parent)
