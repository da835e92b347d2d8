"""Render frames as JPEG or PNG images (PS3.18 10.4.1.1.3).

The stored values pass the modality LUT, the VOI LUT or window, and the photometric
interpretation; then the image is scaled to the viewport (PS3.18 8.3.5).
"""

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
# Pixels of an enlarged image.
_MOST_ENLARGED = 16 << 20
# Pixels of a frame that is rendered in floating point, without a lookup table.
_MOST_FLOATING = 8 << 20
# Pixels to look up in the table at once.
_STRIP = 1 << 20
_WINDOW = ("WindowCenter", "WindowWidth", "VOILUTFunction")
_RESCALE = ("RescaleSlope", "RescaleIntercept")


@dataclass(frozen=True)
class RenderOptions:
    """How to render a frame.

    Attributes
    ----------
    window
        Window Centre, Window Width and VOI LUT Function; None for those of the instance.
    width, height
        The viewport that the image is scaled to, in pixels; 0 for the image's own size.
    quality
        Quality of a JPEG, 1 to 100.
    """

    window: tuple[float, float, str] | None = None
    width: int = 0
    height: int = 0
    quality: int = 90

    @classmethod
    def parse(cls, params: Mapping[str, str], edge: int = 0) -> RenderOptions:
        """Read the query parameters of a request for rendered resources (PS3.18 8.3.5).

        Parameters
        ----------
        params
            The query parameters: ``window``, ``viewport`` and ``quality``; others are ignored.
        edge
            Width and height, in pixels, of the viewport if the request names none; 0 for the
            image's own size.

        Returns
        -------
        RenderOptions
            The options.

        Raises
        ------
        ValueError
            A parameter is invalid; the message names it.
        """
        window, width, height, quality = None, edge, edge, 90
        if text := params.get("window"):
            parts = text.split(",")
            functions = {"linear": "LINEAR", "linear-exact": "LINEAR_EXACT", "sigmoid": "SIGMOID"}
            function = functions.get((parts[2:] or ["linear"])[0].lower())
            ends = [number_of(part) for part in parts[:2]]
            centre, span = ends if len(ends) == 2 else (None, None)
            if (
                function is None
                or len(parts) > 3
                or centre is None
                or span is None
                or not (1 if function == "LINEAR" else 1e-6) <= span <= _MOST_WINDOW
                or abs(centre) > _MOST_WINDOW
            ):
                raise ValueError(
                    "window must be centre,width,function; the function is linear, linear-exact or"
                    " sigmoid"
                )
            window = centre, span, function
        if text := params.get("viewport"):
            sizes = text.split(",")
            if len(sizes) < 2 or not all(0 < _number(one) <= MOST_EDGE for one in sizes[:2]):
                raise ValueError(
                    f"viewport must be width,height, each from 1 to {MOST_EDGE} pixels"
                )
            width, height = int(sizes[0]), int(sizes[1])
        if text := params.get("quality"):
            quality = _number(text)
            if not 1 <= quality <= 100:
                raise ValueError("quality must be a number from 1 to 100")
        return cls(window, width, height, quality)


def _number(text: str) -> int:
    """Return a number of up to nine ASCII digits; 0 for any other text."""
    return int(text) if re.fullmatch("[0-9]{1,9}", text) else 0


def render(frames: FrameReader, number: int, options: RenderOptions, media: str) -> bytes:
    """Return a frame as an image file.

    Parameters
    ----------
    frames
        The instance's frames.
    number
        Number of the frame, from 1.
    options
        How to render it.
    media
        Media type of the image: a key of `FORMATS`.

    Returns
    -------
    bytes
        The image file, with 8 bits for each sample.

    Raises
    ------
    IndexError
        The instance has no such frame.
    UndecodableError
        The frame cannot be decoded or rendered.
    """
    with frames.decoding_memory():
        return _render(frames, number, options, media)


def _render(frames: FrameReader, number: int, options: RenderOptions, media: str) -> bytes:
    pixels = frames.array(number)
    try:
        image = _display_values(pixels, _frame_header(frames.header, number), options.window)
        del pixels
        if image.ndim == 3:
            image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        image = _scale_to_viewport(image, options)
        settings = [cv2.IMWRITE_JPEG_QUALITY, options.quality] if media == "image/jpeg" else []
        done, data = cv2.imencode(FORMATS[media], image, settings)
    except UndecodableError:
        raise
    except Exception as error:  # a malformed header can raise nearly anything
        raise UndecodableError(
            f"frame {number} cannot be rendered: {type(error).__name__}"
        ) from None
    if not done:
        raise UndecodableError(f"frame {number} cannot be rendered")
    return bytes(data.tobytes())


