"""How conversions of a series by dcm2niix differ before and after de-identification."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

# Keys of a sidecar that say who, where or when, or that are free text of people: a sequence's
# author signs in WipMemBlock. All others describe the acquisition.
NOT_PHYSICS = frozenset(
    {
        "AccessionNumber", "AcquisitionDate", "AcquisitionDateTime", "BidsGuess",
        "ConversionSoftware", "ConversionSoftwareVersion", "DeidentificationMethod",
        "DeidentificationMethodCodeSequence", "DeviceSerialNumber", "ImageComments",
        "InstitutionAddress", "InstitutionName", "InstitutionalDepartmentName", "PatientAge",
        "PatientBirthDate", "PatientID", "PatientName", "PatientSex", "PatientSize",
        "PatientWeight", "ProcedureStepDescription", "ReferringPhysicianName",
        "SeriesInstanceUID", "StationName", "StudyComments", "StudyDescription", "StudyID",
        "StudyInstanceUID", "WipMemBlock",
    }
)  # fmt: skip
# Descriptions that people write. They are compared and shown, but they are not physics.
TEXTS = frozenset({"ProtocolName", "SeriesDescription"})
_SAME_PLACE = 1e-4  # mm, and voxels of an affine


@dataclass
class Volume:
    """One converted image.

    Attributes
    ----------
    affine
        From voxels to mm, 3 x 4.
    shape
        The size along each axis.
    coding
        Data type, slope and intercept of the voxels.
    voxels
        Their bytes.
    sidecar
        What dcm2niix says about the acquisition.
    bval, bvec
        b-values and directions of the diffusion gradient, as text.
    """

    affine: np.ndarray
    shape: tuple[int, ...]
    coding: tuple[object, ...]
    voxels: bytes
    sidecar: dict[str, Any] = field(default_factory=dict)
    bval: str = ""
    bvec: str = ""


@dataclass
class Difference:
    """How two conversions of a series differ.

    Attributes
    ----------
    physics
        What differs of images, gradients and physical keys.
    texts
        Which descriptions differ.
    mirrored
        Whether an image came out with the other handedness, or with slices in reverse.
    """

    physics: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    mirrored: bool = False


def convert(program: Path, files: Sequence[Path], work: Path) -> dict[str, Volume]:
    """Convert files with dcm2niix, and read what it wrote.

    Parameters
    ----------
    program
        The path of dcm2niix.
    files
        The files, in the order in which dcm2niix shall meet them.
    work
        A folder for what is in between; it must not exist, and does not afterwards.

    Returns
    -------
    dict of str to Volume
        By the suffix that dcm2niix gave.
    """
    source, out = work / "in", work / "out"
    source.mkdir(parents=True)
    out.mkdir()
    for number, path in enumerate(files):
        (source / f"{number:06}.dcm").symlink_to(path.resolve())
    options = ["-f", "x", "-z", "n", "-b", "y", "-ba", "n", "-o", str(out)]
    # Its exit code is not 0 for a folder without images, too.
    subprocess.run([str(program), *options, str(source)], check=False, capture_output=True)
    made = {}
    for path in sorted(out.glob("*.nii")):
        volume = read_nifti(path)
        for suffix in ("bval", "bvec"):
            if (beside := path.with_suffix("." + suffix)).exists():
                setattr(volume, suffix, " ".join(beside.read_text().split()))
        if (sidecar := path.with_suffix(".json")).exists():
            volume.sidecar = json.loads(sidecar.read_text("utf-8", "replace"))
        made[path.stem] = volume
    shutil.rmtree(work)
    return made


def read_nifti(path: Path) -> Volume:
    """Read a NIfTI-1 file: a header of 348 bytes, extensions, voxels."""
    data = path.read_bytes()
    dims = struct.unpack_from("<8h", data, 40)
    (kind,) = struct.unpack_from("<h", data, 70)
    offset, slope, intercept = struct.unpack_from("<3f", data, 108)
    affine = np.frombuffer(data, "<f4", 12, 280).reshape(3, 4).astype(float)
    # As text: two values that are not numbers are the same.
    coding = (kind, str(slope), str(intercept))
    return Volume(affine, dims[1 : dims[0] + 1], coding, data[int(offset) :])


def compare(before: dict[str, Volume], after: dict[str, Volume]) -> Difference:
    """Return how two conversions of a series differ.

    Parameters
    ----------
    before, after
        The images by suffix.
    """
    physics: dict[str, None] = {}
    texts: dict[str, None] = {}
    mirrored = False
    if before.keys() != after.keys():
        physics[f"images {sorted(before)} -> {sorted(after)}"] = None
    for name in sorted(before.keys() & after.keys()):
        old, new = before[name], after[name]
        if (old.shape, old.coding) != (new.shape, new.coding):
            physics["shape or scaling"] = None
        elif old.voxels != new.voxels:
            physics["voxels"] = None
        if not np.allclose(old.affine, new.affine, rtol=0, atol=_SAME_PLACE):
            physics["affine"] = None
        mirrored |= _is_mirrored(old, new)
        for part in ("bval", "bvec"):
            if getattr(old, part) != getattr(new, part):
                physics[part] = None
        for key in sorted((old.sidecar.keys() | new.sidecar.keys()) - NOT_PHYSICS):
            if old.sidecar.get(key) != new.sidecar.get(key):
                (texts if key in TEXTS else physics)[key] = None
    return Difference(list(physics), list(texts), mirrored)


def _is_mirrored(old: Volume, new: Volume) -> bool:
    """Return whether an image is seen in a mirror, by its affine or by its voxels."""
    handed = [np.sign(np.linalg.det(one.affine[:, :3])) for one in (old, new)]
    if handed[0] != handed[1]:
        return True
    if old.shape != new.shape or old.voxels == new.voxels:
        return False
    if not np.allclose(old.affine, new.affine, rtol=0, atol=_SAME_PLACE):
        return False
    count = int(np.prod(old.shape))
    width = len(old.voxels) // max(1, count)
    if not count or width * count != len(old.voxels) or len(new.voxels) != len(old.voxels):
        return False
    was, now = (
        np.frombuffer(one.voxels, f"V{width}").reshape(one.shape, order="F") for one in (old, new)
    )
    return any(np.array_equal(np.flip(was, axis), now) for axis in range(min(3, was.ndim)))
