"""The voxels of a series that become air, and how a file's pixels and header change by it."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ...errors import HeldError
from ..pixel.frame_source import Frames
from .volume import frame_planes

# Changes when the same series would get another result.
METHOD = "pacsgrid faces 1: template by affine registration"


@dataclass(frozen=True)
class FaceRemoval:
    """The voxels to remove from a series; for memory and for other processes.

    Attributes
    ----------
    shape
        Slices, rows and columns of the marks.
    marks
        The marks, packed and compressed.
    shrink
        How many rows, and columns, of a frame make one of the marks'.
    slices
        By file, for each frame, its place among the slices of the marks.
    air
        The rescaled value of air.
    """

    shape: tuple[int, int, int]
    marks: bytes
    shrink: tuple[int, int]
    slices: dict[Path, tuple[float, ...]]
    air: float

    def mask(self, path: Path, frame: int, rows: int, columns: int) -> NDArray[np.bool_]:
        """Return which pixels of a frame are removed.

        Parameters
        ----------
        path
            The frame's file.
        frame
            Its number in the file, from 0.
        rows, columns
            The frame's size.
        """
        marks = np.unpackbits(np.frombuffer(zlib.decompress(self.marks), np.uint8))
        volume = marks[: np.prod(self.shape)].reshape(self.shape)
        at = min(max(self.slices[path][frame], 0.0), self.shape[0] - 1.0)
        low = min(int(at), self.shape[0] - 1)
        high = min(low + 1, self.shape[0] - 1)
        plane = volume[low] * (1 - (at - low)) + volume[high] * (at - low)
        if not plane.any():
            return np.zeros((rows, columns), np.bool_)
        down = _weights(rows, self.shrink[0], self.shape[1])
        across = _weights(columns, self.shrink[1], self.shape[2])
        return np.asarray(down @ plane.astype(np.float32) @ across.T >= 0.5)


def _weights(size: int, shrink: int, count: int) -> NDArray[np.float32]:
    """Return the matrix that interpolates `size` pixels from `count` coarse ones."""
    places = np.clip((np.arange(size) - (shrink - 1) / 2) / shrink, 0, count - 1)
    low = np.minimum(places.astype(int), count - 1)
    high = np.minimum(low + 1, count - 1)
    made = np.zeros((size, count), np.float32)
    made[np.arange(size), low] += (1 - (places - low)).astype(np.float32)
    made[np.arange(size), high] += (places - low).astype(np.float32)
    return made


@dataclass(frozen=True)
class FileFace:
    """The part of a removal that concerns one file.

    Parameters
    ----------
    removal
        The series' removal.
    path
        The file.
    """

    removal: FaceRemoval
    path: Path

    def eraser(self, frames: Frames) -> Callable[[NDArray[Any], int], None]:
        """Return a function that sets the marked pixels of a frame to air, in place.

        It takes the stored values, rows by columns, and the frame's number from 0.

        Parameters
        ----------
        frames
            The file's frames.

        Raises
        ------
        HeldError
            ``pixels-unreadable``: the pixels are not of one grey value in whole bytes.
        """
        ds = frames.ds
        if frames.samples != 1 or frames.bits not in (8, 16, 32) or _swapped(frames):
            raise HeldError(
                "pixels-unreadable",
                "the face cannot be removed from pixels that are stored in this way; deface the "
                "series at its origin",
            )
        airs = [
            stored_air(
                self.removal.air,
                plane.slope,
                plane.intercept,
                int(ds.get("BitsStored") or frames.bits),
                bool(ds.get("PixelRepresentation")),
            )
            for plane in frame_planes(ds)
        ]

        def erase(values: NDArray[Any], number: int) -> None:
            mask = self.removal.mask(self.path, number, frames.rows, frames.columns)
            values[mask] = airs[number]

        return erase


def _swapped(frames: Frames) -> bool:
    return not frames.syntax.is_little_endian and frames.bits == 8


def native_values(data: bytearray, frames: Frames) -> NDArray[Any]:
    """Return the values of an uncompressed frame, which write through to its bytes.

    Parameters
    ----------
    data
        The frame's bytes.
    frames
        The file's frames.
    """
    order = "<" if frames.syntax.is_little_endian else ">"
    kind = "i" if frames.ds.get("PixelRepresentation") else "u"
    dtype = np.dtype(f"{order}{kind}{frames.bits // 8}")
    return np.frombuffer(data, dtype).reshape(frames.rows, frames.columns)


def declare_removal(ds: Dataset) -> None:
    """Record in an anonymised header that no face can be recognised (PS3.15 E.3.2)."""
    ds.DeidentificationMethod = [ds.DeidentificationMethod, METHOD]
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator = "113102", "DCM"
    code.CodeMeaning = "Clean Recognizable Visual Features Option"
    ds.DeidentificationMethodCodeSequence.append(code)


@dataclass(frozen=True)
class FacePlans:
    """What is done with the faces of a study's files.

    Attributes
    ----------
    removals
        By file, the removal of its series.
    reasons
        By file, why the face of its series could not be removed.
    """

    removals: dict[Path, FaceRemoval] = field(default_factory=dict)
    reasons: dict[Path, str] = field(default_factory=dict)

    def of(self, path: Path) -> FileFace | None:
        """Return what is removed from a file, None if nothing is."""
        removal = self.removals.get(path)
        return FileFace(removal, path) if removal is not None else None


NO_PLANS = FacePlans()


def stored_air(air: float, slope: float, intercept: float, bits_stored: int, signed: bool) -> int:
    """Return the stored value of air, within what the pixels can hold.

    Parameters
    ----------
    air
        The rescaled value.
    slope, intercept
        The rescaling.
    bits_stored
        BitsStored (0028,0101).
    signed
        Whether PixelRepresentation (0028,0103) is 1.
    """
    low, high = (
        (-(1 << bits_stored - 1), (1 << bits_stored - 1) - 1)
        if signed
        else (0, (1 << bits_stored) - 1)
    )
    return int(min(max(round((air - intercept) / slope), low), high))
