"""Many small studies from a source through Airflow to verified replicas in two zones.

Prints time, CPU, Airflow's share, bytes in staging over time and studies a second, beside the same
steps as plain functions over some of the studies. With ``--kill`` a task or the scheduler is killed
with -9 in every third wave; in the end nothing may be missing, and nothing may have happened twice.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import yaml

from pacsgrid.embedded.process import ChildProcess
from pacsgrid.embedded.stack import Stack
from pacsgrid.ledger import Ingest, IngestState
from pacsgrid.model import StudyQuery
from pacsgrid.pipeline import STEPS, ProjectContext, clear_work_folders, find_studies, run_step
from pacsgrid.pipeline import waves as pipeline_waves

sys.path.insert(0, str(Path(__file__).parents[2]))

from support.dicom import ct

# What is killed, by the title of its process.
_KILLED = {"tasks": "airflow worker -- [0-9a-f-]{36}", "schedulers": ".*airflow scheduler"}
TICKS = os.sysconf("SC_CLK_TCK")


def make_input(folder: Path, studies: int, instances: int, root: str) -> list[Path]:
    """Write studies of small CT slices, each of another patient."""
    paths = []
    for number in range(studies):
        study = f"{root}.{number}"
        for one in range(instances):
            path = folder / f"{number // 1000}" / f"{number}.{one}.dcm"
            patient = f"{number:06d}/{number % 10000:04d}"
            paths.append(ct(path, study, f"{study}.1.{one}", fill=one, patient_id=patient))
    return paths


def processes(parent: int) -> dict[int, float]:
    """Return CPU seconds of a process and its descendants, those that ended included."""
    rows: dict[int, tuple[int, float]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, IndexError):
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                ticks = sum(int(stat[n]) for n in range(11, 15))
                rows[int(entry.name)] = (int(stat[1]), ticks / TICKS)
    found = {parent}
    while more := {pid for pid, row in rows.items() if row[0] in found} - found:
        found |= more
    return {pid: rows[pid][1] for pid in found if pid in rows}


def titles(sessions: set[int]) -> dict[int, str]:
    """Return the title of each process of some sessions."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if os.getsid(int(entry.name)) in sessions:
                    title = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    found[int(entry.name)] = title
    return found


