"""Thumbnails of held files, before and after anonymising, and of anonymised series.

Held files identify patients and may be broken on purpose: nothing here trusts them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pydicom
from pydicom.pixels import pixel_array

from pacsgrid import grid
from pacsgrid.deid import Profile, anonymise_file, collect_identifiers
from pacsgrid.errors import HeldError
from pacsgrid.ledger import InstanceRecord
from pacsgrid.log_suppression import pydicom_suppressed
from pacsgrid.pipeline.context import ProjectContext

# Pixels of the largest frame that is decoded; a larger one is more likely an attack.
MAX_PIXELS = 64_000_000
# Bytes of the largest anonymised object that is read for a thumbnail.
MAX_BYTES = 256 << 20


def held_files(quarantine: Path) -> list[Path]:
    """Return the files in a study's quarantine, in a stable order; their names may identify."""
    if not quarantine.is_dir():
        return []
    return sorted(path for path in quarantine.iterdir() if path.suffix == ".dcm")


def thumbnail(path: Path, edge: int = 256) -> bytes:
    """Return a PNG of a file's first frame.

    Parameters
    ----------
    path
        The file.
    edge
        The longer side of the picture, in pixels at most.

    Returns
    -------
    bytes
        The content of a PNG file.

    Raises
    ------
    HeldError
        ``no-picture``: no frame of the file can be decoded. The text names the kind of obstacle,
        never what the file contains.
    """
    try:
        with pydicom_suppressed():
            header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
            rows, columns = int(header.get("Rows", 0)), int(header.get("Columns", 0))
            if not 0 < rows * columns <= MAX_PIXELS:
                raise HeldError("no-picture", "the file has no image, or a far too large one")
            frame = pixel_array(path, index=0)
            inverted = header.get("PhotometricInterpretation") == "MONOCHROME1"
        done, png = cv2.imencode(".png", _shrink(eight_bits(frame, inverted), edge))
    except HeldError:
        raise
    except Exception as error:
        kind = type(error).__name__
        raise HeldError("no-picture", f"its first frame cannot be decoded ({kind})") from None
    if not done:
        raise HeldError("no-picture", "its first frame cannot be written as PNG")
    return png.tobytes()


def thumbnail_anonymised(context: ProjectContext, path: Path, edge: int = 256) -> bytes:
    """Return a PNG of what the context's profile would make of a held file.

    What the profile itself holds for a steward is anonymised here all the same, since it is the
    steward who looks. No file is kept.

    Parameters
    ----------
    context
        The study's project.
    path
        The held file.
    edge
        The longer side of the picture, in pixels at most.

    Returns
    -------
    bytes
        The content of a PNG file.

    Raises
    ------
    HeldError
        The file cannot be anonymised, or the result has no picture; the text says why.
    """
    profile = without_holds(context.profile)
    with tempfile.TemporaryDirectory(prefix=".preview-", dir=context.site.staging) as folder:
        known = collect_identifiers([path])
        made = anonymise_file(path, Path(folder), context.pseudonyms, profile, known)
        return thumbnail(made.path, edge)


def series_thumbnail(
    context: ProjectContext, instances: Sequence[InstanceRecord], edge: int = 128
) -> bytes:
    """Return a PNG of the middle image of an anonymised series, read from the home zone.

    Parameters
    ----------
    context
        The series' project.
    instances
        Its instances.
    edge
        The longer side of the picture, in pixels at most.

    Returns
    -------
    bytes
        The content of a PNG file.

    Raises
    ------
    HeldError
        ``no-picture``: the image cannot be decoded, or is far too large.
    ZoneError, ZoneUnavailableError
        The zone refused, or does not answer.
    """
    one = instances[len(instances) // 2]
    if one.size > MAX_BYTES:
        raise HeldError("no-picture", "the image is too large for a thumbnail")
    path = grid.object_path(context.home.settings.name, context.project.name, one)
    with tempfile.TemporaryDirectory(prefix=".preview-", dir=context.site.staging) as folder:
        file = Path(folder) / "image.dcm"
        file.write_bytes(grid.get_head(context.home, path, one.size))
        return thumbnail(file, edge)


def without_holds(profile: Profile) -> Profile:
    """Return a profile that holds nothing for a steward; for the steward who looks at it.

    Parameters
    ----------
    profile
        The project's profile.
    """
    return profile.replace(
        held_modalities=frozenset(),
        hold_burned_in=False,
        pixels=profile.pixels.replace(hold=frozenset()),
    )


def eight_bits(frame: np.ndarray, inverted: bool) -> np.ndarray:
    """Scale to 0..255 between the 1st and 99th percentile, which leaves out stray pixels.

    Parameters
    ----------
    frame
        A frame's values.
    inverted
        Whether its lowest value is white (MONOCHROME1).

    Returns
    -------
    numpy.ndarray
        Values of 8 bits, as they are shown.
    """
    if frame.dtype == np.uint8:
        return 255 - frame if inverted else frame
    values = frame.astype(np.float32)
    low, high = np.percentile(values, (1, 99))
    scaled = np.clip((values - low) / max(float(high - low), 1.0), 0, 1) * 255
    result: np.ndarray = (255 - scaled if inverted else scaled).astype(np.uint8)
    return result


def _shrink(image: np.ndarray, edge: int) -> np.ndarray:
    """Return an image in OpenCV's order of colours, its longer side `edge` pixels at most."""
    rows, columns = image.shape[:2]
    scale = edge / max(rows, columns)
    if scale < 1:
        size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    if image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return image
