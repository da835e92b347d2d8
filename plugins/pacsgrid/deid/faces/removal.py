"""Find the voxels of face and ears in a series."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from .marks import FaceRemoval
from .registration import Alignment, as_image, register, template
from .volume import NotAVolumeError, Volume, assemble

# Voxels up to this distance in mm from the template's brain stay.
_BRAIN_MARGIN = 9.0
_BRAIN_MARGIN_BESIDE_EARS = 12.0
# An alignment with less mutual information, less overlap of the tissue, or two ends further apart
# in mm is not trusted.
_LEAST_INFORMATION, _LEAST_OVERLAP, _FURTHEST = 0.30, 0.80, 15.0
# Scales between template and head that no head has.
_SCALES = (0.72, 1.3)


class _FrameReader(Protocol):
    def __call__(self, path: Path) -> Any:
        """Return a context manager of the `Frames` of a file."""


def plan_removal(
    headers: Sequence[tuple[Path, Dataset]],
    read_frames: _FrameReader,
    known: dict[str, Alignment],
) -> FaceRemoval:
    """Find the face in a series.

    Parameters
    ----------
    headers
        The series' files and their headers.
    read_frames
        Function that opens the frames of a file.
    known
        Alignments of earlier series of the study by FrameOfReferenceUID (0020,0052). The series'
        own is added; where it cannot be registered by itself, an earlier one is used.

    Returns
    -------
    FaceRemoval

    Raises
    ------
    NotAVolumeError
        The series is no volume, or no head was found in it. The text tells why.
    HeldError
        Pixels cannot be decoded.
    """
    volume = assemble(headers, read_frames)
    found = register(volume)
    if not is_trusted(found):
        found = known.get(volume.frame_of_reference) if volume.frame_of_reference else None
    elif volume.frame_of_reference and found is not None:
        known.setdefault(volume.frame_of_reference, found)
    if found is None:
        raise NotAVolumeError("a template head does not fit to it with confidence")
    marks = mark_face(volume, found)
    if not marks.any():
        raise NotAVolumeError("no part of a face was found in its field of view")
    air = -1000.0 if volume.modality == "CT" else 0.0
    return FaceRemoval(
        marks.shape, zlib.compress(np.packbits(marks).tobytes()), volume.shrink, volume.slices, air
    )


def is_trusted(found: Alignment | None) -> bool:
    """Return whether a registration can be relied on."""
    if found is None:
        return False
    scales = np.linalg.svd(found.to_patient[:3, :3])[1]
    return bool(
        found.information >= _LEAST_INFORMATION
        and found.overlap >= _LEAST_OVERLAP
        and found.apart <= _FURTHEST
        and _SCALES[0] <= scales[-1]
        and scales[0] <= _SCALES[1]
    )


def mark_face(volume: Volume, found: Alignment) -> NDArray[np.bool_]:
    """Return which voxels of a volume belong to face, ears or the forehead's skin.

    Parameters
    ----------
    volume
        The volume.
    found
        The template's alignment to it.
    """
    inverse = np.linalg.inv(found.to_patient)
    index = np.indices(volume.values.shape, np.float32)[::-1]
    scaled = volume.directions * np.array(volume.spacing[::-1])
    to_template = (inverse[:3, :3] @ scaled).astype(np.float32)
    start = (inverse[:3, :3] @ volume.origin + inverse[:3, 3]).astype(np.float32)
    x, y, z = (
        sum(to_template[row, axis] * index[axis] for axis in range(3)) + start[row]
        for row in range(3)
    )
    front, side = -y, abs(x)
    # Between the temporal poles lies what some take for brain: the cut stays in front of it.
    deep = np.clip(14 + (z + 70) * 0.3, 8, 36) + 7 * ((side < 25) & (z > -56))
    face = (z < 12) & (front > deep)
    # The forehead above the brows: what lies in front of the brain's margin.
    face |= (z >= 12) & (z < 66) & (front > 34)
    ears = (side > 60) & (front > -60) & (z > -80) & (z < 5)
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(inverse[:3, :3].reshape(-1).tolist())
    transform.SetTranslation(inverse[:3, 3].tolist())
    distance = sitk.GetArrayFromImage(
        sitk.Resample(template().brain, as_image(volume), transform, sitk.sitkLinear, 99.0)
    )
    return np.asarray(
        (face & (distance > _BRAIN_MARGIN)) | (ears & (distance > _BRAIN_MARGIN_BESIDE_EARS))
    )
