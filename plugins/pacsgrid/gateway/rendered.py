"""Frames as a screen shows them (PS3.18 10.4.1.1.2): values, window, photometric, size."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut, apply_windowing

from pacsgrid.gateway.frames import FrameReader
from pacsgrid.gateway.matching import number_of
from pacsgrid.gateway.transcode import UndecodableError

FORMATS = {"image/jpeg": ".jpg", "image/png": ".png"}
MOST_EDGE = 8192
_MOST_WINDOW = 1e12
# Pixels: of what is enlarged, of what is drawn in floating point, and that are looked up at once.
_MOST_ENLARGED, _MOST_PLAIN, _STRIP = 16 << 20, 8 << 20, 1 << 20
_WINDOW = ("WindowCenter", "WindowWidth", "VOILUTFunction")
_RESCALE = ("RescaleSlope", "RescaleIntercept")


@dataclass(frozen=True)
class RenderOptions:
    """How a frame is to be shown.

    Attributes
    ----------
    window
        Centre, width and VOI LUT function; None for what the instance says.
    width, height
        The size to fit into, in pixels; 0 for the image's own.
    quality
        Of JPEG, 1 to 100.
    """

    window: tuple[float, float, str] | None = None
    width: int = 0
    height: int = 0
    quality: int = 90

    @classmethod
    def parse(cls, params: Mapping[str, str], edge: int = 0) -> RenderOptions:
        """Read the query parameters of PS3.18 8.3.5; raises ValueError naming a wrong one."""
        window, width, height, quality = None, edge, edge, 90
        if text := params.get("window"):
            parts = text.split(",")
            functions = {"linear": "LINEAR", "linear-exact": "LINEAR_EXACT", "sigmoid": "SIGMOID"}
            function = functions.get((parts[2:] or ["linear"])[0].lower())
            ends = [number_of(one) for one in parts[:2]]
            centre, span = ends if len(ends) == 2 else (None, None)
            if (
                function is None
                or len(parts) > 3
                or centre is None
                or span is None
                or not (1 if function == "LINEAR" else 1e-6) <= span <= _MOST_WINDOW
                or abs(centre) > _MOST_WINDOW
            ):
                raise ValueError("window is centre,width,function")
            window = centre, span, function
        if text := params.get("viewport"):
            sizes = text.split(",")
            if len(sizes) < 2 or not all(0 < _number(one) <= MOST_EDGE for one in sizes[:2]):
                raise ValueError(f"viewport is width,height, up to {MOST_EDGE}")
            width, height = int(sizes[0]), int(sizes[1])
        if text := params.get("quality"):
            quality = _number(text)
            if not 1 <= quality <= 100:
                raise ValueError("quality is 1 to 100")
        return cls(window, width, height, quality)


def _number(text: str) -> int:
    """Return a number written in ASCII digits; 0 for what is none."""
    return int(text) if re.fullmatch("[0-9]{1,9}", text) else 0


def render(frames: FrameReader, number: int, view: RenderOptions, media: str) -> bytes:
    """Return a frame as an image file of one of the FORMATS.

    Raises
    ------
    IndexError
        There is no such frame.
    CannotDecode
        It cannot be drawn.
    """
    with frames.room():
        return _rendered(frames, number, view, media)


def _rendered(frames: FrameReader, number: int, view: RenderOptions, media: str) -> bytes:
    pixels = frames.array(number)
    try:
        drawn = _by_value(pixels, _attributes(frames.header, number), view.window)
        del pixels
        if drawn.ndim == 3:
            drawn = cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR)
        drawn = _fitted(drawn, view)
        options = [cv2.IMWRITE_JPEG_QUALITY, view.quality] if media == "image/jpeg" else []
        done, data = cv2.imencode(FORMATS[media], drawn, options)
    except UndecodableError:
        raise
    except Exception as error:  # whatever a malformed header makes of it
        raise UndecodableError(f"frame {number} cannot be drawn: {type(error).__name__}") from None
    if not done:
        raise UndecodableError(f"frame {number} cannot be drawn")
    return bytes(data.tobytes())


def _attributes(header: Dataset, number: int) -> Dataset:
    """Return the header with a frame's functional groups (PS3.3 C.7.6.16) put in."""
    told = Dataset()
    told.update(header)
    groups: list[Dataset] = []
    groups += list(header.get("SharedFunctionalGroupsSequence") or [])[:1]
    groups += list(header.get("PerFrameFunctionalGroupsSequence") or [])[number - 1 : number]
    for group in groups:
        for sequence, words in (
            ("FrameVOILUTSequence", _WINDOW),
            ("PixelValueTransformationSequence", _RESCALE),
        ):
            for item in list(group.get(sequence) or [])[:1]:
                for word in words:
                    if word in item:
                        told[word] = item[word]
    return told


