"""Passwords that clients obfuscate when they send new ones."""

from __future__ import annotations

import hashlib
import string

_WHEEL = string.digits + string.ascii_uppercase + string.ascii_lowercase + "!\"#$%&'()*+,-./"
_PADDING = "1gCBizHWbwIYyWLoysGzTe6SyzqFKMniZX05faZHWAwQKXf6Fs"


def _key_bytes(key: str) -> bytes:
    """Return the numbers by which the characters of a password are shifted."""
    first = hashlib.md5(key.ljust(100, "\0")[:100].encode()).digest()
    second = hashlib.md5(first).digest()
    third = hashlib.md5(first + second).digest()
    return first + second + third + third


def _unscramble(text: str, key: bytes, chained: bool) -> str:
    """Shift the characters back; chained ones were also shifted by the character before."""
    out, chain = [], 0
    for i, c in enumerate(text):
        at = _WHEEL.find(c)
        if at < 0:
            out.append(c)
            continue
        out.append(_WHEEL[(at - key[i % 61] - chain) % len(_WHEEL)])
        chain = ord(c) & 0xFF if chained else 0
    return "".join(out)


def _unpad(text: str) -> str:
    cut = text.find(_PADDING[:10])
    return text[:cut] if cut >= 0 else text


def deobfuscate(text: str, password: str, signature: str) -> str:
    """Return the new password that was obfuscated with a password and a session's signature.

    Parameters
    ----------
    text : str
        The obfuscated password.
    password : str
        The password of the user who sent it.
    signature : str
        The signature of the session.

    Returns
    -------
    str
        The new password; empty if it was obfuscated with another key.
    """
    key = (password[:90] + signature[:100]).ljust(100, "\0")
    plain = _unscramble(text, _key_bytes(hashlib.md5(key.encode()).hexdigest()), chained=True)
    return _unpad(plain[7:]) if plain[1:7] == ".ObfV2" else ""


def deobfuscate_padded(text: str, password: str) -> str:
    """Return the new password that was obfuscated and padded with a password, as ipasswd does.

    Parameters
    ----------
    text : str
        The obfuscated password.
    password : str
        The password of the user who sent it.

    Returns
    -------
    str
        The new password; empty if the padding is missing, because the key was another one.
    """
    plain = _unscramble(text, _key_bytes(password), chained=False)
    return _unpad(plain) if _PADDING[:10] in plain else ""


def deobfuscate_with_key(text: str, password: str) -> str:
    """Return the password of a new user that was obfuscated with the password of its maker.

    Parameters
    ----------
    text : str
        The obfuscated password.
    password : str
        The password of the user who sent it.

    Returns
    -------
    str
        The new password.
    """
    return _unpad(_unscramble(text, _key_bytes(password), chained=False))
