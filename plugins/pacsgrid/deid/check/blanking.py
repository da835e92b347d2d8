"""Check cleaned pixels: a result may differ from its source only in blanked areas."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ...errors import HeldError
from ...review_model import BlankRegion
from .frames import iter_frames
from .reader import Header

_BURNED_IN = 0x00280301
_PALETTE = b"PALETTE COLOR"


def declares_cleaned(made: Header) -> bool:
    """Return whether the header says that no text is burned in (PS3.3 C.7.6.1)."""
    element = made.elements.get(_BURNED_IN)
    return element is not None and element.value.strip(b"\0 ") == b"NO"


def hides_overlay(source: Header) -> bool:
    """Return whether an overlay is stored in unused pixel bits, which must be cleared."""
    return any(
        (group << 16 | 0x0010) in source.elements and (group << 16 | 0x3000) not in source.elements
        for group in range(0x6000, 0x6020, 2)
    )


def _black(value: NDArray[Any], before: NDArray[Any]) -> bool:
    """Return whether a pixel's value is an end of the frame's range, or black in colour."""
    if before.ndim == 2:
        return bool(value in (before.min(), before.max()))
    return list(value) == [0, 0, 0]


def check_blanked(
    source: Path, result: Path, made: Header, regions: Sequence[BlankRegion] = ()
) -> None:
    """Refuse an image that differs from its source outside blanked areas.

    What a steward had blanked must be blank in the decoded result, whatever was there before.

    Parameters
    ----------
    source
        The file before anonymisation.
    result
        The file after it.
    made
        The header of `result`.
    regions
        What a steward had blanked.

    Raises
    ------
    HeldError
        ``pixels-changed``: the number of frames or their shape differs, a changed area or a
        steward's region is not blank, or one of the files cannot be decoded.
    """
    photometric = made.elements.get(0x00280004)
    palette = photometric is not None and photometric.value.startswith(_PALETTE)
    try:
        pairs = zip_longest(iter_frames(source), iter_frames(result))
        for number, (before, after) in enumerate(pairs, 1):
            if before is None or after is None or before.shape != after.shape:
                raise HeldError(
                    "pixels-changed",
                    f"frame {number} is missing from one of the files, or has another size there; "
                    "report it to pacsgrid's authors",
                )
            for region in regions:
                if region.frame in (None, number - 1):
                    _check_region(region, before, after, palette, number)
            changed = before != after
            if changed.ndim == 3:
                changed = changed.any(axis=2)
            values = after[changed]
            if not values.size:
                continue
            if (values != values[0]).any() or not (palette or _black(values[0], before)):
                raise HeldError(
                    "pixels-changed",
                    f"frame {number} differs from the source outside the blanked areas; "
                    "report it to pacsgrid's authors",
                )
    except (HeldError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic in a Rust decoder is not an Exception
        raise HeldError(
            "pixels-changed",
            f"the cleaned pixels cannot be decoded for comparison ({type(error).__name__}); "
            "check that a viewer opens the source, or report it to pacsgrid's authors",
        ) from None


def _check_region(
    region: BlankRegion, before: NDArray[Any], after: NDArray[Any], palette: bool, number: int
) -> None:
    """Refuse a frame in which a region holds more than one value, or one that is not blank."""
    part = after[region.top : region.bottom, region.left : region.right]
    if not part.size:
        return
    first = part[0, 0]
    if (part != first).any() or not (palette or _black(first, before)):
        raise HeldError(
            "pixels-changed",
            f"frame {number} still shows something in a region that a steward blanked; "
            "report it to pacsgrid's authors",
        )
