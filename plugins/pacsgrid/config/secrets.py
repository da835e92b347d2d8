"""Keys and passwords, read from files and environment variables that the site file names."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import SecretStr

from pacsgrid.errors import ConfigError


def read_key(where: str, path: Path) -> bytes:
    """Return the content of a key file.

    Parameters
    ----------
    where
        The setting that names the file, for the error message.
    path
        The file.

    Raises
    ------
    ConfigError
        The file cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{where}: cannot read {path}: {error.strerror}") from None


def read_secret(where: str, env: str, file: Path | None, what: str = "password") -> SecretStr:
    """Return a secret from its file, or else from its environment variable.

    Parameters
    ----------
    where
        The section that names file and variable, for the error message.
    env
        The environment variable; empty for none.
    file
        The file; line ends and spaces around the secret are ignored.
    what
        What the secret is called in the names of its settings: ``password`` or ``token``.

    Raises
    ------
    ConfigError
        Neither is set, or the file cannot be read. The message says what to set.
    """
    if file is not None:
        try:
            return SecretStr(read_key(where, file).decode().strip())
        except UnicodeDecodeError:
            raise ConfigError(f"{where}: {file} is not text in UTF-8") from None
    if env and env in os.environ:
        return SecretStr(os.environ[env])
    raise ConfigError(
        f"{where}: no {what}; set {what}_file, or {what}_env to a variable that is set"
    )
