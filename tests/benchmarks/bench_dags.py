"""`make bench-dags`: CPU seconds that Airflow's DAG processor spends on each DAG file.

Each file is read in a fresh process, as Airflow does, after Airflow itself was imported. The peer
is a DAG file of one empty task, read in the same way in the same run.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
READ = """
import runpy, sys, time
import airflow.sdk
start = time.process_time()
runpy.run_path(sys.argv[1])
print(time.process_time() - start)
"""
PEER = """
from airflow.sdk import dag, task
@dag(schedule=None)
def empty():
    task(lambda: None, task_id="nothing")()
empty()
"""


def _seconds(path: Path) -> float:
    env = {**os.environ, "PYTHONPATH": str(ROOT / "plugins")}
    env.pop("PACSGRID_SITE", None)
    command = [sys.executable, "-c", READ, str(path)]
    times = []
    for _ in range(3):
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        times.append(float(done.stdout.split()[-1]))
    return min(times)


def main() -> None:
    """Print each file's time and its ratio to the peer's."""
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "empty.py"
        empty.write_text(PEER)
        peer = _seconds(empty)
    print(f"{'a DAG of one empty task':28} {peer:6.2f} s")
    for path in sorted((ROOT / "dags").glob("*.py")):
        took = _seconds(path)
        print(f"{path.stem:28} {took:6.2f} s  {took / peer:5.2f} times the peer")


if __name__ == "__main__":
    main()
