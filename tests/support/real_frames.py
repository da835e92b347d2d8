"""Real frames of pydicom's and pydicom-data's files, as stored, to draw on and to leave alone."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, pixel_array

# name, modality it is filed under, frame
_TO_DRAW_ON = (
    ("US1_UNCR.dcm", "US", 0),
    ("OBXXXX1A.dcm", "US", 0),
    ("gdcm-US-ALOKA-16.dcm", "US", 0),
    ("JPGLosslessP14SV1_1s_1f_8b.dcm", "US", 0),
    ("color3d_jpeg_baseline.dcm", "US", 40),
    ("color-px.dcm", "US", 0),
    ("RG1_UNCR.dcm", "CR", 0),
    ("RG3_UNCR.dcm", "DX", 0),
    ("693_UNCR.dcm", "CT", 0),
    ("explicit_VR-UN.dcm", "CT", 0),
    ("J2K_pixelrep_mismatch.dcm", "CT", 0),
    ("bad_sequence.dcm", "CT", 0),
    ("eCT_Supplemental.dcm", "CT", 0),
    ("MR2_UNCR.dcm", "MR", 0),
    ("MR-SIEMENS-DICOM-WithOverlays.dcm", "MR", 0),
    ("JPEG2000_UNC.dcm", "OT", 0),
    ("SC_rgb_jpeg_dcmd.dcm", "OT", 0),
    ("GDCMJ2K_TextGBR.dcm", "OT", 0),
    ("SC_rgb_dcmtk_ebcr_dcmd.dcm", "OT", 0),
)
# What shows no letter, looked through by eye; of ultrasound the parts inside the sector.
# name, frame, part as rows and columns
_WITHOUT_TEXT: tuple[tuple[str, int, tuple[int, int, int, int] | None], ...] = (
    ("693_UNCR.dcm", 0, None),
    ("explicit_VR-UN.dcm", 0, None),
    ("J2K_pixelrep_mismatch.dcm", 0, None),
    ("bad_sequence.dcm", 0, None),
    ("CT_small.dcm", 0, None),
    ("eCT_Supplemental.dcm", 0, None),
    ("eCT_Supplemental.dcm", 1, None),
    ("MR2_UNCR.dcm", 0, None),
    ("MR-SIEMENS-DICOM-WithOverlays.dcm", 0, None),
    ("examples_overlay.dcm", 0, None),
    ("MR_small.dcm", 0, None),
    *((("emri_small.dcm", n, None)) for n in range(0, 10, 3)),
    ("JPEG2000_UNC.dcm", 0, None),
    ("RG1_UNCR.dcm", 0, None),
    ("RG3_UNCR.dcm", 0, (0, 1300, 0, 1760)),
    ("SC_rgb.dcm", 0, None),
    ("liver.dcm", 0, None),
    ("US1_UNCR.dcm", 0, (165, 335, 90, 550)),
    ("gdcm-US-ALOKA-16.dcm", 0, (130, 380, 60, 300)),
    ("gdcm-US-ALOKA-16.dcm", 0, (130, 380, 350, 600)),
    ("JPGLosslessP14SV1_1s_1f_8b.dcm", 0, (200, 600, 320, 700)),
    *((("color3d_jpeg_baseline.dcm", n, (60, 400, 120, 480))) for n in (0, 30, 60, 90)),
)


@dataclass(frozen=True)
class RealFrame:
    """One frame with what its header says of the pixels."""

    name: str
    modality: str
    values: NDArray[Any]
    photometric: str
    bits_stored: int
    palette: Dataset | None = field(default=None, repr=False)

    def shown(self, values: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return it as a viewer would colour it."""
        values = self.values if values is None else values
        return values if self.palette is None else np.asarray(apply_color_lut(values, self.palette))

    def ends(self) -> tuple[int, int]:
        """Return the palette's entries for black and white."""
        ramp = np.arange(int(self.values.max()) + 1, dtype=self.values.dtype)[None]
        shades = self.shown(ramp).astype(np.int64).sum(axis=2)
        return int(shades.argmin()), int(shades.argmax())


@lru_cache(maxsize=1)
def _paths() -> dict[str, Path]:
    import data_store

    roots = [Path(next(iter(data_store.__path__))), Path(pydicom.__file__).parent / "data"]
    return {path.name: path for root in roots for path in root.rglob("*.dcm")}


def real_frame(name: str, modality: str, index: int) -> RealFrame:
    """Read one frame, RGB or grey or indexes of a palette, with its stored values."""
    path = _paths()[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = dcmread(path, stop_before_pixels=True)
        values = pixel_array(path, index=index)
    photometric = str(ds.PhotometricInterpretation)
    palette = ds if photometric == "PALETTE COLOR" else None
    if photometric.startswith("YBR"):
        photometric = "RGB"
    return RealFrame(name, modality, values, photometric, int(ds.BitsStored), palette)


def frames_to_draw_on() -> Iterator[RealFrame]:
    """Yield a frame of each kind, some with text of their own."""
    for name, modality, index in _TO_DRAW_ON:
        yield real_frame(name, modality, index)


def frames_without_text() -> Iterator[RealFrame]:
    """Yield frames that show no text."""
    for name, index, part in _WITHOUT_TEXT:
        frame = real_frame(name, "OT", index)
        if part:
            top, bottom, left, right = part
            values = np.ascontiguousarray(frame.values[top:bottom, left:right])
            frame = RealFrame(
                name, "OT", values, frame.photometric, frame.bits_stored, frame.palette
            )
        yield frame
