"""Draws what a modality burns in: names, dates and numbers, as pixels of a frame's own range."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

# Fonts of Pillow and of the system's dejavu package, where that is there.
_FONTS = ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSansMono.ttf", "DejaVuSerif.ttf")
_FIRST = ("Žofie", "Jiří", "Růžena", "Ondřej", "Kateřina", "Anna", "JOHN", "MARIA", "Peter")
_LAST = ("Nováková", "DVOŘÁK", "Šťastná", "Černý", "ŘÍHOVÁ", "Kučera", "SMITH", "Müller", "Garcia")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


@dataclass(frozen=True)
class Drawn:
    """What was drawn: the text, its height in pixels, and the pixels that it visibly changed."""

    text: str
    size: int
    contrast: float
    mask: NDArray[np.bool_]


def some_text(rng: random.Random) -> str:
    """Return a name, a date or a number as burned in by some scanner."""
    first, last = rng.choice(_FIRST), rng.choice(_LAST)
    year, month, day = rng.randint(1925, 2024), rng.randint(1, 12), rng.randint(1, 28)
    number = f"{year % 100:02d}{month:02d}{day:02d}"
    return rng.choice(
        (
            f"{last}, {first}",
            f"{last}^{first}",
            f"{first} {last}",
            f"{day:02d}.{month:02d}.{year}",
            f"{year}-{month:02d}-{day:02d}",
            f"{day:02d} {_MONTHS[month - 1]} {year}",
            f"{number}/{rng.randint(1000, 9999)}",
            f"ID: {number}{rng.randint(1000, 9999)}",
            f"DOB {day:02d}/{month:02d}/{year}",
            f"ACC {rng.randint(100000, 9999999)}",
        )
    )


@lru_cache(maxsize=256)
def font(name: str, size: int) -> Any:
    """Return a font by name, or Pillow's own where the system lacks it."""
    try:
        return ImageFont.truetype(name, size)
    except OSError:
        return ImageFont.load_default(size)


def draw(
    frame: NDArray[Any], rng: random.Random, size: int, contrast: float, place: str, plate: bool
) -> Drawn:
    """Draw a text into a frame, in place.

    Parameters
    ----------
    frame
        Rows by columns, or rows by columns by samples, as stored.
    size
        Font size in pixels.
    contrast
        Of the text against what lies under it, as a part of the frame's own range of values.
    place
        ``tl``, ``tr``, ``bl``, ``br`` or ``any``.
    plate
        Whether the text stands on a uniform plate; it does too where nothing else is legible.
    """
    rows, columns = frame.shape[:2]
    text = some_text(rng)
    face = font(rng.choice(_FONTS), size)
    left, top, right, bottom = face.getbbox(text)
    wide, high = int(right - left), int(bottom - top)
    if wide > columns - 8 or high > rows - 8:
        raise ValueError("the text does not fit into the frame")
    x = {"l": 3, "r": columns - wide - 4}.get(place[1], rng.randint(3, columns - wide - 4))
    y = {"t": 3, "b": rows - high - 4}.get(place[0], rng.randint(3, rows - high - 4))
    if place == "any":
        x, y = rng.randint(3, columns - wide - 4), rng.randint(3, rows - high - 4)
    stencil = Image.new("L", (columns, rows))
    ImageDraw.Draw(stencil).text((x - left, y - top), text, font=face, fill=255)
    alpha = np.asarray(stencil, np.float32) / 255
    limits = np.iinfo(frame.dtype)
    low, span = float(frame.min()), max(float(frame.max()) - float(frame.min()), 32.0)
    top = min(float(limits.max), low + max(span, 160.0))
    under = frame[y : y + high, x : x + wide]
    dark, bright = (float(v) for v in np.percentile(under, (3, 97)))
    value, other = bright + contrast * span, dark - contrast * span
    if value > top and other >= low:
        value = other
    elif value > top or plate:
        # Neither lighter nor darker than all that lies there: scanners put a plate under it then.
        frame[max(0, y - 3) : y + high + 3, max(0, x - 3) : x + wide + 3] = low
        value = min(top, low + max(contrast, 0.3) * span)
    if frame.ndim == 3:
        alpha = alpha[..., None]
    drawn = frame * (1 - alpha) + value * alpha
    seen = np.abs(drawn - frame) > 0.05 * span
    frame[...] = np.clip(np.rint(drawn), limits.min, limits.max).astype(frame.dtype)
    return Drawn(text, size, contrast, seen if seen.ndim == 2 else seen.any(axis=2))
