"""Convert series with dcm2niix before and after de-identification, and compare what comes out.

The folder holds DICOM files in any arrangement. Files of one series in one folder are converted
together, once as they are and once as the profile leaves them. Equal must be: the voxels, the
affine, b-values and gradient directions, and the keys of the JSON sidecar that describe the
acquisition. The exit code is 1 when less than the mark is equal, or a series comes out mirrored.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from pacsgrid.deid import Pseudonyms, StudyProcessor, load_profile
from pacsgrid.deid.profile import Profile

MARK = 0.99
# Says who, where, when, or by which program; the rest of a sidecar describes the acquisition.
NOT_PHYSICS = frozenset(
    {
        "AccessionNumber", "AcquisitionDate", "AcquisitionDateTime", "BidsGuess",
        "ConversionSoftware", "ConversionSoftwareVersion", "DeidentificationMethod",
        "DeidentificationMethodCodeSequence", "DeviceSerialNumber", "ImageComments",
        "InstitutionAddress", "InstitutionName", "InstitutionalDepartmentName", "PatientAge",
        "PatientBirthDate", "PatientID", "PatientName", "PatientSex", "PatientSize",
        "PatientWeight", "ProcedureStepDescription", "ReferringPhysicianName",
        "SeriesInstanceUID", "StationName", "StudyComments", "StudyDescription", "StudyID",
        "StudyInstanceUID",
    }
)  # fmt: skip
_DATATYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 128: "3u1", 256: "i1", 512: "u2", 768: "u4",
}  # fmt: skip


@dataclass
class Volume:
    """One converted image: what is compared of it."""

    affine: np.ndarray
    shape: tuple[int, ...]
    voxels: bytes
    sidecar: dict[str, Any] = field(default_factory=dict)
    bval: str = ""
    bvec: str = ""


@dataclass
class Series:
    """The files of one series in one folder, and how its conversions differ."""

    name: str
    files: list[Path]
    images: int = 0
    differences: list[str] = field(default_factory=list)
    held: Counter[str] = field(default_factory=Counter)
    mirrored: bool = False


def find_series(folder: Path) -> list[Series]:
    """Return the series of a folder, files of different folders apart."""
    found: dict[tuple[Path, str, str], list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or ".git" in path.parts:
            continue
        try:
            ds = pydicom.dcmread(
                path,
                stop_before_pixels=True,
                specific_tags=["StudyInstanceUID", "SeriesInstanceUID"],
            )
            key = (path.parent, str(ds.StudyInstanceUID), str(ds.SeriesInstanceUID))
        except Exception:
            continue
        found.setdefault(key, []).append(path)
    seen: Counter[Path] = Counter(parent for parent, _, _ in found)
    numbers: Counter[Path] = Counter()
    made = []
    for (parent, _, _), files in found.items():
        numbers[parent] += 1
        name = str(parent.relative_to(folder)) + (
            f" #{numbers[parent]}" if seen[parent] > 1 else ""
        )
        made.append(Series(name, files))
    return made


def convert(program: str, files: Sequence[Path], work: Path) -> dict[str, Volume]:
    """Convert files with dcm2niix, and read what it wrote.

    Parameters
    ----------
    program
        The path of dcm2niix.
    files
        The files; their order decides the order in which dcm2niix meets them.
    work
        An empty folder for what is in between.

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
    subprocess.run(
        [program, "-f", "x", "-z", "n", "-b", "y", "-ba", "n", "-o", str(out), str(source)],
        check=False, capture_output=True, timeout=1800,
    )  # fmt: skip
    made = {}
    for path in sorted(out.glob("*.nii")):
        volume = _read_nifti(path)
        for suffix in ("bval", "bvec"):
            if (beside := path.with_suffix("." + suffix)).exists():
                setattr(volume, suffix, " ".join(beside.read_text().split()))
        if (sidecar := path.with_suffix(".json")).exists():
            volume.sidecar = json.loads(sidecar.read_text("utf-8", "replace"))
        made[path.stem] = volume
    shutil.rmtree(work)
    return made


def _read_nifti(path: Path) -> Volume:
    """Read a NIfTI-1 file as the standard lays it out: 348 bytes of header, then the voxels."""
    data = path.read_bytes()
    dims = struct.unpack_from("<8h", data, 40)
    start = int(struct.unpack_from("<f", data, 108)[0])
    slope = struct.unpack_from("<2f", data, 112)
    affine = np.frombuffer(data, "<f4", 12, 280).reshape(3, 4)
    kind = struct.unpack_from("<h", data, 70)
    shape = dims[1 : dims[0] + 1]
    return Volume(affine, (*shape, *kind, *map(str, slope)), data[start:])  # type: ignore[arg-type]


