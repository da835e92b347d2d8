"""Instances per second of CPU on uncompressed 512 KiB CT slices, ours beside peers and pydicom.

One run measures all of them on the same files, each in a process of its own, its start, its imports
and its first file left out. Then a multi-frame file of 2 GB goes through ours, for the peak of
memory.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pydicom
from pydicom import dcmread
from pydicom.uid import EnhancedCTImageStorage

sys.path.insert(0, str(Path(__file__).parents[1]))

from scored import peers

PEERS = ("dicom-anonymizer", "dicognito")
MARK, LIMIT = 3.0, 300 << 20

# Each reads the files of a folder and prints seconds of CPU, of all its threads and children.
CLOCK = """
import json, os, resource, sys, time, warnings, logging
warnings.simplefilter("ignore"); logging.disable(logging.CRITICAL)
from pathlib import Path
source, out = Path(sys.argv[1]), Path(sys.argv[2])
files = sorted(source.iterdir())
def measure(name, work):
    work(files[:1])  # what is loaded once, on first use
    begin = time.process_time()
    work(files)
    took = time.process_time() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"name": name, "seconds": took, "files": len(files), "peak": peak}))
"""
REFERENCES = """
import pydicom
def copy(files):
    for path in files:
        pydicom.dcmread(path).save_as(out / path.name)
def headers(files):
    for path in files:
        pydicom.dcmread(path, stop_before_pixels=True)
measure("pydicom, read and write", copy)
measure("pydicom, headers read", headers)
"""
OURS = """
import shutil
from pacsgrid.deid import Pseudonyms, StudyProcessor, load_profile
from pacsgrid.deid.anonymise import Anonymiser
from pacsgrid.deid.processing import StudyHeaders
from functools import reduce
from operator import or_
profile, pseudonyms = load_profile(sys.argv[3]), Pseudonyms(b"k" * 32, "bench")
def actions(files):
    with StudyProcessor(pseudonyms, profile, 1) as processor:
        known = reduce(or_, processor.read_headers(files).values(), StudyHeaders())
    one = Anonymiser(pseudonyms, profile, known.identifiers)
    for path in files:
        one.anonymise(path, out)
def whole(files):
    with StudyProcessor(pseudonyms, profile, 1) as processor:
        batch = processor.process_study(files, out)
    assert len(batch.made) == len(files), batch.held[0]
measure(f"pacsgrid {sys.argv[3]}, without checker", actions)
shutil.rmtree(out); out.mkdir()
measure(f"pacsgrid {sys.argv[3]}, checked", whole)
"""
PEER = {
    "dicom-anonymizer": """
from dicomanonymizer import anonymize_dicom_file
def work(files):
    for path in files:
        anonymize_dicom_file(str(path), str(out / path.name))
measure("dicom-anonymizer", work)
""",
    "dicognito": """
import pydicom
from dicognito.anonymizer import Anonymizer
def work(files):
    one = Anonymizer()
    for path in files:
        ds = pydicom.dcmread(path); one.anonymize(ds); ds.save_as(out / path.name)
measure("dicognito", work)
""",
}


def slices(folder: Path, count: int) -> None:
    """Write CT slices of 512 x 512 x 16 bits, their headers those of a real CT."""
    ds = dcmread(Path(pydicom.__file__).parent / "data" / "test_files" / "CT_small.dcm")
    ds.Rows = ds.Columns = 512
    ds.PatientName, ds.PatientID = "Nováková^Žofie", "756203/1234"
    ds.SpecificCharacterSet = "ISO_IR 192"
    for keyword in ("DataSetTrailingPadding",):
        if keyword in ds:
            delattr(ds, keyword)
    noise = np.random.default_rng(1)
    folder.mkdir(parents=True)
    for number in range(count):
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.4.{number}"
        ds.InstanceNumber = number + 1
        ds.ImagePositionPatient = [0, 0, number * 1.25]
        ds.SliceLocation = number * 1.25
        ds.PixelData = noise.integers(0, 4096, (512, 512), np.uint16).tobytes()
        ds.save_as(folder / f"{number:05}.dcm")


def multiframe(folder: Path, size: int) -> None:
    """Write one file with so many bytes of pixels; they are a hole in the file."""
    ds = dcmread(Path(pydicom.__file__).parent / "data" / "test_files" / "CT_small.dcm")
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    ds.Rows = ds.Columns = 512
    ds.NumberOfFrames = size // (512 * 1024)
    del ds["PixelData"]
    ds.pop("DataSetTrailingPadding", None)
    folder.mkdir(parents=True)
    path = folder / "multiframe.dcm"
    ds.save_as(path)
    with path.open("r+b") as stream:
        stream.seek(0, 2)
        stream.write(b"\xe0\x7f\x10\x00OW\0\0" + (size // 524288 * 524288).to_bytes(4, "little"))
        stream.truncate(stream.tell() + size // 524288 * 524288)


def run(python: str | Path, script: str, *arguments: str | Path) -> list[dict[str, float | str]]:
    """Run a script in a process of its own; return what it measured."""
    done = subprocess.run(
        [str(python), "-c", CLOCK + script, *map(str, arguments)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def main() -> int:
    """Measure all; fail below three times the faster peer, or above 300 MB."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3, help="the best of so many counts")
    parser.add_argument("--profile", default="research")
    parser.add_argument("--gigabytes", type=float, default=2.0, help="size of the large file")
    parser.add_argument("--peers", type=Path, default=Path("var/peers"), help="environments")
    parser.add_argument("--no-peers", action="store_true")
    given = parser.parse_args()
    Path("var").mkdir(exist_ok=True)
    best: dict[str, float] = {}
    with tempfile.TemporaryDirectory(dir="var") as name:
        folder, source = Path(name), Path(name) / "in"
        slices(source, given.instances)
        scripts = [(sys.executable, REFERENCES, ()), (sys.executable, OURS, (given.profile,))]
        for peer in () if given.no_peers else PEERS:
            scripts.append((str(peers.prepare(peer, given.peers.resolve())), PEER[peer], ()))
        for _ in range(given.rounds):
            for python, script, more in scripts:
                out = folder / "out"
                out.mkdir()
                for line in run(python, script, source, out, *more):
                    rate = line["files"] / line["seconds"]
                    best[line["name"]] = max(best.get(line["name"], 0.0), rate)
                shutil.rmtree(out)
        multiframe(folder / "large", int(given.gigabytes * 2**30) - 2**20)
        (folder / "out").mkdir()
        peak = run(sys.executable, OURS, folder / "large", folder / "out", given.profile)[-1][
            "peak"
        ]
    for what, rate in sorted(best.items(), key=lambda item: -item[1]):
        print(f"{what:40}{rate:8.0f} instances/s of CPU{1000 / rate:8.2f} ms")
    checked = best[f"pacsgrid {given.profile}, checked"]
    bare = best[f"pacsgrid {given.profile}, without checker"]
    print(f"the checker's share is {1 - checked / bare:.0%}")
    print(f"peak of memory on {given.gigabytes:g} GB of pixels: {peak / 2**20:.0f} MB")
    fastest = max((best[peer] for peer in PEERS if peer in best), default=0.0)
    if fastest:
        print(f"{checked / fastest:.1f} times the faster peer, {bare / fastest:.1f} unchecked")
    return 1 if checked < MARK * fastest or peak > LIMIT else 0


if __name__ == "__main__":
    raise SystemExit(main())
