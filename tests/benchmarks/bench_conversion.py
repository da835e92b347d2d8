"""Convert series with dcm2niix before and after de-identification, and compare what comes out.

The folder holds DICOM files in any arrangement. Files of one series in one folder are converted
together, once as they are and once as the profile leaves them. Equal must be: voxels, scaling and
affine, b-values and gradient directions, and the keys of the sidecar that describe the acquisition
(`scored.conversion`). The exit code is 1 when less than 99 % of the series are equal, or one comes
out mirrored.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))

from pacsgrid import deid
from pacsgrid.deid import Profile, Pseudonyms, StudyProcessor, load_profile
from scored import peers
from scored.conversion import Difference, compare, convert

MARK = 0.99
CONVERTER = "dcm2niix"


@dataclass
class Series:
    """The files of one series in one folder, and how its conversions differ.

    Attributes
    ----------
    name
        The folder, with a number when it holds several series.
    files
        The files.
    images
        How many images dcm2niix makes of the originals; 0 for reports and the like.
    difference
        How the conversions differ.
    held
        How many files are held, by reason.
    """

    name: str
    files: list[Path]
    images: int = 0
    difference: Difference = field(default_factory=Difference)
    held: Counter[str] = field(default_factory=Counter)


def headers_of_research() -> Profile:
    """Return the profile `research` without its holds of images and its search for text."""
    raw = yaml.safe_load((Path(deid.__file__).parent / "profiles" / "research.yaml").read_text())
    raw |= {"pixels": {"look": "none", "hold": []}, "hold_burned_in": False}
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(raw, file)
        file.flush()
        return load_profile(file.name)


def find_series(folder: Path) -> list[Series]:
    """Return the series of a folder, files of different folders apart."""
    found: dict[tuple[Path, str, str], list[Path]] = {}
    wanted = ["StudyInstanceUID", "SeriesInstanceUID"]
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or ".git" in path.parts:
            continue
        try:
            ds = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=wanted)
            key = (path.parent, str(ds.StudyInstanceUID), str(ds.SeriesInstanceUID))
        except Exception:
            continue  # no DICOM file, or one without a series
        found.setdefault(key, []).append(path)
    several = Counter(parent for parent, _, _ in found)
    numbers: Counter[Path] = Counter()
    made = []
    for (parent, _, _), files in found.items():
        numbers[parent] += 1
        number = f" #{numbers[parent]}" if several[parent] > 1 else ""
        made.append(Series(f"{parent.relative_to(folder)}{number}", files))
    return made


def run(series: Series, program: Path, processor: StudyProcessor, work: Path) -> None:
    """De-identify a series, and compare its conversions.

    Parameters
    ----------
    series
        The series; the result is written into it.
    program
        The path of dcm2niix.
    processor
        Anonymises and checks.
    work
        A folder for what is in between.
    """
    before = convert(program, series.files, work / "before")
    series.images = len(before)
    if not before:
        return
    batch = processor.process_study(series.files, work / "made")
    order = {path: number for number, path in enumerate(series.files)}
    done = sorted((one for one in batch.outcomes if one.made), key=lambda one: order[one.source])
    series.held = Counter(f"{one.code}: {one.detail}" for one in batch.held)
    after = {}
    if done:
        after = convert(program, [one.made.path for one in done if one.made], work / "after")
    shutil.rmtree(work / "made", ignore_errors=True)
    series.difference = compare(before, after)
    if series.held:
        series.difference.physics.insert(0, "held")


def report(every: list[Series]) -> int:
    """Print what differs, by kind, and the total; return the exit code."""
    converted = [one for one in every if one.images]
    kinds = Counter(what.partition(" [")[0] for one in converted for what in one.difference.physics)
    kinds.update(f"{what} (text)" for one in converted for what in one.difference.texts)
    print(f"\n{'what differs':<40} series")
    for what, count in kinds.most_common():
        print(f"{what:<40} {count}")
    equal = sum(not one.difference.physics for one in converted)
    mirrored = [one.name for one in converted if one.difference.mirrored]
    print(
        f"\n{equal} of {len(converted)} series convert as the original does "
        f"({equal / max(1, len(converted)):.1%}); {len(mirrored)} mirrored; "
        f"{sum(bool(one.held) for one in converted)} with held files"
    )
    return 0 if converted and equal >= MARK * len(converted) and not mirrored else 1


def main() -> int:
    """Run the benchmark over a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="series of DICOM files, in any arrangement")
    parser.add_argument(
        "--profile",
        help="by default as `research`, without holds of faces and without search for text",
    )
    parser.add_argument("--only", default="", help="regular expression for names of series")
    parser.add_argument("--json", type=Path, help="file for the differences of each series")
    parser.add_argument("--peers", type=Path, default=Path("var/peers"), help="environments")
    given = parser.parse_args()
    if not given.folder.is_dir():
        parser.error(f"{given.folder} is no folder; give one that holds DICOM files")
    python = peers.prepare(CONVERTER, given.peers.resolve())
    program = python.with_name(CONVERTER)
    print(f"{CONVERTER} {peers.version(python, CONVERTER)}", flush=True)
    pseudonyms = Pseudonyms(b"k" * 32, "bench")
    profile = load_profile(given.profile) if given.profile else headers_of_research()
    every = [one for one in find_series(given.folder) if re.search(given.only, one.name)]
    with (
        tempfile.TemporaryDirectory() as work,
        StudyProcessor(pseudonyms, profile, 1) as processor,
    ):
        for number, series in enumerate(every):
            run(series, program, processor, Path(work) / str(number))
            differs = [*series.difference.physics, *series.difference.texts]
            if differs:
                mirrored = "MIRRORED: " if series.difference.mirrored else ""
                print(f"{mirrored}{series.name}: {', '.join(differs)}", flush=True)
            for reason, count in series.held.items():
                print(f"    held {count} of {len(series.files)}: {reason}", flush=True)
    if given.json:
        found = {one.name: one.difference.physics for one in every if one.images}
        given.json.write_text(json.dumps(found, indent=1))
    return report(every)


if __name__ == "__main__":
    sys.exit(main())
