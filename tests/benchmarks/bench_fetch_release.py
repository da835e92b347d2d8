"""A release of many small studies, fetched by its one command and interrupted twice.

make bench-fetch-release fetches with the iCommands of this machine, or with the tests' double of
them where there are none, from an embedded zone or the one that PACSGRID_TEST_ZONES names. The
first run is killed with all of its processes (SIGKILL) after a third of the studies, the second is
asked to stop (SIGTERM) after two thirds. At each end every file that has its place is compared with
the release. The last line of the table fetches the same release with `pacsgrid fetch`.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench_grid import zone_of

from pacsgrid.grid import Zone, deposit, ensure_collection, ensure_project, put_document
from pacsgrid.grid.fetch import fetch_release
from pacsgrid.ledger import InstanceRecord
from pacsgrid.model import AnonymisedInstance
from pacsgrid.pipeline.release_documents import ReleaseVersion, release_documents
from pacsgrid.pipeline.release_layout import path_in_project
from support import iget_double
from support.irods_user import iinit
from support.seeded import seeded_bytes

PROJECT = "bench"


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    run: str
    seconds: float
    ended: str
    here: int
    wrong: int

    def __str__(self) -> str:
        return f"{self.run:<34}{self.seconds:>9.1f}{self.ended:>8}{self.here:>9}{self.wrong:>7}"


def fill(zone: Zone, folder: Path, studies: int, instances: int, size: int) -> ReleaseVersion:
    """Deposit the studies and put the documents of a release that lists them."""
    ensure_project(zone, PROJECT)
    rows: list[InstanceRecord] = []

    def put(number: int) -> list[InstanceRecord]:
        made = []
        for n in range(instances):
            data = seeded_bytes(size, (number, n))
            path = folder / f"{number}-{n}.dcm"
            path.write_bytes(data)
            uid = f"1.2.{number}"
            made.append(
                AnonymisedInstance(
                    uid,
                    f"{uid}.1",
                    f"{uid}.1.{n}",
                    f"S{number}",
                    "CT",
                    "",
                    hashlib.sha256(data).hexdigest(),
                    size,
                    path,
                )
            )
        deposit(zone, PROJECT, made, {})
        for one in made:
            one.path.unlink()
        return [
            InstanceRecord(
                one.study_uid, one.series_uid, one.sop_uid, one.subject, "CT", one.sha256, one.size
            )
            for one in made
        ]

    for found in zone.run_parallel(put, range(studies), 4):
        rows += found
    version = ReleaseVersion(zone.settings.name, PROJECT, "many", 1, "Many", rows)
    ensure_collection(zone, version.collection)
    for name, text in release_documents(version).items():
        put_document(zone, f"{version.collection}/{name}", text)
    return version


def compare(folder: Path, rows: Sequence[InstanceRecord]) -> tuple[int, int]:
    """Return how many listed files have their place, and how many of them are wrong."""
    here = [row for row in rows if (folder / path_in_project(row)).exists()]
    wrong = sum(
        hashlib.sha256((folder / path_in_project(row)).read_bytes()).hexdigest() != row.sha256
        for row in here
    )
    return len(here), wrong


def studies_in(folder: Path) -> int:
    """Return how many studies have their place."""
    return sum(1 for _ in folder.glob("data/*/*"))


def main() -> int:
    """Print the table; returns 1 if the release did not arrive whole and right."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--instances", type=int, default=2)
    parser.add_argument("--size", type=int, default=16 << 10)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-fetch-") as name, zone_of(Path(name)) as zone:
        return measure(Path(name), zone, given)


def measure(folder: Path, zone: Zone, given: argparse.Namespace) -> int:
    """Fill the zone, fetch three times and print the table."""
    version = fill(zone, folder, given.studies, given.instances, given.size)
    settings = zone.settings
    home = folder / "researcher"
    home.mkdir()
    user = iinit(home, settings, settings.user, settings.password.get_secret_value())
    environment = {**os.environ, **user}
    real = shutil.which("iget") is not None
    if not real:
        environment |= iget_double.install(folder / "bin")
    command = (release_documents(version)["README.md"].decode().splitlines()[0]).strip()
    target = home / "many-v1"
    print(f"{given.studies} studies of {given.instances} instances of {given.size} bytes")
    print(f"command: {command}")
    print(f"iget: {'iCommands of this machine' if real else 'the double of the tests'}\n")
    print(f"{'run':<34}{'seconds':>9}{'status':>8}{'files':>9}{'wrong':>7}")

    def run(title: str, until: int = 0, stop: signal.Signals | None = None) -> Row:
        start = time.perf_counter()
        process = subprocess.Popen(
            ["sh", "-c", f"exec 2>>fetch.log; {command}"],
            cwd=home,
            env=environment,
            start_new_session=True,
        )
        while stop is not None and process.poll() is None and studies_in(target) < until:
            time.sleep(0.05)
        if stop is signal.SIGKILL:
            os.killpg(process.pid, stop)
        elif stop is not None:
            lock = (target / ".fetch" / "lock" / "pid").read_text()
            os.kill(int(lock), stop)
        process.wait()
        seconds = time.perf_counter() - start
        row = Row(title, seconds, str(process.returncode), *compare(target, version.rows))
        print(row, flush=True)
        return row

    run("first, SIGKILL after a third", given.studies // 3, signal.SIGKILL)
    run("second, SIGTERM after two thirds", 2 * given.studies // 3, signal.SIGTERM)
    last = run("third, to its end")
    again = run("fourth, nothing left to fetch")
    start = time.perf_counter()
    beside = home / "beside"
    report = fetch_release(zone, version.collection, beside)
    files = compare(beside, version.rows)
    print(Row("pacsgrid fetch, from nothing", time.perf_counter() - start, "0", *files))
    whole = [row for row in (last, again) if (row.ended, row.here) == ("0", len(version.rows))]
    return 0 if len(whole) == 2 and not report.bad and not last.wrong else 1


if __name__ == "__main__":
    sys.exit(main())
