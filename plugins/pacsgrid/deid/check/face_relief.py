"""Check that a face is gone: render the head from the front before and after.

The remover finds a face by a template. This module knows no template: it looks for the skin, and
for what protrudes from it as a nose does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset

from ...errors import HeldError
from .faces import MaskOf
from .frames import iter_frames

# Edge in mm of the voxels that are looked at.
_EDGE = 2.0
# A nose is narrower than this, in mm, and protrudes by more than _NOSE mm.
_WIDE, _NOSE = 52.0, 6.0
# A surface that moved by less than this, in mm, still shows its relief.
_MOVED = 4.0
# The face around the nose, in mm, and how much of it may stay.
_RADIUS, _LEFT = 50.0, 0.03
# How alike the fine reliefs may be, and how near to the tip in mm nothing
# may protrude.
_ALIKE, _TIP = 0.6, 15.0
# Where no nose is seen: the lowest part of the front, in mm across and in height.
_FRONT, _LOWEST, _LEFT_THERE = 35.0, 40.0, 0.10


@dataclass(frozen=True)
class Relief:
    """The front of a head as seen from the front, by height and from right to left.

    Attributes
    ----------
    before, after
        Depth in mm of the first tissue; NaN where there is none.
    spacing
        Distance in mm of its pixels, vertically and horizontally.
    nose
        Row and column of the tip of the nose, None if none is seen.
    """

    before: NDArray[np.float32]
    after: NDArray[np.float32]
    spacing: tuple[float, float]
    nose: tuple[int, int] | None


def check_face_gone(files: Sequence[Path], mask_of: MaskOf) -> Relief:
    """Refuse a removal that leaves a face.

    Parameters
    ----------
    files
        The source files of a series.
    mask_of
        Which pixels are removed.

    Returns
    -------
    Relief
        The surface before and after.

    Raises
    ------
    HeldError
        ``face-left``: part of the face stays, or something that looks like a nose.
    """
    relief = render(files, mask_of)
    before, after = relief.before, relief.after
    places: Any = np.indices(before.shape)
    rows, columns = places
    skin = np.isfinite(before)
    if relief.nose is not None:
        row, column = relief.nose
        far = np.hypot(
            (rows - row) * relief.spacing[0] - 10, (columns - column) * relief.spacing[1]
        )
        where = skin & (far < _RADIUS) & (before < float(before[row, column]) + _RADIUS)
        allowed = _LEFT
    else:
        lowest = np.argwhere(skin.sum(axis=1) * relief.spacing[1] > 60)
        if not lowest.size:
            raise _left("no head is seen from the front")
        middle = float(np.median(columns[skin]))
        where = skin & (abs(columns - middle) * relief.spacing[1] < _FRONT)
        where &= (rows - int(lowest.min())) * relief.spacing[0] < _LOWEST
        allowed = _LEFT_THERE
    stays = where & np.isfinite(after) & (after - before < _MOVED)
    if not where.any() or stays.sum() > allowed * where.sum():
        share = 100 * stays.sum() / max(1, where.sum())
        raise _left(f"{share:.0f} % of the skin around the nose stays")
    if relief.nose is not None and likeness(relief, where) > _ALIKE:
        raise _left("the surface still has the relief of the face")
    if relief.nose is not None:
        tip = np.hypot((rows - row) * relief.spacing[0], (columns - column) * relief.spacing[1])
        protrudes = _protrusion(after, relief.spacing[1])
        if float(protrudes[where & (tip < _TIP)].max(initial=0)) > _NOSE:
            raise _left("something still protrudes as a nose does")
    return relief


def likeness(relief: Relief, where: NDArray[np.bool_]) -> float:
    """Return how alike the fine reliefs before and after are, from -1 to 1.

    Parameters
    ----------
    relief
        Both surfaces.
    where
        The part to compare.
    """
    fine = []
    known = where & np.isfinite(relief.before) & np.isfinite(relief.after)
    for depth in (relief.before, relief.after):
        # Without what any head's front has: a slope in both directions and a curve.
        places: Any = np.indices(depth.shape)
        rows, columns = places[0][known] * 1.0, places[1][known] * 1.0
        shape = np.stack([np.ones_like(rows), rows, columns, rows**2, columns**2, rows * columns])
        found: Any = np.linalg.lstsq(shape.T, depth[known].astype(np.float64), rcond=None)
        smooth = shape.T @ found[0]
        fine.append(depth[known] - smooth)
    if min(values.size for values in fine) < 10 or min(values.std() for values in fine) < 1e-6:
        return 0.0
    return float(np.corrcoef(*fine)[0, 1])


def _left(what: str) -> HeldError:
    return HeldError(
        "face-left",
        f"the face was not removed as it should be: {what}; deface it at the source, or have a "
        "steward look",
    )


def render(files: Sequence[Path], mask_of: MaskOf) -> Relief:
    """Return the surface of a head from the front, before and after.

    Parameters
    ----------
    files
        The source files of a series.
    mask_of
        Which pixels are removed.
    """
    values, gone, spacing = _upright(files, mask_of)
    tissue = _head(values, str(dcmread(files[0], specific_tags=["Modality"]).get("Modality", "")))
    before = _front(tissue, spacing[1])
    # What lay behind the removed part is its surface now, be it a cavity: that shows no face.
    remaining = _front(tissue & ~gone, spacing[1])
    behind = np.where(np.isfinite(remaining), remaining, np.inf)[:, None]
    visible = gone & (np.arange(gone.shape[1])[None, :, None] * spacing[1] < behind)
    last = gone.shape[1] - np.argmax(visible[:, ::-1], axis=1)
    cut = np.where(visible.any(axis=1), last * spacing[1], np.inf)
    after = np.fmin(remaining, cut).astype(np.float32)
    after[~np.isfinite(after)] = np.nan
    pixel = (spacing[0], spacing[2])
    return Relief(before, after, pixel, _nose(before, pixel))


def _nose(before: NDArray[np.float32], spacing: tuple[float, float]) -> tuple[int, int] | None:
    protrudes = _protrusion(before, spacing[1])
    skin = np.isfinite(before)
    if not skin.any():
        return None
    columns = np.nonzero(skin)[1]
    middle = float(np.median(columns))
    aside = abs(np.arange(before.shape[1]) - middle) * spacing[1] > 50
    protrudes[:, aside] = 0
    # The neck, the shoulders and the edge of the head are no front.
    nearest = float(np.nanpercentile(before, 1))
    protrudes[~skin | (before > nearest + 40)] = 0
    row, column = np.unravel_index(int(np.argmax(protrudes)), protrudes.shape)
    return (int(row), int(column)) if protrudes[row, column] > _NOSE else None


def _protrusion(depth: NDArray[np.float32], spacing: float) -> NDArray[np.float32]:
    """Return by how much each point protrudes from the flanks on both of its sides, in mm."""
    reach = max(2, round(_WIDE / 2 / spacing))
    filled = np.where(np.isfinite(depth), depth, np.nan)
    flank = np.full((2, *depth.shape), np.nan, np.float32)
    flank[0, :, reach:] = filled[:, :-reach]
    flank[1, :, :-reach] = filled[:, reach:]
    both = np.minimum(flank[0], flank[1])
    # A nose has the cheeks beside it within 40 mm; the side of the head falls off further.
    made = np.where(np.isfinite(both) & (both - depth < 40), both - depth, 0)
    return np.nan_to_num(made).astype(np.float32)


def _front(tissue: NDArray[np.bool_], spacing: float) -> NDArray[np.float32]:
    first = np.argmax(tissue, axis=1) * spacing
    return np.where(tissue.any(axis=1), first, np.nan).astype(np.float32)


def _head(values: NDArray[np.float32], modality: str) -> NDArray[np.bool_]:
    """Return the largest connected part that is not air."""
    limit = -350.0 if modality == "CT" else 0.15 * float(np.percentile(values, 98))
    image = sitk.GetImageFromArray((values > limit).astype(np.uint8))
    opened = sitk.BinaryMorphologicalOpening(sitk.Median(image, (1, 1, 1)), (1, 1, 1))
    parts = sitk.RelabelComponent(sitk.ConnectedComponent(opened), 0, True)
    return np.asarray(sitk.GetArrayFromImage(parts) == 1)


@dataclass(frozen=True)
class _Slice:
    path: Path
    frame: int
    place: NDArray[np.float64]


def _upright(
    files: Sequence[Path], mask_of: MaskOf
) -> tuple[NDArray[np.float32], NDArray[np.bool_], tuple[float, float, float]]:
    """Return a series by height, depth from the front, and from right to left, with its mask."""
    slices: list[_Slice] = []
    axes: NDArray[np.float64] | None = None
    edges = (1.0, 1.0)
    rescaled: dict[Path, tuple[float, float]] = {}
    for path in files:
        ds = dcmread(path, stop_before_pixels=True)
        rescaled[path] = float(ds.get("RescaleSlope") or 1), float(ds.get("RescaleIntercept") or 0)
        for frame, item in enumerate(ds.get("PerFrameFunctionalGroupsSequence") or [Dataset()]):
            orientation = [float(v) for v in _value(ds, item, "ImageOrientationPatient")]
            place = np.array([float(v) for v in _value(ds, item, "ImagePositionPatient")])
            across, down = np.array(orientation[:3]), np.array(orientation[3:])
            if axes is None:
                axes = np.stack([np.cross(across, down), down, across])
                apart = [float(v) for v in _value(ds, item, "PixelSpacing")]
                edges = (apart[0], apart[1])
            slices.append(_Slice(path, frame, place))
    assert axes is not None
    slices.sort(key=lambda one: float(one.place @ axes[0]))
    along = np.array([one.place @ axes[0] for one in slices])
    steps = np.diff(along)
    step = float(np.median(steps[steps > 0.05])) if (steps > 0.05).any() else 1.0
    every = (
        max(1, int(_EDGE / step)),
        max(1, int(_EDGE / edges[0])),
        max(1, int(_EDGE / edges[1])),
    )
    chosen: dict[tuple[Path, int], int] = {}
    seen: set[int] = set()
    for one, at in zip(slices, along, strict=True):
        number = round((at - along[0]) / step)
        if number % every[0] == 0 and number not in seen:
            seen.add(number)
            chosen[one.path, one.frame] = len(chosen)
    planes: list[Any] = [None] * len(chosen)
    masks: list[Any] = [None] * len(chosen)
    for path in dict.fromkeys(one.path for one in slices):
        slope, intercept = rescaled[path]
        if not any((path, frame) in chosen for frame in range(len(slices))):
            continue
        for frame, values in enumerate(iter_frames(path)):
            chosen_as = chosen.get((path, frame))
            if chosen_as is None:
                continue
            planes[chosen_as] = values[:: every[1], :: every[2]] * slope + intercept
            masks[chosen_as] = mask_of(path, frame, *values.shape)[:: every[1], :: every[2]]
    spacing = (step * every[0], edges[0] * every[1], edges[1] * every[2])
    return _turned(np.stack(planes), np.stack(masks), axes, spacing)


def _turned(
    values: NDArray[Any],
    masks: NDArray[Any],
    axes: NDArray[np.float64],
    spacing: tuple[float, float, float],
) -> tuple[NDArray[np.float32], NDArray[np.bool_], tuple[float, float, float]]:
    """Turn arrays so that their axes point up, to the back and to the left of the patient."""
    order: list[int] = []
    for axis in (2, 1, 0):
        order.append(max((n for n in range(3) if n not in order), key=lambda n: abs(axes[n][axis])))
    flips = tuple(place for place, axis in enumerate((2, 1, 0)) if axes[order[place]][axis] < 0)
    turned = [np.flip(array.transpose(order), flips) for array in (values, masks)]
    return (
        turned[0].astype(np.float32),
        turned[1].astype(bool),
        (spacing[order[0]], spacing[order[1]], spacing[order[2]]),
    )


def _value(ds: Dataset, frame: Dataset, keyword: str) -> Any:
    """Return an attribute of a frame, which stands in its groups, in the shared ones or above."""
    for group in (frame, *(ds.get("SharedFunctionalGroupsSequence") or ())):
        for element in group:
            if element.VR == "SQ":
                for item in element.value:
                    if keyword in item:
                        return item.get(keyword)
    return ds.get(keyword)