def _by_value(
    pixels: np.ndarray[Any, Any], header: Dataset, window: tuple[float, float, str] | None
) -> np.ndarray[Any, Any]:
    """Draw; grey images of up to 16 bits by a table of the values that occur.

    What is shown of a pixel follows from its value and from the values that occur, so that the
    arithmetic in floating point needs no memory for each pixel.
    """
    if pixels.ndim != 2 or pixels.dtype.kind not in "iu" or pixels.dtype.itemsize > 2:
        if pixels.ndim == 2 and pixels.size > _MOST_PLAIN:
            raise UndecodableError("the frame is too large to be drawn; ask for it as stored")
        return _drawn(pixels, header, window)
    if header.get("PhotometricInterpretation") == "PALETTE COLOR":
        return _drawn(pixels, header, window)
    plain = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("="))
    places = plain.view(np.dtype(f"u{plain.dtype.itemsize}")).reshape(-1)
    occurs = np.zeros(1 << 8 * plain.dtype.itemsize, bool)
    for start in range(0, places.size, _STRIP):
        occurs[places[start : start + _STRIP]] = True
    values = np.flatnonzero(occurs).astype(places.dtype)
    shown = _drawn(values.view(plain.dtype).reshape(1, -1), header, window)
    table = np.zeros(occurs.size, np.uint8)
    table[values] = shown.reshape(-1)
    drawn = np.empty(places.size, np.uint8)
    for start in range(0, places.size, _STRIP):
        drawn[start : start + _STRIP] = table[places[start : start + _STRIP]]
    return drawn.reshape(plain.shape)


def _drawn(
    pixels: np.ndarray[Any, Any], header: Dataset, window: tuple[float, float, str] | None
) -> np.ndarray[Any, Any]:
    if header.get("PhotometricInterpretation") == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, header)
        return (pixels >> 8).astype(np.uint8) if pixels.dtype != np.uint8 else pixels
    if pixels.ndim == 3:
        return pixels if pixels.dtype == np.uint8 else _stretched(pixels)
    values = apply_modality_lut(pixels, header)
    if window:
        header.WindowCenter, header.WindowWidth = [window[0]], [window[1]]
        header.VOILUTFunction = window[2]
        shown = apply_windowing(values, header)
    elif "VOILUTSequence" in header or "WindowWidth" in header:
        shown = apply_voi_lut(values, header)
    else:
        shown = values
    grey = _scaled(shown, header) if window or "WindowWidth" in header else _stretched(shown)
    return 255 - grey if header.get("PhotometricInterpretation") == "MONOCHROME1" else grey


def _scaled(shown: np.ndarray[Any, Any], header: Dataset) -> np.ndarray[Any, Any]:
    """Bring what windowing gave, which spans the range of the stored values, to 0..255."""
    low, high = _range(header)
    if shown.size and (shown.min() < low or shown.max() > high):
        return _stretched(shown)
    scaled: np.ndarray[Any, Any] = (shown.astype(np.float64) - low) / max(high - low, 1e-9) * 255
    clipped: np.ndarray[Any, Any] = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    return clipped


def _range(header: Dataset) -> tuple[float, float]:
    bits = int(header.BitsStored)
    low, high = (
        (-(1 << bits - 1), (1 << bits - 1) - 1)
        if header.PixelRepresentation
        else (0, (1 << bits) - 1)
    )
    slope = float(header.get("RescaleSlope") or 1)
    shift = float(header.get("RescaleIntercept") or 0)
    return low * slope + shift, high * slope + shift


def _stretched(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Bring values to 0..255, from the smallest to the largest."""
    plain = np.nan_to_num(values.astype(np.float64))
    low, high = float(plain.min()), float(plain.max())
    stretched: np.ndarray[Any, Any] = (plain - low) / max(high - low, 1e-9) * 255
    return stretched.astype(np.uint8)


def _fitted(drawn: np.ndarray[Any, Any], view: RenderOptions) -> np.ndarray[Any, Any]:
    """Fit into the viewport, in proportion."""
    if not (view.width and view.height):
        return drawn
    rows, columns = drawn.shape[:2]
    scale = min(view.width / columns, view.height / rows)
    if scale > 1:
        scale = max(1.0, min(scale, math.sqrt(_MOST_ENLARGED / (rows * columns))))
    size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    fitted: np.ndarray[Any, Any] = cv2.resize(drawn, size, interpolation=way)
    return fitted
