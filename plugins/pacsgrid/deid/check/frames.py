"""Read frames, including those of one bit a pixel, which are not byte-aligned (PS3.5 8.1.1)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.pixels import iter_pixels, pixel_array

from .reader import Header, as_part10, read_header


def iter_frames(path: Path) -> Iterator[NDArray[Any]]:
    """Yield a file's decoded frames, as rows by columns (by samples)."""
    header = read_header(path)
    if header.number(0x00280100) != 1 or header.pixel_length is None:
        yield from iter_pixels(as_part10(path, header))
        return
    for number in range(_count(header)):
        yield _frame(path, header, number)


def read_frame(path: Path, number: int) -> NDArray[Any]:
    """Return one decoded frame, as rows by columns (by samples).

    Parameters
    ----------
    path
        The file.
    number
        The frame's number, from 0.
    """
    header = read_header(path)
    if header.number(0x00280100) != 1 or header.pixel_length is None:
        return np.asarray(pixel_array(as_part10(path, header), index=number))
    return _frame(path, header, number)


def _count(header: Header) -> int:
    element = header.elements.get(0x00280008)
    return int(element.value.strip(b"\0 ") or b"1") if element is not None else 1


def _frame(path: Path, header: Header, number: int) -> NDArray[Any]:
    rows, columns = header.number(0x00280010), header.number(0x00280011)
    first, end = number * rows * columns, (number + 1) * rows * columns
    with open(path, "rb") as stream:
        stream.seek(header.pixel_value + first // 8)
        data = stream.read(-(-end // 8) - first // 8)
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
    return bits[first % 8 :][: rows * columns].reshape(rows, columns)
