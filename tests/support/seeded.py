"""Bytes and numbers that look random and are the same in every run."""

from __future__ import annotations

import hashlib
import random


def seeded_bytes(size: int, seed: object = 0) -> bytes:
    """Return bytes that no codec compresses; another seed gives others."""
    return random.Random(repr(seed)).randbytes(size)


def number_of(text: str, digits: int = 9) -> int:
    """Return a number that stands for a text, whatever PYTHONHASHSEED is."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % 10**digits
