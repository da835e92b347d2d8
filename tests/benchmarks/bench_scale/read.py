"""Read from a ledger and a gateway's index of 10,000 up to a million studies.

    make bench-scale STUDIES=10000,100000,1000000

Each line is one page, query or plan: seconds of the fastest of three runs, statements sent to
PostgreSQL, rows, and how much slower it is than with the fewest studies. The rights of the index's
user are made up here; a gateway asks the zone's catalog for those of each answer's series.
"""

from __future__ import annotations

import argparse
import gc
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from bench_scale import index_rows, ledger_rows
from pacsgrid.config import ReplicationPolicy
from pacsgrid.embedded.postgres import EmbeddedPostgres
from pacsgrid.gateway.index import Index
from pacsgrid.gateway.queries import QueryLevel, find
from pacsgrid.gateway.read_access import ReadAccess
from pacsgrid.ledger import Ledger, Overview, ReleaseOverview
from pacsgrid.ledger.database import Database
from pacsgrid.model import StudyState
from pacsgrid.pipeline import ProjectContext
from pacsgrid.pipeline.cohorts import Cohort, count_cohort
from pacsgrid.pipeline.report import project_report

PROJECT = "demo"
POLICY = ReplicationPolicy(zones={"brno": {"copies": 1}, "praha": {"copies": 1}}, reverify_days=30)
PAGE = 101
Jobs = dict[str, Callable[[], object]]


class _Everything:
    """The rights of a user who may read everything in the one zone."""

    _rights: Mapping[int, frozenset[str]]

    def __init__(self) -> None:
        from pacsgrid.gateway import read_access

        self._rights = {1: read_access._ALL}

    def ask(self, places: object) -> None:
        """Know it already."""

    def of(self, place: str) -> Mapping[int, frozenset[str]]:
        """Return all rights."""
        return self._rights


@contextmanager
def counted() -> Iterator[list[str]]:
    """Collect the statements that go to the ledger's database."""
    seen: list[str] = []
    every, stream = Database.all, Database.stream

    def all_counted(self: Database, sql: str, values: Any = ()) -> list[Any]:
        seen.append(sql)
        return every(self, sql, values)

    def stream_counted(self: Database, sql: str, values: Any = ()) -> Any:
        seen.append(sql)
        return stream(self, sql, values)

    Database.all = all_counted  # type: ignore[method-assign]
    Database.stream = stream_counted  # type: ignore[method-assign]
    try:
        yield seen
    finally:
        Database.all, Database.stream = every, stream  # type: ignore[method-assign]


def ledger_jobs(dsn: str) -> Jobs:
    """Return what the page, commands and DAGs ask of a ledger."""
    ledger, view = Ledger(dsn), Overview(dsn, [PROJECT])
    now = datetime.now(UTC)
    project = SimpleNamespace(name=PROJECT, replication=POLICY)
    context = cast(ProjectContext, SimpleNamespace(ledger=ledger, project=project))
    deep = view.studies(StudyState.VERIFIED, 5000)[-1]
    held = view.held(500)
    uids = [f"2.25.{n}{'7' * 30}" for n in range(4, 5000)]
    return {
        "page: flow": lambda: (view.states(), view.held_reasons(), view.throughput(48)),
        "page: studies": lambda: view.studies(),
        "page: verified, page 50": lambda: view.studies(
            StudyState.VERIFIED, 100, (deep.changed_at, deep.ref)
        ),
        "page: held": lambda: view.held(500),
        "page: held, next": lambda: view.held(500, held[-1]) if held else [],
        "page: a study": lambda: [view.story(deep.ref)],
        "page: replicas": lambda: (view.replicas(), view.instances()),
        "page: releases": lambda: ReleaseOverview(dsn, [PROJECT]).releases(20),
        "report": lambda: [project_report(context, now)],
        "site_metrics": lambda: (
            project_report(context, now),
            view.states(),
            view.held_reasons(ever=True),
            view.instances(),
            view.replicas(),
        ),
        "maintain: plan": lambda: list(ledger.tasks.due(PROJECT, POLICY, now)),
        "find by series UID": lambda: ledger.studies.find_by_pseudonym(PROJECT, f"{uids[7]}.1"),
        "withdrawal: find": lambda: ledger.instances.sop_uids_of_subject(PROJECT, deep.ref),
        "cohort: 5,000 studies": lambda: [count_cohort(context, Cohort(members=tuple(uids)))],
    }


