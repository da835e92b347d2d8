"""Small pictures of held files, before and after, for a steward who decides what becomes of them.

The files are identified and may be broken on purpose: nothing here trusts them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import cv2
import numpy as np
import pydicom
from pydicom.pixels import pixel_array

from pacsgrid.deid import anonymise_file, collect_identifiers
from pacsgrid.errors import HeldError
from pacsgrid.log_suppression import pydicom_suppressed
from pacsgrid.pipeline.context import ProjectContext

# A picture for a review: a frame larger than this is more likely an attack than an image.
MAX_PIXELS = 64_000_000


def held_files(quarantine: Path) -> list[Path]:
    """Return the files a study's quarantine holds, in a stable order; names may identify."""
    if not quarantine.is_dir():
        return []
    return sorted(path for path in quarantine.iterdir() if path.suffix == ".dcm")


def thumbnail(path: Path, edge: int = 256) -> bytes:
    """Return a PNG of a file's first frame, its longer side `edge` pixels at most.

    Raises
    ------
    HeldError
        ``no-picture``: the file has no frame that can be decoded; the text says which kind of
        obstacle, never what the file contains.
    """
    try:
        with pydicom_suppressed():
            header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
            rows, columns = int(header.get("Rows", 0)), int(header.get("Columns", 0))
            if not 0 < rows * columns <= MAX_PIXELS:
                raise HeldError("no-picture", "the file has no image, or a far too large one")
            frame = pixel_array(path, index=0)
            inverted = header.get("PhotometricInterpretation") == "MONOCHROME1"
        grey = _eight_bits(frame, inverted)
        scale = edge / max(rows, columns)
        if scale < 1:
            size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
            grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        if grey.ndim == 3:
            grey = cv2.cvtColor(grey, cv2.COLOR_RGB2BGR)
        done, png = cv2.imencode(".png", grey)
    except HeldError:
        raise
    except Exception as error:
        kind = type(error).__name__
        raise HeldError("no-picture", f"its first frame cannot be decoded ({kind})") from None
    if not done:
        raise HeldError("no-picture", "its first frame cannot be drawn")
    return png.tobytes()


def thumbnail_anonymised(context: ProjectContext, path: Path, edge: int = 256) -> bytes:
    """Return a PNG of what the line's profile would make of a held file.

    What waits for a steward by the profile's own wish is taken through it here all the same: it
    is that steward who looks. Nothing is kept.

    Raises
    ------
    HeldError
        The file cannot be anonymised, or its result has no picture; says why.
    """
    profile = context.profile.replace(
        held_modalities=frozenset(),
        hold_burned_in=False,
        pixels=context.profile.pixels.replace(hold=frozenset()),
    )
    with tempfile.TemporaryDirectory(prefix=".preview-", dir=context.site.staging) as folder:
        known = collect_identifiers([path])
        made = anonymise_file(path, Path(folder), context.pseudonyms, profile, known)
        return thumbnail(made.path, edge)


def _eight_bits(frame: np.ndarray, inverted: bool) -> np.ndarray:
    """Stretch to 0..255 between the percentiles that leave out stray pixels."""
    if frame.dtype == np.uint8:
        return 255 - frame if inverted else frame
    values = frame.astype(np.float32)
    low, high = np.percentile(values, (1, 99))
    stretched = np.clip((values - low) / max(float(high - low), 1.0), 0, 1) * 255
    drawn: np.ndarray = (255 - stretched if inverted else stretched).astype(np.uint8)
    return drawn