def own_cpu() -> float:
    """Return CPU seconds of this process and of its workers that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def cpu(*parents: int) -> float:
    return sum(seconds for pid in parents for seconds in processes(pid).values())


class StagingGauge:
    """Samples the bytes below staging, twice a second."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._over = folder, threading.Event()
        self.samples: list[int] = []
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> StagingGauge:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(0.5):
            total = 0
            for folder, _, names in os.walk(self._folder):
                for name in names:
                    with suppress(OSError):
                        total += os.lstat(os.path.join(folder, name)).st_size
            self.samples.append(total)

    def line(self, points: int = 12) -> str:
        """Return the largest sample of each of some spans of time, in KiB."""
        size = max(1, -(-len(self.samples) // points))
        tops = [max(self.samples[n : n + size]) for n in range(0, len(self.samples), size)]
        return " ".join(f"{top / 1024:.0f}" for top in tops)


class Killer:
    """Kills a task, or the scheduler, which is started again."""

    def __init__(self, stack: Stack) -> None:
        self._stack, self._dice = stack, random.Random(1)
        self.schedulers: list[ChildProcess] = []
        self.killed = dict.fromkeys(_KILLED, 0)

    def strike(self) -> None:
        what = self._dice.choice(list(self.killed))
        stack = self._stack
        assert stack.airflow is not None
        sessions = {stack.airflow.pid, *(one.pid for one in self.schedulers)}
        hit = [pid for pid, title in titles(sessions).items() if re.match(_KILLED[what], title)]
        for pid in hit:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not hit:
            return
        self.killed[what] += 1
        if what == "schedulers":
            program = str(Path(sys.executable).parent / "airflow")
            child = ChildProcess(
                "scheduler", [program, "scheduler"], stack.logs / "spare.log", stack.airflow_env()
            )
            child.start()
            self.schedulers.append(child)

    def stop(self) -> None:
        for child in self.schedulers:
            child.stop()


def plain(stack: Stack, source: str, studies: int) -> tuple[float, float]:
    """Take some studies the whole way by the plain functions; return seconds and CPU a study."""
    with ProjectContext(stack.site, "demo", actor="benchmark") as context:
        started, before = time.perf_counter(), own_cpu()
        refs = find_studies(context, source, StudyQuery())[:studies]
        for name in STEPS:
            refs = run_step(context, name, refs).refs
        clear_work_folders(context, refs)
        seconds = time.perf_counter() - started
        used = own_cpu() - before
        assert len(refs) == studies, f"{len(refs)} of {studies} studies got through"
    return seconds / studies, used / studies


def follow(
    stack: Stack, context: ProjectContext, name: str, killer: Killer | None
) -> Iterator[Ingest]:
    """Yield the ingest every second until it has ended, killing on the way."""
    struck = 0
    while True:
        ingest = context.ledger.ingests.get(name)
        if ingest is not None:
            yield ingest
            if ingest.state is IngestState.ENDED:
                return
            if killer and ingest.waves >= struck + 3:
                struck = ingest.waves
                killer.strike()
        time.sleep(1)


def check(context: ProjectContext, name: str, studies: int) -> int:
    """Check that each study was verified exactly once; return the number of waves."""
    all_of = context.ledger.database.all
    ((verified, doubled),) = all_of(
        "SELECT count(*) FILTER (WHERE n = 1), count(*) FILTER (WHERE n > 1) FROM (SELECT count(*)"
        " n FROM pacsgrid.audit JOIN pacsgrid.study USING (ref) WHERE became = 'verified' AND"
        " source = (SELECT source FROM pacsgrid.ingest WHERE id = %s) GROUP BY ref) counted",
        (name,),
    )
    if (verified, doubled) != (studies, 0):
        raise SystemExit(f"{verified} of {studies} studies verified once, {doubled} twice")
    rows = all_of("SELECT number, studies FROM pacsgrid.wave WHERE ingest = %s", (name,))
    assert sorted(number for number, _ in rows) == list(range(1, len(rows) + 1))
    return len(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--instances", type=int, default=5, help="instances of each study")
    parser.add_argument("--source", choices=("pacs", "drop"), default="pacs")
    parser.add_argument("--plain", type=int, default=100, help="studies by plain functions")
    parser.add_argument("--max-map-length", type=int, default=1024)
    parser.add_argument("--batch-size", type=int, default=25)
    parser.add_argument("--kill", action="store_true")
    given = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="pacsgrid-flow-"))
    try:
        run(given, root)
    finally:
        shutil.rmtree(root)


def run(given: argparse.Namespace, root: Path) -> None:
    made, probe = root / "made", root / "probe"
    files = make_input(made, given.studies, given.instances, "1.2.826.555.1")
    few = make_input(probe, given.plain, given.instances, "1.2.826.555.2")
    if given.plain:
        with Stack(root / "plain", airflow=False) as stack:
            load(stack, given.source, few, probe)
            seconds, used = plain(stack, given.source, given.plain)
            print(
                f"plain functions, {given.plain} studies: {1 / seconds:.1f} studies/s, "
                f"{used * 1000:.0f} ms of CPU a study"
            )
    settings = {"CORE__MAX_MAP_LENGTH": str(given.max_map_length)}
    with Stack(root / "airflow", settings=settings) as stack:
        site = yaml.safe_load((stack.dir / "site.yaml").read_text())
        site |= {"batch_size": given.batch_size, "wave": {"studies": 100_000}}
        (stack.dir / "site.yaml").write_text(yaml.safe_dump(site))
        load(stack, given.source, files, made)
        killer = Killer(stack) if given.kill else None
        try:
            measure(given, stack, killer, used if given.plain else 0.0)
        finally:
            if killer:
                killer.stop()


def load(stack: Stack, source: str, files: list[Path], folder: Path) -> None:
    """Put files into a source; whatever the PACS refuses is an error."""
    if source == "pacs":
        assert stack.pacs.load(files) == len(files)
    else:
        shutil.copytree(folder, stack.drop, dirs_exist_ok=True)


def measure(
    given: argparse.Namespace, stack: Stack, killer: Killer | None, plain_cpu: float
) -> None:
    assert stack.airflow is not None
    own, servers = stack.airflow.pid, [child.pid for child in stack.zones.values()]
    with ProjectContext(stack.site, "demo", actor="benchmark") as context:
        before, zones_before = cpu(own), cpu(*servers)
        started = time.perf_counter()
        first = stack.trigger({"source": given.source, "project": "demo"})
        name = pipeline_waves.ingest_id(first)
        shown = 0.0
        with StagingGauge(stack.dir / "staging") as gauge:
            for ingest in follow(stack, context, name, killer):
                passed = time.perf_counter() - started
                if passed - shown > 15:
                    shown = passed
                    done = ingest.found - ingest.pending
                    print(f"  {passed:4.0f} s: {done} of {ingest.found}, {ingest.waves} waves")
        seconds = time.perf_counter() - started
        spares = [one.pid for one in killer.schedulers] if killer else []
        used, zones = cpu(own, *spares) - before, cpu(*servers) - zones_before
        waves = check(context, name, given.studies)
    count = given.studies
    print(f"{count} studies of {given.instances} instances from {given.source}, {waves} waves")
    print(f"  {seconds:.0f} s from end to end: {count / seconds:.2f} studies/s")
    print(f"  CPU: Airflow and its tasks {used:.0f} s, both zones {zones:.0f} s")
    if plain_cpu and used:
        print(f"  Airflow's own share of that: {max(0, 1 - plain_cpu * count / used):.0%}")
    print(f"  staging, KiB over time: {gauge.line()}; at most {max(gauge.samples) / 1024:.0f}")
    if killer:
        print(f"  killed with -9: {killer.killed}; nothing missing, nothing twice")


if __name__ == "__main__":
    main()