def compare(before: dict[str, Volume], after: dict[str, Volume]) -> tuple[list[str], bool]:
    """Return what differs between two conversions of a series, and whether one is mirrored."""
    found: dict[str, None] = {}
    if before.keys() != after.keys():
        found[f"images {len(before)}->{len(after)}"] = None
    mirrored = False
    for name in before.keys() & after.keys():
        old, new = before[name], after[name]
        if old.shape != new.shape:
            found["shape or scaling"] = None
        elif old.voxels != new.voxels:
            found["voxels"] = None
        if not np.allclose(old.affine, new.affine, rtol=0, atol=1e-4):
            found["affine"] = None
            signs = [np.sign(np.linalg.det(one.affine[:, :3].astype(float))) for one in (old, new)]
            mirrored |= signs[0] != signs[1]
        mirrored |= old.shape == new.shape and _is_flipped(old, new)
        for part in ("bval", "bvec"):
            if getattr(old, part) != getattr(new, part):
                found[part] = None
        for key in sorted((old.sidecar.keys() | new.sidecar.keys()) - NOT_PHYSICS):
            if old.sidecar.get(key) != new.sidecar.get(key):
                found[key] = None
    return list(found), bool(mirrored)


def _is_flipped(old: Volume, new: Volume) -> bool:
    """Return whether voxels are the same, but stand in the opposite order along one axis."""
    if old.voxels == new.voxels:
        return False
    shape = tuple(int(size) for size in old.shape[:-3])
    width = len(old.voxels) // max(1, int(np.prod(shape)))
    if width * int(np.prod(shape)) != len(old.voxels):
        return False
    was = np.frombuffer(old.voxels, f"V{width}").reshape(shape, order="F")
    now = np.frombuffer(new.voxels, f"V{width}").reshape(shape, order="F")
    same_place = np.allclose(old.affine, new.affine, rtol=0, atol=1e-4)
    return same_place and any(
        np.array_equal(np.flip(was, axis), now) for axis in range(min(3, was.ndim))
    )


def run(
    series: Series, program: str, profile: Profile, processor: StudyProcessor, work: Path
) -> None:
    """De-identify a series, and compare its conversions."""
    before = convert(program, series.files, work / "before")
    series.images = len(before)
    if not before:
        return  # nothing that dcm2niix converts
    made = work / "made"
    made.mkdir()
    batch = processor.process_study(series.files, made)
    order = {path: number for number, path in enumerate(series.files)}
    done = sorted((o for o in batch.outcomes if o.made), key=lambda o: order[o.source])
    series.held = Counter(f"{o.code}: {o.detail}" for o in batch.outcomes if not o.made)
    after = convert(program, [o.made.path for o in done if o.made], work / "after") if done else {}
    shutil.rmtree(made)
    if series.held:
        series.differences.append("held")
        if not done:
            return
    differences, series.mirrored = compare(before, after)
    series.differences += differences


def main() -> int:
    """Run the benchmark over a folder and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="series of DICOM files, in any arrangement")
    parser.add_argument("--profile", default=str(Path(__file__).with_name("conversion.yaml")))
    parser.add_argument(
        "--dcm2niix",
        default=shutil.which("dcm2niix", path=str(Path(sys.executable).parent))
        or shutil.which("dcm2niix")
        or "",
    )
    parser.add_argument(
        "--only", default="", help="series whose name matches this regular expression"
    )
    parser.add_argument("--json", type=Path, help="write the differences of each series here")
    args = parser.parse_args()
    profile = load_profile(args.profile)
    pseudonyms = Pseudonyms(b"k" * 32, "bench")
    every = [one for one in find_series(args.folder) if re.search(args.only, one.name)]
    with (
        tempfile.TemporaryDirectory() as work,
        StudyProcessor(pseudonyms, profile, 1) as processor,
    ):
        for number, series in enumerate(every):
            run(series, args.dcm2niix, profile, processor, Path(work) / str(number))
            if series.differences:
                print(f"{series.name}: {', '.join(series.differences)}", flush=True)
            for reason, count in series.held.items():
                print(f"    held {count} of {len(series.files)}: {reason}", flush=True)
    converted = [one for one in every if one.images]
    keys = Counter(what for one in converted for what in one.differences)
    print(f"\n{'what differs':<40} series")
    for what, count in keys.most_common():
        print(f"{what:<40} {count}")
    equal = sum(not one.differences for one in converted)
    mirrored = [one.name for one in converted if one.mirrored]
    print(
        f"\n{equal} of {len(converted)} series convert as the original does "
        f"({equal / max(1, len(converted)):.1%}); {len(mirrored)} mirrored"
    )
    if args.json:
        args.json.write_text(json.dumps({one.name: one.differences for one in converted}, indent=1))
    return 0 if equal >= MARK * len(converted) and not mirrored else 1


if __name__ == "__main__":
    sys.exit(main())
