"""The vault: encrypts what identifies a study, so that only the site's key can read it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pacsgrid.errors import ConfigError

_NONCE = 12


class Vault:
    """Encrypts and decrypts small mappings with AES-256-GCM.

    Parameters
    ----------
    key
        The 32 bytes of the site's vault key file; they are never stored in the database.

    Raises
    ------
    ConfigError
        The key is not 32 bytes long.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != 32:
            raise ConfigError(f"vault_key_file must hold 32 bytes, it holds {len(key)}")
        self._cipher = AESGCM(key)

    def seal(self, ref: str, values: Mapping[str, str]) -> bytes:
        """Return `values` encrypted and bound to a reference.

        Parameters
        ----------
        ref
            The study's or the selection's reference, needed again to open it.
        values
            What identifies it.

        Returns
        -------
        bytes
            Nonce (12 bytes), ciphertext and tag.
        """
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher.encrypt(nonce, json.dumps(dict(values)).encode(), ref.encode())

    def open(self, ref: str, sealed: bytes) -> dict[str, str]:
        """Return what was sealed.

        Parameters
        ----------
        ref
            The reference that it was sealed with.
        sealed
            What `seal` returned.

        Raises
        ------
        ConfigError
            It was sealed with another key or reference.
        """
        try:
            plain = self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], ref.encode())
        except InvalidTag:
            raise ConfigError(
                f"{ref}: the vault key does not open this entry; restore the key it was sealed with"
            ) from None
        values: dict[str, str] = json.loads(plain)
        return values
