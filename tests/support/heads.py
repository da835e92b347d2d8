"""Heads with their faces, turned into DICOM series with made-up geometry."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

MRICRON = Path("/usr/share/mricron/templates")
MR, ENHANCED_MR, CT = (
    "1.2.840.10008.5.1.4.1.1.4",
    "1.2.840.10008.5.1.4.1.1.4.1",
    "1.2.840.10008.5.1.4.1.1.2",
)
# Directions of growing column and row numbers.
_PLANES = {
    "axial": ((1, 0, 0), (0, 1, 0)),
    "sagittal": ((0, 1, 0), (0, 0, -1)),
    "coronal": ((1, 0, 0), (0, 0, -1)),
}


@dataclass(frozen=True)
class Variant:
    """How a head is scanned: degrees, mm, and shares of the field of view that are cut off."""

    rotation: tuple[float, float, float] = (0, 0, 0)
    shift: tuple[float, float, float] = (0, 0, 0)
    spacing: tuple[float, float, float] = (1, 1, 1)  # column, row, slice
    plane: str = "axial"
    flipped: bool = False
    noise: float = 0.0
    contrast: str = "t1"
    cut_below: float = 0.0
    cut_above: float = 0.0
    bias: float = 0.0


@dataclass
class Head:
    """A head as a scanner has it: stored values by slice, row and column, and geometry."""

    values: NDArray[Any]
    brain: NDArray[np.bool_]
    origin: NDArray[np.float64]
    directions: NDArray[np.float64]
    spacing: tuple[float, float, float]
    modality: str = "MR"
    series: dict[str, Any] = field(default_factory=dict)


@cache
def colin() -> tuple[Any, Any]:
    """Return the head ch2 of Debian's mricron-data, and its brain."""
    head = sitk.ReadImage(str(MRICRON / "ch2.nii.gz"), sitk.sitkFloat32)
    brain = sitk.ReadImage(str(MRICRON / "ch2bet.nii.gz"), sitk.sitkFloat32) > 0
    # Single voxels in the nose are none of it.
    return head, sitk.RelabelComponent(sitk.ConnectedComponent(brain)) == 1


def scan(source: tuple[Any, Any], variant: Variant, seed: int = 0) -> Head:
    """Return a head as a scanner would see it.

    Parameters
    ----------
    source
        Head and brain.
    variant
        How it is scanned.
    seed
        Of the noise.
    """
    head, brain = source
    across, down = (np.array(v, float) for v in _PLANES[variant.plane])
    normal = np.cross(across, down)
    if variant.flipped:
        across, normal = -across, -normal
        down = np.cross(normal, across)
    directions = np.stack([across, down, normal], axis=1)
    turn = sitk.Euler3DTransform()
    turn.SetCenter(head.TransformContinuousIndexToPhysicalPoint([s / 2 for s in head.GetSize()]))
    turn.SetRotation(*np.radians(variant.rotation).tolist())
    turn.SetTranslation(variant.shift)
    lows, highs = _bounds(head, turn.GetInverse())
    extent = highs - lows
    lows[2] += extent[2] * variant.cut_below
    highs[2] -= extent[2] * variant.cut_above
    middle = (lows + highs) / 2
    size = np.ceil(abs(directions.T @ (highs - lows)) / variant.spacing).astype(int)
    grid = sitk.Image(size.tolist(), sitk.sitkFloat32)
    grid.SetSpacing(variant.spacing)
    grid.SetDirection(directions.reshape(-1).tolist())
    grid.SetOrigin((middle - directions @ ((size - 1) / 2 * np.array(variant.spacing))).tolist())
    moved = sitk.GetArrayFromImage(sitk.Resample(head, grid, turn, sitk.sitkLinear, 0.0))
    inside = sitk.Resample(brain, grid, turn, sitk.sitkNearestNeighbor, 0)
    values = _contrast(moved, variant.contrast)
    rng = np.random.default_rng(seed)
    if variant.bias:
        ramp = np.linspace(1 - variant.bias, 1 + variant.bias, values.shape[1])
        values = values * ramp[None, :, None]
    values = values + rng.normal(0, variant.noise, values.shape) if variant.noise else values
    ct = variant.contrast == "ct"
    stored = np.clip(np.rint(values), *((-1024, 3000) if ct else (0, 4000))).astype(np.int16)
    return Head(
        stored,
        sitk.GetArrayFromImage(inside) > 0,
        np.array(grid.GetOrigin()),
        directions,
        variant.spacing,
        "CT" if ct else "MR",
    )


