"""Faces removed from transformed volumes of a real head: gone or held, with the brain unchanged.

Prints for each volume what became of it, the brain voxels that would change, seconds of CPU and
the peak of memory. Ends with 1 if a brain voxel changes.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from pacsgrid.deid.check import scan as scan_headers
from pacsgrid.deid.faces.plan import plan_faces
from pacsgrid.deid.profile import load_profile
from support.heads import Variant, colin, scan, write_series

_GEOMETRIES = (
    ("axial 1 mm", Variant()),
    ("sagittal 1.2 mm", Variant(plane="sagittal", spacing=(1, 1, 1.2))),
    ("coronal 2 mm", Variant(plane="coronal", spacing=(0.9, 0.9, 2))),
    ("axial flipped 1.5 mm", Variant(flipped=True, spacing=(1, 1, 1.5))),
)
_CONTRASTS = ("t1", "t2", "flair", "ct")
_POSES = ((0, 0, 0), (30, 0, 0), (-30, 0, 0), (0, 0, 30), (0, 30, 0), (15, -12, 18))


def variants() -> dict[str, Variant]:
    """Return all volumes by name."""
    made = {}
    for number, (contrast, (name, base), pose) in enumerate(
        itertools.product(_CONTRASTS, _GEOMETRIES, _POSES)
    ):
        # Every second one: each contrast meets each geometry and each pose.
        if number % 2:
            continue
        fields = {**vars(base), "contrast": contrast, "rotation": pose, "noise": 20.0}
        made[f"{contrast} {name} turned {pose}"] = Variant(**fields)
    for share in (0.1, 0.2):
        made[f"t1 without the lowest {share:.0%}"] = Variant(cut_below=share, noise=20)
        made[f"t1 without the highest {share:.0%}"] = Variant(cut_above=share, noise=20)
    made["t1 with noise"] = Variant(noise=70)
    made["t1 with bias"] = Variant(bias=0.4, noise=20)
    return made


def measure(variant: Variant) -> tuple[str, int, int, float, int]:
    """Return what became of a volume, brain voxels changed and in all, seconds and MB."""
    head = scan(colin(), variant)
    with tempfile.TemporaryDirectory(prefix="faces-") as folder:
        files = write_series(head, Path(folder) / "in")
        seen = [
            one
            for _, headers in scan_headers(files, load_profile("research")).values()
            for one in headers
        ]
        start = time.process_time()
        plans = plan_faces(seen)
        seconds = time.process_time() - start
        rows, columns = head.values.shape[1:]
        changed = 0
        for path, brain in zip(files, head.brain, strict=True):
            if path in plans.removals:
                changed += int(
                    np.count_nonzero(plans.removals[path].mask(path, 0, rows, columns) & brain)
                )
        why = "face gone" if plans.removals else f"held: {plans.reasons[files[0]]}"
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return why, changed, int(head.brain.sum()), seconds, memory


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0, help="number of the first volume")
    parser.add_argument("--count", type=int, default=1000, help="how many volumes")
    given = parser.parse_args()
    chosen = list(variants().items())[given.first : given.first + given.count]
    gone = lost = 0
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, max_tasks_per_child=1) as pool:
        for name, variant in chosen:
            why, changed, brain, seconds, memory = pool.submit(measure, variant).result()
            gone += why == "face gone"
            lost += changed
            print(
                f"{name:45} {why[:90]}; {changed} of {brain} brain voxels changed; "
                f"{seconds:.1f} s, {memory} MB",
                flush=True,
            )
    held = len(chosen) - gone
    print(f"{len(chosen)} volumes: face gone in {gone}, held {held}; brain voxels changed: {lost}")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
