"""Find the areas to blank by the header alone: known devices, and outside ultrasound regions."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import yaml
from pydicom.dataset import Dataset

from .boxes import Box
from .settings import PixelSettings, RegionRule, parse_rules

# Regions that cover less than this part of the image are taken for wrong, and ignored.
_LEAST_COVERED = 0.1


@lru_cache(maxsize=1)
def builtin_rules() -> tuple[RegionRule, ...]:
    """Return the rules of `regions.yaml`."""
    path = Path(__file__).with_name("regions.yaml")
    return parse_rules(yaml.safe_load(path.read_text("utf-8")), path.name)


def known_regions(ds: Dataset, settings: PixelSettings) -> list[Box]:
    """Return the boxes to blank in every frame of an image, by its header alone.

    The first rule that matches applies; the profile's precede those of `regions.yaml`.

    Parameters
    ----------
    ds
        The image's header.
    settings
        The part ``pixels`` of the profile.
    """
    rows, columns = int(ds.Rows), int(ds.Columns)
    boxes: list[Box] = []
    for rule in (*settings.regions, *builtin_rules()):
        if _applies(rule, ds, rows, columns):
            boxes += rule.blank
            break
    if settings.outside_ultrasound_regions == "blank":
        boxes += _outside(ultrasound_regions(ds), rows, columns)
    clipped = (box.clipped(rows, columns) for box in boxes)
    return [box for box in clipped if box]


def ultrasound_regions(ds: Dataset) -> list[Box]:
    """Return the ultrasound regions (PS3.3 C.8.5.5.1.1), empty when they are implausible."""
    rows, columns = int(ds.Rows), int(ds.Columns)
    found = []
    for item in ds.get("SequenceOfUltrasoundRegions") or ():
        try:
            box = Box(
                int(item.RegionLocationMinX0),
                int(item.RegionLocationMinY0),
                int(item.RegionLocationMaxX1) + 1,
                int(item.RegionLocationMaxY1) + 1,
            ).clipped(rows, columns)
        except (AttributeError, TypeError, ValueError):
            return []
        if box is None:
            return []
        found.append(box)
    area = rows * columns - sum(
        (b.right - b.left) * (b.bottom - b.top) for b in _outside(found, rows, columns)
    )
    return found if area >= _LEAST_COVERED * rows * columns else []


def _applies(rule: RegionRule, ds: Dataset, rows: int, columns: int) -> bool:
    return (
        rule.modality in ("", str(ds.get("Modality", "")))
        and bool(rule.manufacturer.search(str(ds.get("Manufacturer", "") or "")))
        and bool(rule.model.search(str(ds.get("ManufacturerModelName", "") or "")))
        and rule.rows in (0, rows)
        and rule.columns in (0, columns)
    )


def _outside(regions: list[Box], rows: int, columns: int) -> list[Box]:
    """Return boxes that cover exactly what the regions leave out; none without regions."""
    if not regions:
        return []
    found: list[Box] = []
    edges = sorted({0, rows, *(b.top for b in regions), *(b.bottom for b in regions)})
    for top, bottom in pairwise(edges):
        at = 0
        across = [(b.left, b.right) for b in regions if b.top <= top and b.bottom >= bottom]
        for left, right in sorted(across):
            if left > at:
                found.append(Box(at, top, left, bottom))
            at = max(at, right)
        if at < columns:
            found.append(Box(at, top, columns, bottom))
    return found
