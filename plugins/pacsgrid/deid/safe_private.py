"""Table E.3.10-1 of PS3.15: the private elements that the standard calls safe."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path


@lru_cache(maxsize=1)
def standard_list() -> frozenset[tuple[str, int, int]]:
    """Return Table E.3.10-1 as (creator, group, element within the block)."""
    found: set[tuple[str, int, int]] = set()
    for line in Path(__file__).with_name("safe_private.csv").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            creator, group, elements = line.split(";")
            found.update((creator, int(group, 16), int(low, 16)) for low in elements.split())
    return frozenset(found)
