"""Find mosaics that lost the private header which tells the order of their slices."""

from __future__ import annotations

import re

from ...errors import HeldError
from .reader import Items

_IMAGE_TYPE = 0x00080008
# What must stay of a mosaic: by creator, group and element, and bytes that the element must hold.
# Without the slice's normal, the slices of a mosaic come out in reverse, as in a mirror.
_NEEDED = (
    (b"MOSAIC", b"siemens csa header", 0x0029, 0x10, b"SliceNormalVector\0"),
    (b"VFRAME", b"image private header", 0x0065, 0x50, b""),
)


def check_mosaic(before: Items, after: Items) -> None:
    """Refuse a mosaic that lost what tells the order of its slices.

    Parameters
    ----------
    before, after
        The top level of source and result.

    Raises
    ------
    HeldError
        ``geometry-lost``.
    """
    image_type = before.get(_IMAGE_TYPE)
    words = image_type.value.split(b"\\") if image_type is not None else []
    for word, creator, group, low, needed in _NEEDED:
        if word not in [one.strip(b"\0 ") for one in words]:
            continue
        was, now = (_value(items, creator, group, low) for items in (before, after))
        if was is not None and needed in was and (now is None or needed not in now):
            raise HeldError(
                "geometry-lost",
                f"a mosaic lost what tells the order of its slices, because its private header "
                f"({group:04X},xx{low:02X}) cannot be read; correct it at its origin, or use a "
                "profile without the option `acquisition`",
            )


def _value(items: Items, creator: bytes, group: int, low: int) -> bytes | None:
    """Return the value of a private element with a value, by its creator."""
    for block in range(0x10, 0x100):
        name = items.get(group << 16 | block)
        if name is not None and re.sub(rb"[\s\0]+", b" ", name.value).strip().lower() == creator:
            element = items.get(group << 16 | block << 8 | low)
            return element.value or None if element is not None else None
    return None
