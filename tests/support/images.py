"""Image files with given frames: any layout of pixels, any transfer syntax that can be written."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import get_encoder
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    UltrasoundImageStorage,
)

SOP_CLASSES = {
    "US": "1.2.840.10008.5.1.4.1.1.6.1",
    "USM": "1.2.840.10008.5.1.4.1.1.3.1",
    "CR": "1.2.840.10008.5.1.4.1.1.1",
    "DX": "1.2.840.10008.5.1.4.1.1.1.1",
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "OT": "1.2.840.10008.5.1.4.1.1.7",
}


def header(modality: str, sop: str = "1.2.3.4.5") -> Dataset:
    """Return the header of an image of that modality, pixels not described yet."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID, ds.SOPInstanceUID = SOP_CLASSES.get(modality, UltrasoundImageStorage), sop
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = "Nováková^Žofie", "756203/1234", "19750312"
    ds.StudyDate, ds.StudyTime, ds.AccessionNumber = "20240102", "101500", "ACC-77123"
    ds.PatientSex, ds.StudyID, ds.ReferringPhysicianName = "F", "77", ""
    ds.Modality = "US" if modality == "USM" else modality
    ds.ImageType = ["DERIVED", "SECONDARY"]
    ds.SeriesNumber = ds.InstanceNumber = 1
    ds.Manufacturer = "ACME"
    return ds


def describe(
    ds: Dataset, frames: NDArray[Any], photometric: str, bits_stored: int, planar: int = 0
) -> None:
    """Describe frames, which are always frames x rows x columns (x samples), in a header."""
    ds.SamplesPerPixel = 1 if frames.ndim == 3 else frames.shape[3]
    ds.PhotometricInterpretation = photometric
    ds.Rows, ds.Columns = frames.shape[1:3]
    ds.BitsAllocated = frames.dtype.itemsize * 8
    ds.BitsStored, ds.HighBit = bits_stored, bits_stored - 1
    ds.PixelRepresentation = int(np.issubdtype(frames.dtype, np.signedinteger))
    if len(frames) > 1:
        ds.NumberOfFrames = len(frames)
    if frames.ndim == 4:
        ds.PlanarConfiguration = planar


def write(
    path: Path,
    ds: Dataset,
    frames: NDArray[Any],
    photometric: str,
    syntax: UID = ExplicitVRLittleEndian,
    bits_stored: int = 0,
    planar: int = 0,
) -> Path:
    """Write frames into a file, compressed as the syntax says.

    JPEG baseline is coded by Pillow (YBR_FULL_422 when in colour), all else by pydicom.
    """
    bits = bits_stored or frames.dtype.itemsize * 8
    describe(ds, frames, photometric, bits, planar)
    if syntax == JPEGBaseline8Bit:
        coded = []
        for frame in frames:
            out = io.BytesIO()
            Image.fromarray(frame).save(out, "JPEG", quality=90, subsampling=1)
            coded.append(out.getvalue())
        ds.PixelData = encapsulate(coded)
        if frames.ndim == 4:
            ds.PhotometricInterpretation = "YBR_FULL_422"
        ds.LossyImageCompression, ds.LossyImageCompressionMethod = "01", "ISO_10918_1"
        ds.LossyImageCompressionRatio = 10
    elif syntax.is_encapsulated:
        if syntax == JPEG2000Lossless and frames.ndim == 4:
            ds.PhotometricInterpretation = "YBR_RCT"
        options: dict[str, Any] = {
            "rows": ds.Rows,
            "columns": ds.Columns,
            "number_of_frames": 1,
            "samples_per_pixel": ds.SamplesPerPixel,
            "bits_allocated": ds.BitsAllocated,
            "bits_stored": bits,
            "pixel_representation": ds.PixelRepresentation,
            "photometric_interpretation": ds.PhotometricInterpretation,
            "planar_configuration": 0,
        }
        encoder = get_encoder(syntax)
        ds.PixelData = encapsulate([encoder.encode(frame, **options) for frame in frames])
    else:
        stored = frames if frames.ndim == 3 or not planar else frames.transpose(0, 3, 1, 2)
        if photometric == "YBR_FULL_422":
            stored = np.stack(
                (
                    frames[:, :, ::2, 0],
                    frames[:, :, 1::2, 0],
                    frames[:, :, ::2, 1],
                    frames[:, :, ::2, 2],
                ),
                axis=-1,
            )
        order = ">" if syntax == ExplicitVRBigEndian else "<"
        data = np.ascontiguousarray(stored).astype(frames.dtype.newbyteorder(order)).tobytes()
        ds.PixelData = data + b"\0" * (len(data) % 2)
    ds["PixelData"].VR = "OB" if syntax.is_encapsulated or ds.BitsAllocated == 8 else "OW"
    ds["PixelData"].is_undefined_length = syntax.is_encapsulated
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.save_as(path, enforce_file_format=True)
    return path
