"""Register the template head to a volume (affine, by mutual information)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from .volume import Volume

_TEMPLATE = Path(__file__).with_name("head.npz")
# Starts of the search: rotations in degrees around the axes left, posterior and superior, and
# shifts of the head along the body in mm.
_PITCHES, _ROLLS, _YAWS = (-30, -15, 0, 15, 30), (-20, 0, 20), (-25, 0, 25)
_SHIFTS = (-35, 0, 35)
# Bins of the mutual information.
_BINS = 32
# How many starts are refined, and how many of those to the end.
_REFINED, _FINISHED = 3, 2
# Millimetres that one radian moves a point of the head.
_ARM = 70.0
# Height in mm below the top of the head that its centre is taken from.
_HEAD_HEIGHT = 160.0


@dataclass(frozen=True)
class Template:
    """The template head in MNI space (left, posterior, superior), in voxels of 3 mm.

    Attributes
    ----------
    head
        The image.
    mask
        Head and some air around it.
    tissue
        Where there is tissue, by slice, row and column.
    brain
        Distance from the brain in mm, negative inside.
    """

    head: Any
    mask: Any
    tissue: NDArray[np.bool_]
    brain: Any


@dataclass(frozen=True)
class Alignment:
    """A registered template.

    Attributes
    ----------
    to_patient
        From MNI space to the patient's coordinates, 4 by 4.
    information
        Mutual information at the end, in nats.
    apart
        Greatest distance in mm between the ends of two searches.
    overlap
        Dice overlap of the tissue of both heads, from 0 to 1.
    """

    to_patient: NDArray[np.float64]
    information: float
    apart: float
    overlap: float


@cache
def template() -> Template:
    """Return the template head."""
    # Parallel work is in processes, one core each.
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    with np.load(_TEMPLATE) as stored:
        values = stored["head"]
        seen = np.unpackbits(stored["seen"])[: values.size].reshape(values.shape)
        inner = np.unpackbits(stored["brain"])[: values.size].reshape(values.shape)
        origin, spacing = stored["origin"].tolist(), float(stored["spacing"])

    def image(array: NDArray[Any]) -> Any:
        made = sitk.GetImageFromArray(array)
        made.SetOrigin(origin)
        made.SetSpacing((spacing,) * 3)
        return made

    tissue = sitk.BinaryFillhole(image((values > 25).astype(np.uint8)))
    around = sitk.And(sitk.BinaryDilate(tissue, (4, 4, 4)), image(seen))
    brain = sitk.SignedMaurerDistanceMap(image(inner), False, False, True)
    return Template(
        image(values.astype(np.float32)), around, sitk.GetArrayFromImage(tissue) > 0, brain
    )


def as_image(volume: Volume, values: NDArray[Any] | None = None) -> Any:
    """Return a volume, or other values on its grid, as SimpleITK's image.

    Parameters
    ----------
    volume
        The volume.
    values
        The other values; None for the volume's own.
    """
    made = sitk.GetImageFromArray(volume.values if values is None else values)
    made.SetOrigin(volume.origin.tolist())
    made.SetSpacing(volume.spacing[::-1])
    made.SetDirection(volume.directions.reshape(-1).tolist())
    return made


def tissue_of(volume: Volume) -> NDArray[np.bool_]:
    """Return where a volume is not air."""
    return volume.values > air_threshold(volume)


def air_threshold(volume: Volume) -> float:
    """Return the value that divides air and tissue."""
    if volume.modality == "CT":
        return -300.0
    values = volume.values
    bright = float(np.percentile(values, 98))
    low = float(values.min())
    histogram = sitk.GetImageFromArray(np.clip(values, low, bright))
    filter_ = sitk.OtsuThresholdImageFilter()
    filter_.Execute(histogram)
    threshold = float(filter_.GetThreshold())
    return low + (threshold - low) * 0.5


def register(volume: Volume) -> Alignment | None:
    """Register the template to a volume; None if the volume has nothing like a head.

    Parameters
    ----------
    volume
        The volume. Its coordinates say which way the patient looks, within 30 degrees.
    """
    head = template()
    tissue = tissue_of(volume)
    moving = as_image(volume, _prepared(volume))
    centre = _centre(as_image(volume, tissue.astype(np.uint8)))
    middle = _centre(head.head > 25)
    if centre is None or middle is None:
        return None
    coarse = _smoothed(moving, 8.0)
    fixed = _smoothed(head.head, 8.0)
    mask = sitk.Resample(head.mask, fixed, sitk.Transform(), sitk.sitkNearestNeighbor)
    starts = _starts(fixed, mask, coarse, middle, centre)
    refined = sorted(
        (_search(fixed, mask, coarse, start) for start in starts), key=lambda one: one[0]
    )
    ends = []
    fine, fine_mask = head.head, head.mask
    for _, rigid in refined[:_FINISHED]:
        affine = sitk.AffineTransform(3)
        affine.SetCenter(rigid.GetCenter())
        affine.SetMatrix(rigid.GetMatrix())
        affine.SetTranslation(rigid.GetTranslation())
        _, affine = _optimise(fixed, mask, coarse, affine, 60)
        ends.append(_optimise(fine, fine_mask, _smoothed(moving, 4.0), affine, 60))
    ends.sort(key=lambda one: one[0])
    matrices = [_matrix(one) for _, one in ends]
    return Alignment(
        matrices[0],
        -ends[0][0],
        _furthest(matrices, middle),
        _overlap(head, volume, tissue, ends[0][1]),
    )


def _prepared(volume: Volume) -> NDArray[np.float32]:
    values = volume.values
    if volume.modality == "CT":
        return np.clip(values, -500, 900)
    return np.clip(values, values.min(), np.percentile(values, 99.5))


def _centre(mask: Any) -> NDArray[np.float64] | None:
    """Return the centre of a head's upper part, from the tissue's mask."""
    points = np.argwhere(sitk.GetArrayViewFromImage(mask) > 0)[::7, ::-1].astype(np.float64)
    if len(points) < 500:
        return None
    directions = np.array(mask.GetDirection()).reshape(3, 3)
    places = points * mask.GetSpacing() @ directions.T + mask.GetOrigin()
    top = float(np.percentile(places[:, 2], 99.7))
    upper = places[places[:, 2] > top - _HEAD_HEIGHT]
    return np.asarray(np.median(upper, axis=0))


def _smoothed(image: Any, spacing: float) -> Any:
    """Return an image with voxels of about `spacing` mm."""
    factors = [max(1, round(spacing / edge)) for edge in image.GetSpacing()]
    return sitk.BinShrink(image, factors) if max(factors) > 1 else image


def _method(mask: Any) -> Any:
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(_BINS)
    method.SetInterpolator(sitk.sitkLinear)
    if mask is not None:
        method.SetMetricFixedMask(mask)
    return method


def _starts(
    fixed: Any, mask: Any, moving: Any, middle: NDArray[np.float64], centre: NDArray[np.float64]
) -> list[Any]:
    found: list[tuple[float, int, Any]] = []
    method = _method(mask)
    for pitch, roll, yaw, shift in itertools.product(_PITCHES, _ROLLS, _YAWS, _SHIFTS):
        if (roll and yaw) or (abs(pitch) == 30 and (roll or yaw) and shift):
            continue
        start = sitk.Euler3DTransform()
        start.SetCenter(middle.tolist())
        start.SetRotation(*np.radians([pitch, roll, yaw]).tolist())
        start.SetTranslation((centre - middle + (0, 0, shift)).tolist())
        method.SetInitialTransform(start, False)
        try:
            found.append((method.MetricEvaluate(fixed, moving), len(found), start))
        except RuntimeError:  # no overlap
            continue
    return [start for _, _, start in sorted(found)[:_REFINED]]


def _search(fixed: Any, mask: Any, moving: Any, start: Any) -> tuple[float, Any]:
    """Search from a start by Powell's method: gradients lead nowhere at large angles."""
    method = _method(mask)
    method.SetOptimizerAsPowell(3, 30, 4.0, 0.4, 1e-3)
    method.SetOptimizerScales([_ARM, _ARM, _ARM, 1, 1, 1])
    moved = type(start)(start)
    method.SetInitialTransform(moved, True)
    try:
        method.Execute(fixed, moving)
    except RuntimeError:  # the images came apart
        return 0.0, start
    return method.GetMetricValue(), moved


