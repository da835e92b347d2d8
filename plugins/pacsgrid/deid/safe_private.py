"""Private elements that the standard calls safe: Table E.3.10-1 of PS3.15."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

# Frame Pixel Data and Volume Pixel: images that are not searched for text as the instance's own
# pixels are. The table calls them safe, but only a profile that lists them keeps them.
_PIXELS = frozenset(
    {("Philips Imaging DD 001", 0x2001, 0x7D), ("Philips Imaging DD 001", 0x2001, 0xFF)}
)


@lru_cache(maxsize=1)
def table() -> frozenset[tuple[str, int, int]]:
    """Return Table E.3.10-1 as (creator, group, element within the block)."""
    found: set[tuple[str, int, int]] = set()
    for line in Path(__file__).with_name("safe_private.csv").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            creator, group, elements = line.split(";")
            found.update((creator, int(group, 16), int(low, 16)) for low in elements.split())
    return frozenset(found)


def same_creator(creator: str) -> str:
    """Return a private creator in the form to compare: devices differ in case and padding."""
    return " ".join(creator.strip("\0").split()).casefold()


def standard_list() -> frozenset[tuple[str, int, int]]:
    """Return what the option `private` keeps of the table: all but copies of pixels."""
    return table() - _PIXELS
