"""Frames as a screen shows them (PS3.18 10.4.1.1.2): values, window, photometric, size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut, apply_windowing

from pacsgrid.gateway.pixels import Frames
from pacsgrid.gateway.transcode import CannotDecode

FORMATS = {"image/jpeg": ".jpg", "image/png": ".png"}
MOST_EDGE = 8192
_WINDOW = ("WindowCenter", "WindowWidth", "VOILUTFunction")
_RESCALE = ("RescaleSlope", "RescaleIntercept")


@dataclass(frozen=True)
class View:
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
    def parse(cls, params: Mapping[str, str], edge: int = 0) -> View:
        """Read the query parameters of PS3.18 8.3.5; raises ValueError naming a wrong one."""
        window, width, height, quality = None, edge, edge, 90
        if text := params.get("window"):
            parts = text.split(",")
            functions = {"linear": "LINEAR", "linear-exact": "LINEAR_EXACT", "sigmoid": "SIGMOID"}
            function = functions.get((parts[2:] or ["linear"])[0].lower())
            try:
                window = float(parts[0]), float(parts[1]), str(function)
            except (ValueError, IndexError):
                function = None
            if function is None or window is None or window[1] <= 0:
                raise ValueError("window is centre,width,function")
        if text := params.get("viewport"):
            sizes = text.split(",")
            if len(sizes) < 2 or not all(
                s.isdigit() and 0 < int(s) <= MOST_EDGE for s in sizes[:2]
            ):
                raise ValueError(f"viewport is width,height, up to {MOST_EDGE}")
            width, height = int(sizes[0]), int(sizes[1])
        if text := params.get("quality"):
            if not text.isdigit() or not 1 <= int(text) <= 100:
                raise ValueError("quality is 1 to 100")
            quality = int(text)
        return cls(window, width, height, quality)


def render(frames: Frames, number: int, view: View, media: str) -> bytes:
    """Return a frame as an image file of one of the FORMATS.

    Raises
    ------
    IndexError
        There is no such frame.
    CannotDecode
        It cannot be drawn.
    """
    pixels = frames.array(number)
    try:
        drawn = _drawn(pixels, _attributes(frames.header, number), view.window)
        drawn = _fitted(drawn, view)
        if drawn.ndim == 3:
            drawn = cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR)
        options = [cv2.IMWRITE_JPEG_QUALITY, view.quality] if media == "image/jpeg" else []
        done, data = cv2.imencode(FORMATS[media], drawn, options)
    except Exception as error:  # whatever a malformed header makes of it
        raise CannotDecode(f"frame {number} cannot be drawn: {type(error).__name__}") from None
    if not done:
        raise CannotDecode(f"frame {number} cannot be drawn")
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


def _fitted(drawn: np.ndarray[Any, Any], view: View) -> np.ndarray[Any, Any]:
    """Fit into the viewport, in proportion."""
    if not (view.width and view.height):
        return drawn
    rows, columns = drawn.shape[:2]
    scale = min(view.width / columns, view.height / rows)
    size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    fitted: np.ndarray[Any, Any] = cv2.resize(drawn, size, interpolation=way)
    return fitted
