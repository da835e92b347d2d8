"""Keys and passwords, from files and from the environment."""

from __future__ import annotations

import os
from pathlib import Path

from pacsgrid.errors import ConfigError


def read_key(where: str, path: Path) -> bytes:
    """Return the bytes of a key file; raises ConfigError naming the setting and the file."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{where}: cannot read {path}: {error.strerror}") from None


def read_secret(where: str, env: str, file: Path | None, what: str = "password") -> str:
    """Return a secret from its file or variable; raises ConfigError saying how to set it."""
    if file is not None:
        return read_key(where, file).decode().strip()
    if env and env in os.environ:
        return os.environ[env]
    raise ConfigError(
        f"{where}: no {what}; set {what}_file, or {what}_env to a variable that is set"
    )
