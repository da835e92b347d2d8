"""Read the text in a result's pixels with Tesseract, and refuse it if it identifies the patient.

Tesseract is independent of the networks that chose what to blank. The profile says which images
are read: those that commonly carry text, or all. Of a multi-frame image `FRAMES` frames are read,
spread over its length, since burned-in text seldom moves.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.pixels import apply_color_lut

from ...errors import HeldError
from .frames import read_frame
from .identity_search import IdentitySearch, find_dates
from .reader import Header
from .text_decoding import fold

FRAMES = 4
# Words below this confidence (0 to 100) are mostly anatomy.
_SURE = 55
# A timeout in seconds. It is generous, since a study is held when it expires.
_SECONDS = 600
# Frames whose longer side is below _LARGE pixels are enlarged; above _LONGEST they are reduced.
_LARGE, _LONGEST = 1400, 4000
# Width of the widest stroke, in pixels of the enlarged view; contrast of a stroke, in grey levels;
# least number of such pixels in a view with text; contrast that is shown as black.
_STROKE, _STEP, _STEPS, _CLEAR = 31, 24, 64, 96
# Size of the median filter that estimates the texture, in pixels of the view at half size, and the
# factor by which strokes must exceed it. Unfiltered texture makes Tesseract twenty times slower,
# and it finds less.
_AROUND, _ABOVE = 41, 2
_NO_PICTURE = (
    b"1.2.840.10008.5.1.4.1.1.66",  # Raw Data, Segmentation and the like
    b"1.2.840.10008.5.1.4.1.1.481.2",  # RT Dose
    b"1.2.840.10008.5.1.4.1.1.30",  # Parametric Map
)
_CAPTURE = b"1.2.840.10008.5.1.4.1.1.7"
_RECONSTRUCTED = frozenset((b"CT", b"MR", b"PT", b"NM"))
# SOP classes of CT, MR, nuclear medicine and PET (PS3.4 B.5), also enhanced and legacy ones.
_SCANNED = re.compile(
    rb"1\.2\.840\.10008\.5\.1\.4\.1\.1\.(2(\.[12])?|4(\.[124])?|20|128(\.1)?|130)"
)
_STORAGE = b"1.2.840.10008.5.1.4.1.1."


@lru_cache(maxsize=1)
def tesseract_path() -> str:
    """Return the path of Tesseract, empty where it is not installed."""
    return shutil.which("tesseract") or ""


def needs_reading(source: Header, look: str) -> bool:
    """Return whether an image's pixels are to be read.

    Parameters
    ----------
    source
        The header of the source.
    look
        The profile's setting ``pixels.look``: ``none``, ``risky`` or ``all``.
    """

    def value(tag: int) -> bytes:
        element = source.elements.get(tag)
        return element.value.strip(b"\0 ") if element is not None else b""

    if look == "none" or not (value(0x00280010) or 0x00280010 in source.elements):
        return False
    kind = value(0x00080016)
    if look == "all" or value(0x00280301).upper() == b"YES":
        return True
    if kind == _CAPTURE or kind.startswith(_CAPTURE + b"."):
        return True
    if kind.startswith(_NO_PICTURE):
        return False
    if kind.startswith(_STORAGE) and not _SCANNED.fullmatch(kind):
        return True
    image_type = [part.strip().upper() for part in value(0x00080008).split(b"\\")][:2]
    return value(0x00080060) not in _RECONSTRUCTED or image_type != [b"ORIGINAL", b"PRIMARY"]


def pixels_to_read(source: Header, look: str) -> int:
    """Return how many of an image's pixels are to be read: an estimate of the work.

    Parameters
    ----------
    source
        The header of the source.
    look
        The profile's setting ``pixels.look``: ``none``, ``risky`` or ``all``.
    """
    if not needs_reading(source, look):
        return 0
    count = 1
    for tag in (0x00280010, 0x00280011):
        element = source.elements.get(tag)
        # US values, read as little endian: a wrong estimate for big endian does no harm.
        count *= int.from_bytes(element.value[:2], "little") if element is not None else 0
    frames = source.elements.get(0x00280008)
    text = frames.value.strip(b"\0 ") if frames is not None else b"1"
    return count * (int(text) if text.isdigit() else 1)


def check_text(result: Path, search: IdentitySearch, dates: frozenset[str]) -> int:
    """Read a result's pixels, and refuse them if they show an identifying value.

    Parameters
    ----------
    result
        The file after anonymisation.
    search
        The search for the study's identifying values.
    dates
        Whole dates, as ``YYYYMMDD``, that must not occur.

    Returns
    -------
    int
        How many frames were read; 0 without Tesseract.

    Raises
    ------
    HeldError
        ``pixels-text``: an identifying value is legible, or the pixels cannot be read back.
    """
    if not tesseract_path():
        return 0
    frames = 0
    for number, frame in _frames(result):
        frames += 1
        for view in _views(frame):
            for line in _lines(view):
                found = search.search_text(line) or search.search_text_approximately(line)
                if found is None and dates.intersection(find_dates(line)):
                    found = "a full date"
                if found:
                    raise HeldError(
                        "pixels-text",
                        f"frame {number} shows {found} from the study's own headers; blank the "
                        "area with a rule under `pixels.regions` of the profile, or have a "
                        "steward review it",
                    )
    return frames


def _frames(path: Path) -> Iterator[tuple[int, NDArray[Any]]]:
    try:
        ds = dcmread(path, stop_before_pixels=True)
        count = int(ds.get("NumberOfFrames", 1) or 1)
        for number in sorted({round(n) for n in np.linspace(0, count - 1, FRAMES)}):
            frame = read_frame(path, number)
            if ds.PhotometricInterpretation == "PALETTE COLOR":
                frame = apply_color_lut(frame, ds)
            yield number + 1, frame
    except (GeneratorExit, HeldError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic in a Rust decoder is not an Exception
        raise HeldError(
            "pixels-text",
            f"the pixels cannot be decoded to read their text ({type(error).__name__}); have a "
            "steward review them",
        ) from None


def _views(frame: NDArray[Any]) -> Iterator[NDArray[np.uint8]]:
    """Yield 8-bit views of a frame's light strokes and of its dark strokes, as dark on white.

    A frame with a few extreme values is shown in two windows: the range of all values, and the
    range of most of them. Views without strokes are left out.
    """
    values = frame.astype(np.float32)
    if values.ndim == 3:
        values = values.mean(axis=2)
    values[~np.isfinite(values)] = 0
    low, high = float(values.min()), float(values.max())
    inner = [float(v) for v in np.percentile(values[::2, ::2], (1, 99))]
    windows = [(low, high)]
    if inner[0] < inner[1] and high - low > 2 * (inner[1] - inner[0]):
        windows.append((inner[0], inner[1]))
    for bottom, top in windows:
        if top <= bottom:
            continue
        shown = np.clip((values - bottom) * (255 / (top - bottom)), 0, 255).astype(np.uint8)
        longer = max(shown.shape)
        factor = 2.0 if longer < _LARGE else min(1.0, _LONGEST / longer)
        if factor != 1:
            kind = cv2.INTER_CUBIC if factor > 1 else cv2.INTER_AREA
            shown = np.asarray(cv2.resize(shown, None, fx=factor, fy=factor, interpolation=kind))
        kernel = np.ones((_STROKE, _STROKE), np.uint8)
        for strokes in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT):
            hat = _above_texture(cv2.morphologyEx(shown, strokes, kernel))
            if int((hat > _STEP).sum()) >= _STEPS:
                dark = np.minimum(hat, _CLEAR).astype(np.float32) * (255 / _CLEAR)
                yield (255 - dark).astype(np.uint8)


def _above_texture(hat: NDArray[Any]) -> NDArray[Any]:
    """Return how far strokes exceed the texture around them, in grey levels."""
    rows, columns = hat.shape
    half = cv2.resize(hat, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    usual = cv2.resize(cv2.medianBlur(half, _AROUND), (columns, rows))
    return np.asarray(cv2.subtract(hat, cv2.multiply(usual, _ABOVE)))


def _lines(view: NDArray[np.uint8]) -> Iterator[str]:
    """Yield the lines of text that Tesseract reads, without words of low confidence."""
    rows, columns = view.shape
    try:
        # Through pipes, so that no temporary file holds identifying pixels.
        done = subprocess.run(
            [tesseract_path(), "stdin", "stdout", "--psm", "11", "-l", "eng", "tsv"],
            input=f"P5 {columns} {rows} 255\n".encode() + view.tobytes(),
            capture_output=True,
            timeout=_SECONDS,
            check=True,
            env={**os.environ, "OMP_THREAD_LIMIT": "1"},
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise HeldError(
            "pixels-text",
            f"Tesseract failed to read the pixels ({type(error).__name__}); run the check again, "
            "or have a steward review them",
        ) from None
    lines: dict[tuple[str, ...], list[str]] = {}
    for row in done.stdout.decode("utf-8", "replace").splitlines()[1:]:
        cells = row.split("\t")
        if len(cells) == 12 and cells[0] == "5" and float(cells[10]) >= _SURE and fold(cells[11]):
            lines.setdefault(tuple(cells[1:5]), []).append(cells[11])
    yield from (" ".join(words) for words in lines.values())
