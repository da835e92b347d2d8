"""The checker's own list of what code strings may hold (PS3.3)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path


@lru_cache(maxsize=1)
def _words() -> dict[int, frozenset[bytes]]:
    lines = Path(__file__).with_name("vocabulary.csv").read_bytes().splitlines()
    rows = (line.split(b";") for line in lines if not line.startswith(b"#"))
    return {int(tag, 16): frozenset(words) for tag, *words in rows}


def own_words(tag: int) -> frozenset[bytes]:
    """Return the terms that an attribute has of itself, whoever is called so."""
    return _words().get(tag, frozenset())
