"""Assemble the frames of a series into one coarse volume, with its geometry from the headers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

# Edge in mm that the voxels of the coarse volume have at most, unless the series' are larger.
_COARSE = 2.6
# More voxels than this are no volume of a head at _COARSE mm.
_MOST_VOXELS = 1 << 25
_Groups = Sequence[Dataset]


class NotAVolumeError(Exception):
    """Raised when the frames of a series are no volume; the text tells why."""


@dataclass(frozen=True)
class FramePlane:
    """Where a frame lies (PS3.3 C.7.6.2.1.1), in mm of the patient's coordinates.

    Attributes
    ----------
    position
        The centre of its first pixel.
    across, down
        Directions of growing column and row numbers, unit vectors.
    spacing
        Distance between rows, and between columns.
    slope, intercept
        The rescaling of its stored values.
    """

    position: NDArray[np.float64]
    across: NDArray[np.float64]
    down: NDArray[np.float64]
    spacing: tuple[float, float]
    slope: float = 1.0
    intercept: float = 0.0

    @property
    def normal(self) -> NDArray[np.float64]:
        """The direction from slice to slice, a unit vector."""
        return np.cross(self.across, self.down)


@dataclass(frozen=True)
class Volume:
    """A series at 2 to 3 mm.

    Attributes
    ----------
    values
        Rescaled values by slice, row and column.
    spacing
        Edges of its voxels in mm, by slice, row and column.
    origin
        The centre of the first voxel, in mm of the patient's coordinates.
    directions
        Unit vectors of growing column, row and slice numbers, as columns.
    shrink
        How many rows, and columns, of the series make one of the volume.
    slices
        By file, for each of its frames, the number of its slice in the volume; with fractions.
    frame_of_reference
        FrameOfReferenceUID (0020,0052), empty if there is none.
    modality
        Modality (0008,0060).
    """

    values: NDArray[np.float32]
    spacing: tuple[float, float, float]
    origin: NDArray[np.float64]
    directions: NDArray[np.float64]
    shrink: tuple[int, int]
    slices: dict[Path, tuple[float, ...]]
    frame_of_reference: str = ""
    modality: str = ""


def frame_planes(ds: Dataset) -> Iterator[FramePlane]:
    """Yield where the frames of an image lie.

    Multi-frame images have it once or per frame (PS3.3 C.7.6.16.2).

    Parameters
    ----------
    ds
        The image's header.

    Raises
    ------
    NotAVolumeError
        A position, an orientation or a spacing is missing or is no number.
    """
    frames = ds.get("PerFrameFunctionalGroupsSequence") or [Dataset()]
    shared = (ds.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    try:
        for frame in frames:
            groups = (frame, shared)
            position = _find(ds, groups, "PlanePositionSequence", "ImagePositionPatient")
            orientation = _find(ds, groups, "PlaneOrientationSequence", "ImageOrientationPatient")
            spacing = _find(ds, groups, "PixelMeasuresSequence", "PixelSpacing")
            numbers = [float(v) for v in (*position, *orientation, *spacing)]
            if len(numbers) != 11 or not all(map(math.isfinite, numbers)):
                raise ValueError
            across, down = np.array(numbers[3:6]), np.array(numbers[6:9])
            if abs(across @ down) > 1e-3 or min(numbers[9:]) <= 0:
                raise ValueError
            across, down = across / np.linalg.norm(across), down / np.linalg.norm(down)
            yield FramePlane(
                np.array(numbers[:3]),
                across,
                down,
                (numbers[9], numbers[10]),
                *_rescale(ds, groups),
            )
    except (TypeError, ValueError, AttributeError):
        raise NotAVolumeError(
            "a frame has no position, orientation or pixel spacing that can be used"
        ) from None


def _find(ds: Dataset, groups: _Groups, sequence: str, keyword: str) -> Any:
    for group in groups:
        for item in group.get(sequence) or ():
            if item.get(keyword) not in (None, ""):
                return item.get(keyword)
    return ds.get(keyword) or ()


def _rescale(ds: Dataset, groups: _Groups) -> tuple[float, float]:
    slope = _find(ds, groups, "PixelValueTransformationSequence", "RescaleSlope")
    intercept = _find(ds, groups, "PixelValueTransformationSequence", "RescaleIntercept")
    number = float(slope) if slope not in ((), "") else 1.0
    shift = float(intercept) if intercept not in ((), "") else 0.0
    if not (math.isfinite(number) and math.isfinite(shift) and number):
        raise ValueError
    return number, shift


@dataclass
class _Assembly:
    """What is known of a series before its pixels are read."""

    first: FramePlane
    rows: int
    columns: int
    places: dict[Path, list[float]]
    start: float = 0.0
    step: float = 0.0
    count: int = 0


def assemble(headers: Sequence[tuple[Path, Dataset]], read_frames: Any) -> Volume:
    """Assemble a series, one frame in memory at a time.

    Parameters
    ----------
    headers
        Its files and their headers.
    read_frames
        Function that returns the `Frames` of a file, in a ``with`` block.

    Returns
    -------
    Volume

    Raises
    ------
    NotAVolumeError
        The frames lie in different orientations or at uneven distances, or have several sizes.
    HeldError
        Pixels cannot be decoded.
    """
    assembly = _measure(headers)
    rows, columns = assembly.rows, assembly.columns
    shrink = [max(1, int(_COARSE / edge)) for edge in assembly.first.spacing]
    together = max(1, int(_COARSE / assembly.step))
    shape = (-(-assembly.count // together), -(-rows // shrink[0]), -(-columns // shrink[1]))
    if math.prod(shape) > _MOST_VOXELS:
        raise NotAVolumeError("the series is larger than a head")
    total, weight = np.zeros(shape, np.float32), np.zeros(shape[0], np.int64)
    slices: dict[Path, tuple[float, ...]] = {}
    for path, ds in headers:
        numbers = [(at - assembly.start) / assembly.step for at in assembly.places[path]]
        slices[path] = tuple((number - (together - 1) / 2) / together for number in numbers)
        planes = list(frame_planes(ds))
        with read_frames(path) as frames:
            if frames.samples != 1 or frames.bits not in (8, 16, 32):
                raise NotAVolumeError("its pixels are not of one grey value in 8, 16 or 32 bits")
            for number, plane, frame in zip(numbers, planes, frames.iter_decoded(), strict=False):
                at = round(number) // together
                total[at] += _shrunk(frame.values, shrink) * plane.slope + plane.intercept
                weight[at] += 1
    total /= np.maximum(weight, 1)[:, None, None]
    plane = assembly.first
    spacing = (
        assembly.step * together,
        plane.spacing[0] * shrink[0],
        plane.spacing[1] * shrink[1],
    )
    origin = (
        plane.position
        + plane.normal * (assembly.start - plane.position @ plane.normal)
        + plane.across * plane.spacing[1] * (shrink[1] - 1) / 2
        + plane.down * plane.spacing[0] * (shrink[0] - 1) / 2
        + plane.normal * assembly.step * (together - 1) / 2
    )
    ds = headers[0][1]
    return Volume(
        total,
        spacing,
        origin,
        np.stack([plane.across, plane.down, plane.normal], axis=1),
        (shrink[0], shrink[1]),
        slices,
        str(ds.get("FrameOfReferenceUID", "") or "").strip(),
        str(ds.get("Modality", "") or "").strip(),
    )


def _measure(headers: Sequence[tuple[Path, Dataset]]) -> _Assembly:
    made: _Assembly | None = None
    for path, ds in headers:
        size = int(ds.get("Rows") or 0), int(ds.get("Columns") or 0)
        for plane in frame_planes(ds):
            if made is None:
                made = _Assembly(plane, *size, {})
            _check_alike(made, plane, size)
            made.places.setdefault(path, []).append(float(plane.position @ made.first.normal))
        frames = int(ds.get("NumberOfFrames") or 1)
        if made is None or len(made.places.get(path, ())) != frames:
            raise NotAVolumeError("the header does not say where each frame lies")
    if made is None:
        raise NotAVolumeError("the series has no frame")
    all_places = sorted(at for places in made.places.values() for at in places)
    distinct = [all_places[0]]
    for at in all_places[1:]:
        if at - distinct[-1] > 0.05:
            distinct.append(at)
    steps = np.diff(distinct)
    if len(distinct) < 8:
        raise NotAVolumeError("the series has too few slices")
    step = float(np.median(steps))
    if (abs(steps - step) > 0.2 * step + 0.05).any():
        raise NotAVolumeError("slices are missing or lie at uneven distances")
    made.start, made.count = distinct[0], len(distinct)
    made.step = (distinct[-1] - distinct[0]) / (len(distinct) - 1)
    return made


def _check_alike(made: _Assembly, plane: FramePlane, size: tuple[int, int]) -> None:
    first = made.first
    if size != (made.rows, made.columns) or not np.allclose(
        plane.spacing, first.spacing, rtol=1e-3
    ):
        raise NotAVolumeError("its frames have several sizes")
    if first.across @ plane.across < 0.9999 or first.down @ plane.down < 0.9999:
        raise NotAVolumeError("its frames lie in several orientations")
    offset = plane.position - first.position
    aside = offset - (offset @ first.normal) * first.normal
    if np.linalg.norm(aside) > 1.0:
        raise NotAVolumeError("its slices are sheared, as those of a tilted gantry are")


def _shrunk(values: NDArray[Any], shrink: list[int]) -> NDArray[np.float32]:
    """Return the means of blocks; those at the edges repeat the last row and column."""
    down, across = shrink
    rows, columns = (-values.shape[0]) % down, (-values.shape[1]) % across
    grown = np.pad(values, ((0, rows), (0, columns)), "edge") if rows or columns else values
    blocks = grown.reshape(grown.shape[0] // down, down, grown.shape[1] // across, across)
    return np.asarray(blocks.mean(axis=(1, 3), dtype=np.float32))
