"""Blank boxes of frames in place; every other bit stays unchanged."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut

from .boxes import Box
from .frame_source import Frames, unreadable
from .overlays import clear_unused_bits


def blank_values(values: NDArray[Any], boxes: list[Box], photometric: str, ds: Dataset) -> None:
    """Blank boxes of one decoded frame, in place.

    Grey becomes the darkest shade in the frame, so that no new value appears (PS3.3 C.7.6.3.1.2:
    in MONOCHROME1 the highest value is the darkest). Colour becomes black. Indices of a palette
    become that of its darkest entry.

    Parameters
    ----------
    values
        The stored values, rows by columns or rows by columns by 3.
    boxes
        What to blank, in pixels of the frame.
    photometric
        The photometric interpretation of `values`.
    ds
        The image's header.
    """
    black: Any
    if values.ndim == 3:
        black = np.zeros(3, values.dtype)
        if photometric.startswith("YBR_FULL"):
            black[1:] = 1 << (int(ds.BitsStored) - 1)
    elif photometric == "PALETTE COLOR":
        black = _darkest_entry(ds, values)
    else:
        black = values.max() if photometric == "MONOCHROME1" else values.min()
    for box in boxes:
        values[box.top : box.bottom, box.left : box.right] = black


def blank_native(data: bytearray, boxes: list[Box], frames: Frames, unused: bool = False) -> None:
    """Blank boxes of one uncompressed frame, in place.

    Parameters
    ----------
    data
        The frame's bytes as the file has them.
    boxes
        What to blank, in pixels of the frame.
    frames
        The image that the frame belongs to.
    unused
        Whether to clear the bits outside BitsStored (0028,0101) too.

    Raises
    ------
    HeldError
        ``pixels-unreadable``: the layout of the frame is not supported.
    """
    if frames.bits % 8:
        raise unreadable(f"{frames.bits} bits per sample cannot be blanked", frames.syntax)
    little = frames.syntax.is_little_endian
    swapped = not little and frames.bits == 8 and frames.span.vr == "OW"
    raw = np.frombuffer(data, np.uint8)
    if swapped:
        if len(data) % 2:
            raise unreadable("big-endian frames of odd length cannot be blanked", frames.syntax)
        raw = raw.reshape(-1, 2)[:, ::-1].reshape(-1)
    if frames.subsampled:
        _blank_subsampled(raw.reshape(frames.rows, frames.columns // 2, 4), boxes)
    else:
        values = raw.view(_type(frames, little))
        if unused:
            clear_unused_bits(values, frames.ds)
        if frames.samples == 1:
            shaped: NDArray[Any] = values.reshape(frames.rows, frames.columns)
        elif frames.planar:
            shaped = values.reshape(3, frames.rows, frames.columns).transpose(1, 2, 0)
        else:
            shaped = values.reshape(frames.rows, frames.columns, 3)
        blank_values(shaped, boxes, frames.photometric, frames.ds)
    if swapped:
        data[:] = raw.reshape(-1, 2)[:, ::-1].tobytes()


def blank_bits(value: bytes, boxes: list[list[Box]], frames: Frames) -> bytes:
    """Return frames of one bit a pixel (PS3.5 8.1.1) with boxes blanked.

    The bits after the last frame become zero.

    Parameters
    ----------
    value
        The value of the pixel data element.
    boxes
        What to blank in each frame, in pixels.
    frames
        The image.
    """
    size = frames.rows * frames.columns
    data = np.frombuffer(value, np.uint8).copy()
    for number, here in enumerate(boxes):
        if not here:
            continue
        first, end = number * size, (number + 1) * size
        part = data[first // 8 : -(-end // 8)]
        bits = np.unpackbits(part, bitorder="little")
        shaped = bits[first % 8 :][:size].reshape(frames.rows, frames.columns)
        for box in here:
            shaped[box.top : box.bottom, box.left : box.right] = 0
        part[:] = np.packbits(bits, bitorder="little")
    pixels = size * len(boxes)
    if pixels % 8:
        data[pixels // 8] &= (1 << pixels % 8) - 1
    data[-(-pixels // 8) :] = 0
    return data.tobytes()


def _type(frames: Frames, little: bool) -> np.dtype[Any]:
    if frames.span.tag != 0x7FE00010:
        kind = "f"
    else:
        kind = "i" if frames.ds.get("PixelRepresentation") else "u"
    return np.dtype(f"{'<' if little else '>'}{kind}{frames.bits // 8}")


def _blank_subsampled(pairs: NDArray[np.uint8], boxes: list[Box]) -> None:
    for box in boxes:
        # Two pixels share their colour, so both are blanked.
        pairs[box.top : box.bottom, box.left // 2 : -(-box.right // 2)] = (0, 0, 128, 128)


def _darkest_entry(ds: Dataset, values: NDArray[Any]) -> int:
    entries, first = (int(v) for v in ds.RedPaletteColorLookupTableDescriptor[:2])
    last = min(first + (entries or 65536), int(np.iinfo(values.dtype).max) + 1)
    ramp = np.arange(first, last, dtype=values.dtype).reshape(1, -1)
    colours = apply_color_lut(ramp, ds).astype(np.int64).sum(axis=2)
    return first + int(np.argmin(colours))
