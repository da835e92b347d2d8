"""Clean overlay planes (PS3.3 C.9.2) of text, and clear those in unused pixel bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from ...errors import HeldError
from .text_detection import find_text

_GROUPS = range(0x6000, 0x6020, 2)
_ROWS, _COLUMNS, _FRAMES, _BIT, _DATA = 0x0010, 0x0011, 0x0015, 0x0102, 0x3000
# Rows, columns, frames, type, origin, first frame, bits allocated, bit position. Label,
# description and comments are dropped, and so are the ROI's statistics, which may no longer hold.
_KEPT = (_ROWS, _COLUMNS, _FRAMES, 0x0040, 0x0050, 0x0051, 0x0100, _BIT)


def has_overlays(ds: Dataset) -> bool:
    """Return whether a header has an overlay plane, with data of its own or in the pixels."""
    return any(ds.get(_tag(group, _ROWS)) is not None for group in _GROUPS)


def hidden_in_pixels(ds: Dataset) -> bool:
    """Return whether an overlay is stored in pixel bits that the image leaves unused (retired)."""
    return any(
        ds.get(_tag(group, _ROWS)) is not None and ds.get(_tag(group, _DATA)) is None
        for group in _GROUPS
    )


def cleaned_overlays(ds: Dataset) -> list[DataElement]:
    """Return the elements of the overlay planes that have data, with text blanked.

    Raises
    ------
    HeldError
        ``overlay-unreadable``: the data of a plane does not match its size.
    """
    kept: list[DataElement] = []
    for group in _GROUPS:
        if _tag(group, _DATA) not in ds:
            continue
        try:
            rows, columns = (int(ds[_tag(group, low)].value) for low in (_ROWS, _COLUMNS))
            frames = int(ds[_tag(group, _FRAMES)].value) if _tag(group, _FRAMES) in ds else 1
            size = frames * rows * columns
            bits = np.unpackbits(
                np.frombuffer(ds[_tag(group, _DATA)].value, np.uint8), bitorder="little"
            )
            planes = bits[:size].reshape(frames, rows, columns).copy()
        except (KeyError, TypeError, ValueError):
            raise HeldError(
                "overlay-unreadable",
                f"the data of overlay ({group:04X},3000) does not match its rows, columns and "
                "frames; correct it at its origin",
            ) from None
        for plane in planes:
            for box in find_text(plane * np.uint8(255)):
                plane[box.top : box.bottom, box.left : box.right] = 0
        data = np.packbits(planes.reshape(-1), bitorder="little").tobytes()
        kept += (ds[_tag(group, low)] for low in _KEPT if _tag(group, low) in ds)
        kept.append(DataElement(_tag(group, _DATA), "OW", data + b"\0" * (len(data) % 2)))
    return kept


def clear_unused_bits(values: NDArray[Any], ds: Dataset) -> None:
    """Clear the bits outside BitsStored (0028,0101), in place.

    In signed images the bits above become copies of the sign, as readers expect.

    Parameters
    ----------
    values
        The stored values, of any shape.
    ds
        The image's header.
    """
    above = values.dtype.itemsize * 8 - 1 - int(ds.HighBit)
    below = int(ds.HighBit) + 1 - int(ds.BitsStored)
    values <<= above
    values >>= above + below
    values <<= below


def _tag(group: int, low: int) -> int:
    return group << 16 | low