def index_jobs(index: Index, studies: int) -> Jobs:
    """Return searches as QIDO-RS and C-FIND make them."""
    access = ReadAccess(wide=cast(Any, _Everything()), reads_all=True)

    def ask(level: QueryLevel, keys: dict[str, str], skip: int = 0) -> Callable[[], object]:
        return lambda: list(islice(find(index, access, level, keys, skip), PAGE))

    study, series = QueryLevel.STUDY, QueryLevel.SERIES
    one = f"2.25.{studies // 2}{'7' * 30}"
    return {
        "study by UID": ask(study, {"0020000D": one}),
        "study by PatientID": ask(study, {"00100020": f"P{studies // 4:09d}"}),
        "study by PatientName P0000012*": ask(study, {"00100010": "P0000012*"}),
        "study by PatientName *00123*": ask(study, {"00100010": "*00123*"}),
        "study by AccessionNumber": ask(study, {"00080050": f"A{studies // 2:09d}"}),
        "study by date and modality": ask(
            study, {"00080020": "20120101-20120131", "00080061": "CT"}
        ),
        "study by rare modality": ask(study, {"00080061": "SEG"}),
        "study by time range": ask(study, {"00080030": "0300-0310"}),
        "study by *KNEE*contrast": ask(study, {"00081030": "*KNEE*contrast"}),
        "study by StudyDescription, nothing": ask(study, {"00081030": "*THORAX*"}),
        "study by age and sex": ask(study, {"00101010": "034Y", "00100040": "F"}),
        "series by BodyPartExamined": ask(series, {"00180015": "HAND"}),
        "series by SeriesDescription": ask(series, {"0008103E": "HAND thin"}),
        "series by modality and number": ask(series, {"00080060": "SR", "00200011": "5"}),
        "series of a study": ask(series, {"0020000D": one}),
        "instances of a study": ask(QueryLevel.IMAGE, {"0020000D": one}),
        "all studies": ask(study, {}),
        "all studies, in the middle": ask(study, {}, studies // 2),
        "CT studies, deep": ask(study, {"00080060": "CT"}, studies // 8),
        "nothing to refresh (index's part)": lambda: [index.progress(1, PROJECT)],
    }


def run(jobs: Jobs, first: dict[str, float]) -> None:
    """Print each job's time, statements and rows, and the growth since the first size."""
    for name, job in jobs.items():
        best, rows, statements = 1e9, 0, 0
        for _ in range(3):
            gc.collect()
            with counted() as seen:
                start = time.perf_counter()
                answer = job()
                best = min(best, time.perf_counter() - start)
            rows, statements = len(cast(Any, answer)), len(seen)
        growth = best / first.setdefault(name, best)
        print(f"  {name:36}{best:9.4f} s{statements:5} statements{rows:8} rows  x{growth:.1f}")


def _mib(path: Path) -> float:
    return sum(part.stat().st_size for part in path.parent.glob(f"{path.name}*")) / 2**20


def main() -> None:
    """Run every measurement and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", default="10000,100000")
    parser.add_argument("--dir", type=Path, default=None)
    parser.add_argument("--part", choices=("ledger", "index", "both"), default="both")
    given = parser.parse_args()
    first: dict[str, float] = {}
    for studies in map(int, given.studies.split(",")):
        folder = Path(tempfile.mkdtemp(prefix="bench-scale-", dir=given.dir))
        try:
            if given.part != "index":
                _ledger(folder, studies, first)
            if given.part != "ledger":
                _index(folder, studies, first)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _ledger(folder: Path, studies: int, first: dict[str, float]) -> None:
    with EmbeddedPostgres(folder / "postgres") as server:
        server.create_database("scale")
        dsn = server.dsn("scale")
        start = time.perf_counter()
        ledger_rows.fill(dsn, studies)
        took = time.perf_counter() - start
        database = Database(dsn)
        sizes = database.all(
            "SELECT relname, pg_total_relation_size(oid) / 1048576 FROM pg_class"
            " WHERE relnamespace = 'pacsgrid'::regnamespace AND relkind = 'r'"
            " ORDER BY 2 DESC LIMIT 9"
        )
        total = database.all("SELECT pg_database_size(current_database()) / 1048576")[0][0]
        print(
            f"ledger of {studies:,} studies, {studies * ledger_rows.INSTANCES:,} instances:", end=""
        )
        print(f" {total:,} MiB, filled in {took:.0f} s")
        print("  " + ", ".join(f"{name} {size:,} MiB" for name, size in sizes))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        run(ledger_jobs(dsn), first)
        _print_memory(before)


def _index(folder: Path, studies: int, first: dict[str, float]) -> None:
    start = time.perf_counter()
    path = folder / "index.sqlite"
    index = index_rows.fill(path, studies)
    took = time.perf_counter() - start
    print(f"index of {studies:,} studies: {_mib(path):,.0f} MiB, filled in {took:.0f} s")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run(index_jobs(index, studies), first)
    _print_memory(before)


def _print_memory(before: int) -> None:
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(
        f"  memory of the process: +{grown / 1024:.0f} MiB above {before / 1024:.0f} MiB",
        flush=True,
    )


if __name__ == "__main__":
    main()
