"""Time of each step for 500 instances of 512 KiB, and what share is Airflow's own.

The same studies go the same way twice: once by the plain functions in one process, once through
Airflow. What Airflow's tasks take beyond the plain functions is Airflow's own.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from pydicom import dcmread

from pacsgrid.embedded.stack import Stack
from pacsgrid.model import StudyQuery, StudyState
from pacsgrid.pipeline import ProjectContext, clear_work_folders, find_studies, run_step
from pacsgrid.pipeline.take import take

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.dicom import ct, save


def make_input(drop: Path, instances: int) -> None:
    """Ten studies of 512 x 512 x 16 bit CT slices, incompressible, in a drop folder."""
    for number in range(instances):
        study = f"1.2.3.{number % 10}"
        path = ct(drop / f"{number}.dcm", study, f"{study}.1.{number}")
        ds = dcmread(path)
        ds.Rows = ds.Columns = 512
        ds.PixelData = os.urandom(512 * 512 * 2)
        ds.ImageType = ["ORIGINAL", "PRIMARY"]  # not searched for text
        save(ds, path)


def plain(stack: Stack) -> dict[str, float]:
    """Seconds of each task's work by the plain functions."""
    times: dict[str, float] = {}
    with ProjectContext(stack.site, "demo", actor="benchmark") as context:
        start = time.perf_counter()
        refs = find_studies(context, "drop", StudyQuery())
        times["find"] = time.perf_counter() - start
        start = time.perf_counter()
        refs = take(context, refs).refs
        times["take"] = time.perf_counter() - start
        start = time.perf_counter()
        for name in ("replicate", "verify"):
            refs = run_step(context, name, refs).refs
        clear_work_folders(context, refs)
        times["prove"] = time.perf_counter() - start
        assert context.ledger.studies.count_by_state("demo") == {
            StudyState.VERIFIED.value: len(refs)
        }
    return times


def through_airflow(stack: Stack) -> tuple[dict[str, float], float]:
    """Seconds of each kind of task in Airflow, added up, and of the run from end to end."""
    start = time.perf_counter()
    run = stack.trigger({"source": "drop", "project": "demo"})
    state = stack.watch(run)
    total = time.perf_counter() - start
    assert state == "success", state
    times: dict[str, float] = defaultdict(float)
    path = f"/dags/ingest_studies/dagRuns/{run}/taskInstances?limit=100"
    for task in stack.api("GET", path).json()["task_instances"]:
        times[task["task_id"].removeprefix("batch.")] += task["duration"] or 0
    return times, total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=500)
    count = parser.parse_args().instances
    root = Path(tempfile.mkdtemp(prefix="pacsgrid-bench-"))
    try:
        make_input(root / "input", count)
        with Stack(root / "plain", airflow=False) as stack:
            shutil.copytree(root / "input", stack.drop, dirs_exist_ok=True)
            own = plain(stack)
        with Stack(root / "airflow") as stack:
            shutil.copytree(root / "input", stack.drop, dirs_exist_ok=True)
            tasks, total = through_airflow(stack)
    finally:
        shutil.rmtree(root)
    print(f"\n{count} instances of 512 KiB{'plain':>18}{'per second':>12}{'Airflow tasks':>15}")
    for name, seconds in own.items():
        print(f"{name:24}{seconds:16.1f} s{count / seconds:12.0f}{tasks[name]:13.1f} s")
    plain_total, task_total = sum(own.values()), sum(tasks.values())
    print(f"{'sum':24}{plain_total:16.1f} s{count / plain_total:12.0f}{task_total:13.1f} s")
    print(f"the run from end to end, tasks side by side: {total:.1f} s")
    print(f"Airflow's own share of the tasks' time: {max(0, 1 - plain_total / task_total):.0%}")


if __name__ == "__main__":
    main()
