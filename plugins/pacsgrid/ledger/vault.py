"""The sealed vault: what identifies a study, readable only with the site's key."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pacsgrid.errors import ConfigError

_NONCE = 12


class Vault:
    """Seals and opens small mappings with AES-256-GCM.

    Parameters
    ----------
    key
        32 bytes from the site's vault key file; the database never sees them.

    Raises
    ------
    ConfigError
        The key does not have 32 bytes.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != 32:
            raise ConfigError(f"vault_key_file must hold 32 bytes, it holds {len(key)}")
        self._cipher = AESGCM(key)

    def seal(self, ref: str, values: Mapping[str, str]) -> bytes:
        """Return `values` encrypted and bound to the study's reference."""
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher.encrypt(nonce, json.dumps(dict(values)).encode(), ref.encode())

    def open(self, ref: str, sealed: bytes) -> dict[str, str]:
        """Return what was sealed; raises ConfigError when key or reference are not the same."""
        try:
            plain = self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], ref.encode())
        except InvalidTag:
            raise ConfigError(
                f"{ref}: the vault key does not open this entry; restore the key it was sealed with"
            ) from None
        values: dict[str, str] = json.loads(plain)
        return values
