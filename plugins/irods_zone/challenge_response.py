"""Challenges of iRODS's native authentication, and the answers to them."""

from __future__ import annotations

import hashlib
import hmac
import secrets


def new_challenge() -> bytes:
    """Return a fresh challenge: 64 hexadecimal characters."""
    return secrets.token_hex(32).encode()


def response_digest(challenge: bytes, password: str) -> bytes:
    """Return the answer to a challenge.

    Parameters
    ----------
    challenge : bytes
        The server's challenge; 64 bytes of it count.
    password : str
        The user's password.

    Returns
    -------
    bytes
        16 bytes without NUL.
    """
    padded = password.encode().ljust(50, b"\0")
    return hashlib.md5(challenge[:64] + padded).digest().replace(b"\0", b"\1")


def partner_password(key: str, user: str, zone: str) -> str:
    """Return the password with which a partner's server authenticates one of its users.

    Parameters
    ----------
    key : str
        The key that both zones share.
    user, zone : str
        The user and the user's home zone.

    Returns
    -------
    str
        The password: 48 characters.
    """
    return hmac.new(key.encode(), f"{user}#{zone}".encode(), "sha256").hexdigest()[:48]
