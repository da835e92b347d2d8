"""Small DICOM files with what a test wants in their headers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian


def ct(
    path: Path,
    study: str,
    sop: str,
    patient: str = "Nováková^Žofie",
    fill: int = 0,
    patient_id: str = "756203/1234",
) -> Path:
    """Write a 32 x 32 CT slice; `fill` is its every pixel."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, sop
    if study:
        ds.StudyInstanceUID = study
    ds.SeriesInstanceUID = f"{study or '1.2.826'}.1"
    ds.PatientName, ds.PatientID = patient, patient_id
    ds.PatientBirthDate, ds.PatientSex = "19750312", "F"
    ds.StudyDate, ds.StudyTime, ds.AccessionNumber = "20240102", "101500", "ACC-77123"
    ds.StudyID, ds.ReferringPhysicianName = "77", "Dvořák^Jiří"
    ds.Modality, ds.Manufacturer = "CT", "SIEMENS"
    ds.SeriesNumber = ds.InstanceNumber = 1
    ds.Rows = ds.Columns = 32
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit, ds.PixelRepresentation = 15, 0
    ds.PixelData = np.full((32, 32), fill, np.uint16).tobytes()
    return save(ds, path)


def save(ds: Dataset, path: Path) -> Path:
    """Write a dataset as an explicit VR little endian file."""
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path
