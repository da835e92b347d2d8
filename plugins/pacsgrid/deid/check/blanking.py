"""Pixels that were cleaned: the same image, but for parts that are of one value now."""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ...errors import HeldError
from .frames import iter_frames
from .reader import Header

_BURNED_IN = 0x00280301
_PALETTE = b"PALETTE COLOR"


def declares_cleaned(made: Header) -> bool:
    """Tell whether the header promises that no text is burned in (PS3.3 C.7.6.1)."""
    element = made.elements.get(_BURNED_IN)
    return element is not None and element.value.strip(b"\0 ") == b"NO"


def hides_overlay(source: Header) -> bool:
    """Tell whether an overlay stands in unused bits of the pixels, which must not stay there."""
    return any(
        (group << 16 | 0x0010) in source.elements and (group << 16 | 0x3000) not in source.elements
        for group in range(0x6000, 0x6020, 2)
    )


def _black(value: Any, before: NDArray[Any]) -> bool:
    """Tell whether a pixel's value is black: an end of the frame's own range, or no colour."""
    if before.ndim == 2:
        return bool(value in (before.min(), before.max()))
    return list(value) == [0, 0, 0]


def check_blanked(source: Path, result: Path, made: Header) -> None:
    """Refuse an image that differs from its source in anything but blanked parts.

    Raises
    ------
    HeldError
        ``pixels-changed``: frames or their shape differ, what changed is not blank, or either
        file cannot be decoded.
    """
    photometric = made.elements.get(0x00280004)
    palette = photometric is not None and photometric.value.startswith(_PALETTE)
    try:
        pairs = zip_longest(iter_frames(source), iter_frames(result))
        for number, (before, after) in enumerate(pairs, 1):
            if before is None or after is None or before.shape != after.shape:
                raise HeldError("pixels-changed", f"frame {number} is missing or of another size")
            changed = before != after
            if changed.ndim == 3:
                changed = changed.any(axis=2)
            values = after[changed]
            if not values.size:
                continue
            if (values != values[0]).any() or not (palette or _black(values[0], before)):
                raise HeldError(
                    "pixels-changed", f"frame {number} differs in more than blanked parts"
                )
    except (HeldError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a decoder in Rust panics with one that is no Exception
        raise HeldError(
            "pixels-changed", f"the cleaned pixels cannot be compared ({type(error).__name__})"
        ) from None