def _bounds(head: Any, turn: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    ends = np.array(
        [
            turn.TransformPoint(head.TransformContinuousIndexToPhysicalPoint(index))
            for index in itertools.product(*((-0.5, size - 0.5) for size in head.GetSize()))
        ]
    )
    return ends.min(axis=0), ends.max(axis=0)


def _contrast(values: NDArray[Any], contrast: str) -> NDArray[Any]:
    """Return T1-weighted values as they are, or as another contrast would show them."""
    share = values / max(1.0, float(np.percentile(values, 99.5)))
    if contrast == "t1":
        return share * 1000
    if contrast == "t2":
        return np.where(share < 0.12, share * 3000, (1.1 - np.clip(share, 0, 1)) * 900)
    if contrast == "flair":
        return np.where(share < 0.3, share * 1500, 450 + 500 * np.sin(share * 6) ** 2)
    # CT: what is dark inside the head is bone, what is dark outside is air.
    tissue = sitk.GetImageFromArray((share > 0.12).astype(np.uint8))
    body = sitk.GetArrayFromImage(
        sitk.BinaryFillhole(sitk.BinaryMorphologicalClosing(tissue, (6, 6, 6)))
    )
    soft = np.where(share > 0.75, -80, 20 + 30 * share)
    return np.where(body == 0, -1000, np.where(share > 0.2, soft, 900))


def write_series(
    head: Head,
    folder: Path,
    syntax: UID = ExplicitVRLittleEndian,
    enhanced: bool = False,
    study: str = "",
    **header: Any,
) -> list[Path]:
    """Write a head as a series of DICOM files, or as one enhanced file.

    Parameters
    ----------
    head
        The head.
    folder
        Folder for the files.
    syntax
        Transfer syntax: native, or RLE Lossless.
    enhanced
        Whether to write one multi-frame file.
    study
        StudyInstanceUID; a new one by default.
    header
        More attributes by keyword.
    """
    folder.mkdir(parents=True, exist_ok=True)
    common = _common(head, study or generate_uid(), header)
    if enhanced:
        ds = _file(common, ENHANCED_MR, generate_uid())
        _write_enhanced(ds, head)
        return [_save(ds, folder / "volume.dcm", syntax)]
    paths = []
    for number, frame in enumerate(head.values):
        ds = _file(common, CT if head.modality == "CT" else MR, generate_uid())
        ds.InstanceNumber = number + 1
        ds.ImagePositionPatient = _decimal(_position(head, number))
        ds.ImageOrientationPatient = _decimal(head.directions[:, :2].T.reshape(-1))
        ds.PixelSpacing = _decimal((head.spacing[1], head.spacing[0]))
        ds.SliceThickness = head.spacing[2]
        ds.PixelData = frame.astype("<i2").tobytes()
        paths.append(_save(ds, folder / f"{number:04d}.dcm", syntax))
    return paths


def _decimal(numbers: Any) -> list[str]:
    return [f"{float(v):.6f}".rstrip("0").rstrip(".") for v in numbers]


def _position(head: Head, number: int) -> NDArray[np.float64]:
    return np.asarray(head.origin + head.directions[:, 2] * head.spacing[2] * number)


def _common(head: Head, study: str, header: dict[str, Any]) -> Dataset:
    ds = Dataset()
    ds.PatientName, ds.PatientID = "Testova^Hlava", "HEAD-4711"
    ds.PatientBirthDate, ds.PatientSex = "19600203", "F"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study, generate_uid()
    ds.FrameOfReferenceUID = generate_uid()
    ds.Modality, ds.StudyDate, ds.StudyTime = head.modality, "20250301", "101010"
    ds.BodyPartExamined, ds.SeriesDescription = "HEAD", "T1w mprage"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL" if head.modality == "CT" else "M"]
    ds.Manufacturer, ds.AccessionNumber, ds.StudyID = "SIEMENS", "A1", "1"
    ds.ReferringPhysicianName, ds.SeriesNumber = "", 3
    ds.Rows, ds.Columns = head.values.shape[1:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    if head.modality == "CT":
        ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = 1, 0, "HU"
    for keyword, value in header.items():
        setattr(ds, keyword, value)
    return ds


def _file(common: Dataset, sop_class: str, uid: str) -> Dataset:
    ds = Dataset()
    ds.update(common)
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, uid
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = sop_class, uid
    return ds


def _write_enhanced(ds: Dataset, head: Head) -> None:
    ds.NumberOfFrames = len(head.values)
    ds.InstanceNumber = 1
    frames = []
    for number in range(len(head.values)):
        frame, position, orientation, measures = (Dataset() for _ in range(4))
        position.ImagePositionPatient = _decimal(_position(head, number))
        orientation.ImageOrientationPatient = _decimal(head.directions[:, :2].T.reshape(-1))
        measures.PixelSpacing = _decimal((head.spacing[1], head.spacing[0]))
        measures.SliceThickness = head.spacing[2]
        frame.PlanePositionSequence, frame.PlaneOrientationSequence = [position], [orientation]
        frame.PixelMeasuresSequence = [measures]
        frames.append(frame)
    ds.SharedFunctionalGroupsSequence = [Dataset()]
    ds.PerFrameFunctionalGroupsSequence = frames
    ds.PixelData = head.values.astype("<i2").tobytes()


def _save(ds: Dataset, path: Path, syntax: UID) -> Path:
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if syntax.is_encapsulated:
        ds.compress(syntax, generate_instance_uid=False)
    ds.save_as(path, enforce_file_format=True)
    return path
