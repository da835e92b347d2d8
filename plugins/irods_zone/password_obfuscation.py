"""Undoing iRODS's obfuscation of new passwords on the wire."""

from __future__ import annotations

import hashlib
import string

_WHEEL = string.digits + string.ascii_uppercase + string.ascii_lowercase + "!\"#$%&'()*+,-./"
_PADDING = "1gCBizHWbwIYyWLoysGzTe6SyzqFKMniZX05faZHWAwQKXf6Fs"


def _key_bytes(key: str) -> bytes:
    first = hashlib.md5(key.ljust(100, "\0")[:100].encode()).digest()
    second = hashlib.md5(first).digest()
    third = hashlib.md5(first + second).digest()
    return first + second + third + third


def _unscramble(text: str, ring: bytes, chained: bool) -> str:
    out, chain = [], 0
    for i, c in enumerate(text):
        at = _WHEEL.find(c)
        if at < 0:
            out.append(c)
            continue
        out.append(_WHEEL[(at - ring[i % 61] - chain) % len(_WHEEL)])
        chain = ord(c) & 0xFF if chained else 0
    return "".join(out)


def _unpad(text: str) -> str:
    cut = text.find(_PADDING[:10])
    return text[:cut] if cut >= 0 else text


def deobfuscate(text: str, password: str, signature: str) -> str:
    """The new password inside an obfuscated one; empty if it was made with another key."""
    key = (password[:90] + signature[:100]).ljust(100, "\0")
    plain = _unscramble(text, _key_bytes(hashlib.md5(key.encode()).hexdigest()), chained=True)
    return _unpad(plain[7:]) if plain[1:7] == ".ObfV2" else ""


def deobfuscate_padded(text: str, password: str) -> str:
    """The new password inside one that was obfuscated with the old one alone, as ipasswd does.

    Empty if the padding behind it is missing: it was made with another key.
    """
    plain = _unscramble(text, _key_bytes(password), chained=False)
    return _unpad(plain) if _PADDING[:10] in plain else ""


def deobfuscate_with_key(text: str, password: str) -> str:
    """The password of a new user, obfuscated with its maker's own password alone."""
    return _unpad(_unscramble(text, _key_bytes(password), chained=False))
