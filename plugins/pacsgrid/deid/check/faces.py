"""Check that the pixels of a removed face became air, and that no others changed."""

from __future__ import annotations

from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import HeldError
from .frames import iter_frames

# Returns which pixels of a frame are removed: file, frame, rows, columns.
MaskOf = Callable[[Path, int, int, int], NDArray[np.bool_]]
_REPORT = "report it to pacsgrid's authors"


def check_frames(source: Path, result: Path, mask_of: MaskOf) -> None:
    """Refuse a file in which other pixels changed than those of the face.

    Parameters
    ----------
    source
        The file before anonymisation.
    result
        The file after it.
    mask_of
        Which pixels are removed.

    Raises
    ------
    HeldError
        ``pixels-changed``: a pixel outside the face differs from the source, or one inside is
        not air.
    """
    pairs = zip_longest(iter_frames(source), iter_frames(result))
    for number, (before, after) in enumerate(pairs):
        if before is None or after is None:
            raise HeldError("pixels-changed", f"the number of frames differs; {_REPORT}")
        mask = mask_of(source, number, *before.shape[:2])
        if before.shape != after.shape or not np.array_equal(before[~mask], after[~mask]):
            raise HeldError(
                "pixels-changed",
                f"frame {number + 1} differs from the source outside the face; {_REPORT}",
            )
        inside = after[mask]
        if inside.size and (inside != inside[0]).any():
            raise HeldError(
                "pixels-changed", f"frame {number + 1} still shows part of the face; {_REPORT}"
            )