def _frame_header(header: Dataset, number: int) -> Dataset:
    """Return the header with the window and rescale of a frame's functional groups.

    The groups are those of PS3.3 C.7.6.16: the shared ones, and then the frame's own.
    """
    merged = Dataset()
    merged.update(header)
    groups: list[Dataset] = []
    groups += list(header.get("SharedFunctionalGroupsSequence") or [])[:1]
    groups += list(header.get("PerFrameFunctionalGroupsSequence") or [])[number - 1 : number]
    for group in groups:
        for sequence, keywords in (
            ("FrameVOILUTSequence", _WINDOW),
            ("PixelValueTransformationSequence", _RESCALE),
        ):
            for item in list(group.get(sequence) or [])[:1]:
                for keyword in keywords:
                    if keyword in item:
                        merged[keyword] = item[keyword]
    return merged


def _display_values(
    pixels: np.ndarray[Any, Any], header: Dataset, window: tuple[float, float, str] | None
) -> np.ndarray[Any, Any]:
    """Return what to display, with 8 bits for each sample.

    The display value of a grey pixel depends only on its own value and on the set of all values in
    the frame. For grey frames of up to 16 bits, each value that occurs is therefore computed once
    and looked up for every pixel. This avoids floating-point copies of the whole frame.
    """
    if pixels.ndim != 2 or pixels.dtype.kind not in "iu" or pixels.dtype.itemsize > 2:
        if pixels.ndim == 2 and pixels.size > _MOST_FLOATING:
            raise UndecodableError(
                "the frame is too large to be rendered; request it in its stored transfer syntax"
            )
        return _apply_luts(pixels, header, window)
    if header.get("PhotometricInterpretation") == "PALETTE COLOR":
        return _apply_luts(pixels, header, window)
    native = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("="))
    # The bit patterns of the values, as unsigned numbers, are their places in the table.
    places = native.view(np.dtype(f"u{native.dtype.itemsize}")).reshape(-1)
    occurs = np.zeros(1 << 8 * native.dtype.itemsize, bool)
    for start in range(0, places.size, _STRIP):
        occurs[places[start : start + _STRIP]] = True
    values = np.flatnonzero(occurs).astype(places.dtype)
    displayed = _apply_luts(values.view(native.dtype).reshape(1, -1), header, window)
    table = np.zeros(occurs.size, np.uint8)
    table[values] = displayed.reshape(-1)
    image = np.empty(places.size, np.uint8)
    for start in range(0, places.size, _STRIP):
        image[start : start + _STRIP] = table[places[start : start + _STRIP]]
    return image.reshape(native.shape)


def _apply_luts(
    pixels: np.ndarray[Any, Any], header: Dataset, window: tuple[float, float, str] | None
) -> np.ndarray[Any, Any]:
    """Apply the palette, or modality LUT, window and photometric interpretation."""
    if header.get("PhotometricInterpretation") == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, header)
        return (pixels >> 8).astype(np.uint8) if pixels.dtype != np.uint8 else pixels
    if pixels.ndim == 3:
        return pixels if pixels.dtype == np.uint8 else _stretched(pixels)
    values = apply_modality_lut(pixels, header)
    if window:
        header.WindowCenter, header.WindowWidth = [window[0]], [window[1]]
        header.VOILUTFunction = window[2]
        windowed = apply_windowing(values, header)
    elif "VOILUTSequence" in header or "WindowWidth" in header:
        windowed = apply_voi_lut(values, header)
    else:
        windowed = values
    has_window = window or "WindowWidth" in header
    grey = _scaled(windowed, header) if has_window else _stretched(windowed)
    return 255 - grey if header.get("PhotometricInterpretation") == "MONOCHROME1" else grey


def _scaled(windowed: np.ndarray[Any, Any], header: Dataset) -> np.ndarray[Any, Any]:
    """Map windowed values to 0..255; pydicom's windowing spans the range of stored values."""
    low, high = _range(header)
    if windowed.size and (windowed.min() < low or windowed.max() > high):
        return _stretched(windowed)
    scaled: np.ndarray[Any, Any] = (windowed.astype(np.float64) - low) / max(high - low, 1e-9) * 255
    clipped: np.ndarray[Any, Any] = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    return clipped


def _range(header: Dataset) -> tuple[float, float]:
    """Return the least and greatest value that can be stored, after rescaling."""
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
    """Map values to 0..255, the least to 0 and the greatest to 255."""
    finite = np.nan_to_num(values.astype(np.float64))
    low, high = float(finite.min()), float(finite.max())
    stretched: np.ndarray[Any, Any] = (finite - low) / max(high - low, 1e-9) * 255
    return stretched.astype(np.uint8)


def _scale_to_viewport(image: np.ndarray[Any, Any], options: RenderOptions) -> np.ndarray[Any, Any]:
    """Scale an image to fit the viewport; keep its aspect ratio."""
    if not (options.width and options.height):
        return image
    rows, columns = image.shape[:2]
    scale = min(options.width / columns, options.height / rows)
    if scale > 1:
        scale = max(1.0, min(scale, math.sqrt(_MOST_ENLARGED / (rows * columns))))
    size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    scaled: np.ndarray[Any, Any] = cv2.resize(image, size, interpolation=interpolation)
    return scaled
