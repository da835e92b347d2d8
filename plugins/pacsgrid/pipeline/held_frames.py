"""What a steward sees of a held file: its frames, text found in them, and its header.

The files identify patients and may be broken on purpose: nothing here trusts them.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels import apply_color_lut, pixel_array

from pacsgrid.deid import anonymise_file, collect_identifiers
from pacsgrid.deid.difference import difference
from pacsgrid.deid.pixel.text_detection import find_text
from pacsgrid.errors import HeldError
from pacsgrid.log_suppression import pydicom_suppressed
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.thumbnails import MAX_PIXELS, eight_bits, without_holds
from pacsgrid.uids import named

_SHA256 = re.compile(r"[0-9a-f]{64}")
# A kept element, its keyword and its value, as `difference` writes them.
_LINE = re.compile(r"(?P<what>.) (?P<name>\s*\([0-9A-F,]+\) \S\S \S+)(?P<values>.*)")


@dataclass(frozen=True)
class FrameWindow:
    """The values that are shown black and white; None for those the image's own values give."""

    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class HeldFrame:
    """A frame as PNG, and the range of its values."""

    png: bytes
    lowest: float
    highest: float


def held_file(context: ProjectContext, ref: str, sha256: str) -> Path:
    """Return the path of a held file in the quarantine.

    Parameters
    ----------
    context
        The study's project.
    ref
        The study's reference.
    sha256
        The file's SHA-256 in hex.

    Raises
    ------
    HeldError
        ``no-picture``: the quarantine has no such file.
    """
    if not _SHA256.fullmatch(sha256):
        raise HeldError("no-picture", "this is no SHA-256 of a file")
    path = context.site.quarantine / named(ref) / f"{sha256}.dcm"
    if not path.is_file():
        raise HeldError(
            "no-picture", "the quarantine of this machine does not have the file any more"
        )
    return path


def frame_of(path: Path, number: int, window: FrameWindow) -> HeldFrame:
    """Return one frame of a file, whole, as PNG.

    Parameters
    ----------
    path
        The file.
    number
        The frame's number, from 0.
    window
        What is shown black and white.

    Raises
    ------
    HeldError
        ``no-picture``: the frame cannot be decoded. The text names the kind of obstacle, never
        what the file contains.
    """
    values, inverted = _decoded(path, number)
    low, high = float(values.min()), float(values.max())
    shown = _windowed(values, inverted, window)
    if shown.ndim == 3:
        shown = cv2.cvtColor(shown, cv2.COLOR_RGB2BGR)
    done, png = cv2.imencode(".png", shown)
    if not done:
        raise HeldError("no-picture", "the frame cannot be written as PNG")
    return HeldFrame(png.tobytes(), low, high)


def text_boxes(path: Path, number: int) -> list[tuple[int, int, int, int]]:
    """Return where text is found in a frame: left, top, right and bottom of each box.

    Parameters
    ----------
    path
        The file.
    number
        The frame's number, from 0.

    Raises
    ------
    HeldError
        ``no-picture``: the frame cannot be decoded.
    """
    values, _ = _decoded(path, number)
    return [(box.left, box.top, box.right, box.bottom) for box in find_text(values)]


@contextmanager
def anonymised(context: ProjectContext, path: Path) -> Iterator[Path]:
    """Yield what the context's profile makes of a held file, until the block ends.

    What the profile holds for a steward is anonymised all the same, since it is the steward who
    looks.

    Parameters
    ----------
    context
        The study's project.
    path
        The held file.

    Raises
    ------
    HeldError
        The file cannot be anonymised; the text says why.
    """
    profile = without_holds(context.profile)
    with tempfile.TemporaryDirectory(prefix=".preview-", dir=context.site.staging) as folder:
        known = collect_identifiers([path])
        yield anonymise_file(path, Path(folder), context.pseudonyms, profile, known).path


def header_difference(context: ProjectContext, path: Path, values: bool) -> list[str]:
    """Return what becomes of each element of a held file's header.

    Parameters
    ----------
    context
        The study's project.
    path
        The held file.
    values
        Whether to show the values; without, only tags and what becomes of them.

    Returns
    -------
    list of str
        Lines as of `deid.difference.difference`. The last one is the checker's refusal, if any.
    """
    profile = without_holds(context.profile)
    lines: list[str] = []
    with tempfile.TemporaryDirectory(prefix=".preview-", dir=context.site.staging) as folder:
        try:
            for line in difference(path, Path(folder), context.pseudonyms, profile):
                lines.append(line if values else _masked(line))
        except HeldError as error:
            lines.append(f"! {error.code}: {error.detail}")
    return lines


def _masked(line: str) -> str:
    found = _LINE.fullmatch(line)
    return f"{found['what']} {found['name']}" if found else line[:1]


def _decoded(path: Path, number: int) -> tuple[NDArray[Any], bool]:
    """Return a frame's values and whether white is low."""
    try:
        with pydicom_suppressed():
            header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
            rows, columns = int(header.get("Rows", 0)), int(header.get("Columns", 0))
            if not 0 < rows * columns <= MAX_PIXELS:
                raise HeldError("no-picture", "the file has no image, or a far too large one")
            if not 0 <= number < int(header.get("NumberOfFrames") or 1):
                raise HeldError("no-picture", f"the file has no frame {number + 1}")
            values = np.asarray(pixel_array(path, index=number))
            photometric = str(header.get("PhotometricInterpretation", ""))
            if photometric == "PALETTE COLOR":
                values = np.asarray(apply_color_lut(values, header))
    except HeldError:
        raise
    except Exception as error:
        kind = type(error).__name__
        raise HeldError("no-picture", f"frame {number + 1} cannot be decoded ({kind})") from None
    return values, photometric == "MONOCHROME1"


def _windowed(values: NDArray[Any], inverted: bool, window: FrameWindow) -> NDArray[np.uint8]:
    if window.low is None or window.high is None:
        if values.ndim == 3 and values.dtype != np.uint8:
            return (values >> (8 * (values.dtype.itemsize - 1))).astype(np.uint8)
        return np.ascontiguousarray(eight_bits(values, inverted))
    span = max(window.high - window.low, 1e-6)
    scaled = np.clip((values.astype(np.float32) - window.low) / span, 0, 1) * 255
    result: NDArray[np.uint8] = (255 - scaled if inverted else scaled).astype(np.uint8)
    return result
