"""Series of CT slices with what a selection of series looks at."""

from __future__ import annotations

from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

from support.dicom import ct, save

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)


def series(
    folder: Path,
    study: str,
    number: int,
    slices: int,
    description: str,
    thickness: float | None = 1.0,
    image_type: tuple[str, ...] = ("ORIGINAL", "PRIMARY", "AXIAL"),
    body_part: str = "CHEST",
    patient_id: str = "756203/1234",
) -> list[Path]:
    """Write a series of parallel slices `thickness` mm apart, with Instance Numbers from 1."""
    made = []
    for index in range(slices):
        uid = f"{study}.{number}"
        path = ct(
            folder / f"{uid}.{index + 1}.dcm",
            study,
            f"{uid}.{index + 1}",
            fill=index,
            patient_id=patient_id,
        )
        ds = dcmread(path)
        ds.SeriesInstanceUID, ds.SeriesNumber, ds.InstanceNumber = uid, number, index + 1
        ds.SeriesDescription, ds.ImageType = description, list(image_type)
        ds.BodyPartExamined, ds.SliceThickness = body_part, thickness
        ds.ImagePositionPatient = [0, 0, index * (thickness or 1)]
        ds.ImageOrientationPatient, ds.PixelSpacing = list(AXIAL), [1, 1]
        ds.FrameOfReferenceUID = f"{study}.9"
        made.append(save(ds, path))
    return made


def changed(path: Path, **values: object) -> Path:
    """Write elements of a file anew."""
    ds: Dataset = dcmread(path)
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return save(ds, path)