def _optimise(fixed: Any, mask: Any, moving: Any, start: Any, iterations: int) -> tuple[float, Any]:
    method = _method(mask)
    method.SetOptimizerAsRegularStepGradientDescent(3.0, 0.05, iterations)
    method.SetOptimizerScalesFromPhysicalShift()
    moved = type(start)(start)
    method.SetInitialTransform(moved, True)
    try:
        method.Execute(fixed, moving)
    except RuntimeError:  # the images came apart
        return 0.0, type(start)(start)
    return method.GetMetricValue(), moved


def _matrix(transform: Any) -> NDArray[np.float64]:
    made = np.eye(4)
    made[:3, :3] = np.array(transform.GetMatrix()).reshape(3, 3)
    centre = np.array(transform.GetCenter())
    made[:3, 3] = transform.GetTranslation() + centre - made[:3, :3] @ centre
    return made


def _furthest(matrices: list[NDArray[np.float64]], middle: NDArray[np.float64]) -> float:
    corners = np.array(
        [[*(middle + np.array(c) * 70), 1] for c in itertools.product((-1, 1), repeat=3)]
    )
    ends = [(corners @ matrix.T)[:, :3] for matrix in matrices]
    return float(max(np.linalg.norm(ends[0] - other, axis=1).max() for other in ends))


def _overlap(head: Template, volume: Volume, tissue: NDArray[np.bool_], transform: Any) -> float:
    def on_template(values: NDArray[np.bool_]) -> NDArray[Any]:
        image = as_image(volume, values.astype(np.uint8))
        there = sitk.Resample(image, head.head, transform, sitk.sitkNearestNeighbor)
        return np.asarray(sitk.GetArrayFromImage(there))

    inside, there = on_template(np.ones_like(tissue)), on_template(tissue)
    where = (inside > 0) & (sitk.GetArrayFromImage(head.mask) > 0)
    one, other = head.tissue[where], there[where] > 0
    # Bone and air cells are dark in MR: only the outlines are compared.
    return float(2 * (one & other).sum() / max(1, one.sum() + other.sum()))
