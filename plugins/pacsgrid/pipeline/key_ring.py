"""Seal a site's keys in one file with a passphrase: the part of a backup that is kept apart."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from pacsgrid.errors import ConfigError

_KIND = "pacsgrid keys 1"
# Parameters of scrypt (RFC 7914): 128 MiB of memory and about half a second.
_COST = {"n": 1 << 17, "r": 8, "p": 1}
_SHORTEST = 12


def fingerprint(key: bytes) -> str:
    """Return a text that tells keys apart and reveals nothing of them."""
    return hmac.new(key, b"pacsgrid backup: which key", hashlib.sha256).hexdigest()[:32]


def seal(keys: Mapping[str, bytes], passphrase: bytes) -> bytes:
    """Seal keys with AES-256-GCM, under a key that scrypt derives from the passphrase.

    Parameters
    ----------
    keys
        The keys by name.
    passphrase
        At least 12 bytes.

    Returns
    -------
    bytes
        The content of the sealed file.

    Raises
    ------
    ConfigError
        The passphrase is too short.
    """
    if len(passphrase) < _SHORTEST:
        raise ConfigError(f"the passphrase must have {_SHORTEST} characters or more")
    salt, nonce = os.urandom(16), os.urandom(12)
    plain = json.dumps({name: _text(key) for name, key in keys.items()}).encode()
    sealed = _cipher(passphrase, salt).encrypt(nonce, plain, _KIND.encode())
    return json.dumps(
        {"kind": _KIND, "salt": _text(salt), "nonce": _text(nonce), "sealed": _text(sealed)},
        indent=1,
    ).encode()


def unseal(where: Path, content: bytes, passphrase: bytes) -> dict[str, bytes]:
    """Open what `seal` returned.

    Parameters
    ----------
    where
        The file's path, for messages.
    content
        The file's content.
    passphrase
        What it was sealed with.

    Returns
    -------
    dict
        The keys by name.

    Raises
    ------
    ConfigError
        The passphrase is another one, or the file is damaged or no sealed keys.
    """
    try:
        given = json.loads(content)
        if given["kind"] != _KIND:
            raise ValueError
        salt, nonce, sealed = (base64.b64decode(given[k]) for k in ("salt", "nonce", "sealed"))
        plain = _cipher(passphrase, salt).decrypt(nonce, sealed, _KIND.encode())
        return {name: base64.b64decode(key) for name, key in json.loads(plain).items()}
    except InvalidTag:
        raise ConfigError(f"{where}: the passphrase does not open it, or it is damaged") from None
    except (ValueError, KeyError, TypeError):
        raise ConfigError(
            f"{where}: not a file of sealed keys; name the one that was written with the backup"
        ) from None


def _cipher(passphrase: bytes, salt: bytes) -> AESGCM:
    return AESGCM(Scrypt(salt=salt, length=32, **_COST).derive(passphrase))


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()
