"""Studies through anonymiser and checker, over as many processes as there are cores."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from multiprocessing import connection
from operator import or_
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar
from uuid import uuid4

from ..errors import HeldError, StorageError
from ..log_suppression import pydicom_suppressed
from ..model import AnonymisedInstance
from .anonymise import Anonymiser
from .atomic_batch import AtomicBatch
from .check import Checker, Counts, Identity, References, ScannedHeader, scan
from .duplicates import DuplicateInstances
from .identifiers import StudyIdentifiers, collect_identifiers
from .profile import Profile
from .pseudonyms import Pseudonyms
from .worker_context import WorkerContext
from .workload import estimate_seconds, split_evenly

_R = TypeVar("_R")
# Seconds of work from which processes of their own pay, which take about one to start.
MIN_SECONDS_FOR_PROCESSES = 2.5
# Seconds to read a header for what identifies in it; headers read by one process in one go.
_SECONDS_PER_HEADER, _HEADERS_PER_TASK = 2e-3, 256
_PROCESS_DIED = (
    "process-died",
    "the process that worked on this file died, for want of memory or by a fault of a decoder; "
    "give it more memory, or have the file looked at",
)
# What is no file's fault ends the run.
_FATAL = (StorageError, KeyboardInterrupt, SystemExit, GeneratorExit)
# Parts under way for each process: enough that none waits while results are taken.
_TASKS_PER_WORKER = 3
_DUPLICATE_CONFLICT = (
    "duplicate-conflict",
    "several files of this study bear the same SOPInstanceUID (0008,0018) with different "
    "content; keep the right one at the source",
)


@dataclass(frozen=True)
class StudyHeaders:
    """What the headers of a study's files say before any is changed. Identified: memory only."""

    identifiers: StudyIdentifiers = field(default_factory=StudyIdentifiers)
    identity: Identity = field(default_factory=Identity)
    headers: tuple[ScannedHeader, ...] = ()

    def __or__(self, other: StudyHeaders) -> StudyHeaders:
        return StudyHeaders(
            self.identifiers | other.identifiers,
            self.identity | other.identity,
            self.headers + other.headers,
        )

    @cached_property
    def duplicates(self) -> DuplicateInstances:
        """The files that share a SOPInstanceUID with another; reads them to tell copies."""
        return DuplicateInstances.find((seen.sop_uid, seen.path) for seen in self.headers)

    @property
    def estimated_seconds(self) -> dict[Path, float]:
        """Seconds that each file will take, roughly."""
        return {seen.path: estimate_seconds(seen.size, seen.pixels) for seen in self.headers}


@dataclass(frozen=True)
class Outcome:
    """What became of one file: its result, or why it is held.

    ``refused`` says that the checker did it, or that it killed who worked on it: nothing of the
    study can be trusted then. ``copy`` says that the result is that of another file with the same
    data set.
    """

    source: Path
    made: AnonymisedInstance | None
    code: str = ""
    detail: str = ""
    refused: bool = False
    copy: bool = False

    def error(self) -> HeldError:
        """Return the reason as the error that it was."""
        return HeldError(self.code, self.detail)


@dataclass
class Batch:
    """What became of some files of a study, counts and replaced UIDs included."""

    outcomes: list[Outcome] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    references: References = field(default_factory=References)

    @property
    def made(self) -> list[AnonymisedInstance]:
        """The results, of copies once."""
        return [one.made for one in self.outcomes if one.made and not one.copy]

    @property
    def held(self) -> list[Outcome]:
        """The files without a result."""
        return [outcome for outcome in self.outcomes if not outcome.made]


@dataclass(frozen=True)
class _Settings:
    pseudonyms: Pseudonyms
    profile: Profile


@dataclass(frozen=True)
class _StudyTask:
    identifiers: StudyIdentifiers
    identity: Identity | None  # None: each file is searched for what it says itself
    out: Path
    token: str
    copies: dict[Path, list[Path]]


@dataclass(eq=False)
class StudyJob:
    """Files of one study on their way through a `StudyProcessor`, into `out`.

    Parameters
    ----------
    known
        What `Workshop.read_headers` said of all files of that study.

    Attributes
    ----------
    dropped
        Nothing more of it is wanted: parts that did not begin never do.
    error
        Why nothing more of it can be had.
    """

    files: Sequence[Path]
    known: StudyHeaders
    out: Path
    dropped: bool = False
    error: HeldError | None = None
    _seen: References = field(default_factory=References)

    def accept(self, batch: Batch) -> bool:
        """Say whether a batch agrees with the earlier ones on how UIDs are replaced."""
        if not self._seen.merge(batch.references):
            self.error = HeldError(
                "reference-changed", "one UID was replaced in two ways within this study"
            )
            self.dropped = True
        return not self.dropped


_J = TypeVar("_J", bound=StudyJob)
_FileTask = tuple[_StudyTask, Sequence[Path]]


class StudyProcessor:
    """Anonymises and checks; starts its processes when there is enough to do.

    Parameters
    ----------
    processes
        How many to use, 0 for one per core this process may use.
    """

    def __init__(self, pseudonyms: Pseudonyms, profile: Profile, processes: int = 0) -> None:
        self._tools = _Settings(pseudonyms, profile)
        self._processes = processes or len(os.sched_getaffinity(0))
        self._pool: ProcessPoolExecutor | None = None
        self._expected = 0.0

    def read_headers(self, files: Sequence[Path]) -> dict[str, StudyHeaders]:
        """Read the headers of files, apart by their original StudyInstanceUID.

        Files that cannot be read are in none of them; `process_in_batches` tells why.
        """
        self._start_pool_if_worthwhile(_SECONDS_PER_HEADER * len(files))
        size = min(max(8, len(files) // (self._processes * 4)), _HEADERS_PER_TASK)
        tasks = [(files[at : at + size],) for at in range(0, len(files), size)]
        known: dict[str, StudyHeaders] = {}
        for some in self._iter_headers(tasks):
            for study, what in some.items():
                known[study] = known[study] | what if study in known else what
        self._start_pool_if_worthwhile(
            sum(sum(what.estimated_seconds.values()) for what in known.values())
        )
        return known

    def process_studies(self, jobs: Iterable[_J]) -> Iterator[tuple[_J, Batch | None]]:
        """Anonymise files of several studies at once, and check the results.

        Each file goes into ``out/<series UID>/<SOP UID>.dcm``; it is on disk when its batch is
        yielded. A refused file's result is removed.

        Yields
        ------
        Job, Batch or None
            Batches as they are done, in no order; None when nothing of a job is left or under
            way. A job is begun when there is room for it.

        Raises
        ------
        StorageError
            A result cannot be written.
        """
        waiting = iter(jobs)
        running: dict[Future[Batch], tuple[_J, _FileTask]] = {}
        here: deque[tuple[Future[Batch], _FileTask]] = deque()

        def under_way(job: _J) -> bool:
            return any(whose is job for whose, _ in running.values())

        while True:
            while len(running) < self._worker_count * _TASKS_PER_WORKER:
                job = next(waiting, None)
                if job is None:
                    break
                if clashes := _conflicting_files(job):
                    yield job, clashes
                running.update((future, (job, task)) for future, task in self._start_job(job, here))
                if not under_way(job):
                    yield job, None
            if not running:
                return
            for future in self._completed(running, here):
                job, task = running.pop(future)
                if job.dropped:
                    batch = None
                elif isinstance(future.exception(), BrokenProcessPool):
                    batch = self._retry(task)
                else:
                    batch = future.result()
                if batch is not None and job.accept(batch):
                    yield job, batch
                if job.dropped:
                    for other in [f for f, (whose, _) in running.items() if whose is job]:
                        if other.cancel():
                            del running[other]
                if not under_way(job):
                    yield job, None

    def _start_job(
        self, job: StudyJob, here: deque[tuple[Future[Batch], _FileTask]]
    ) -> list[tuple[Future[Batch], _FileTask]]:
        duplicates = job.known.duplicates
        files, copies = duplicates.select(job.files)
        # Of files whose headers nobody could read no other header tells what identifies.
        identity = job.known.identity if job.known.headers else None
        study = _StudyTask(job.known.identifiers, identity, job.out, uuid4().hex, copies)
        tasks = [
            (study, part)
            for part in split_evenly(files, job.known.estimated_seconds, self._worker_count)
        ]
        if self._pool is not None:
            return [(self._submit(_process_files, task), task) for task in tasks]
        made: list[tuple[Future[Batch], _FileTask]] = [(Future(), task) for task in tasks]
        here.extend(made)
        return made

    def _submit(self, work: Callable[..., _R], task: tuple[object, ...]) -> Future[_R]:
        """Give a task to the processes, to new ones when one of them died."""
        assert self._pool is not None
        try:
            return self._pool.submit(_run_in_worker, work, task)
        except BrokenProcessPool:
            self._pool.shutdown(wait=False)
            self._pool = self._new_pool()
            return self._pool.submit(_run_in_worker, work, task)

    def _run_isolated(self, work: Callable[..., _R], task: tuple[object, ...]) -> _R | None:
        """Do a task while nothing else is under way; None when its process died of it."""
        with ProcessPoolExecutor(
            1, WorkerContext(__name__), initializer=_initialise_worker, initargs=(self._tools,)
        ) as pool:
            try:
                return pool.submit(_run_in_worker, work, task).result()
            except BrokenProcessPool:
                return None

    def _retry(self, task: _FileTask) -> Batch:
        """Do a part anew that a process died of, or was lost with: file by file if it must be."""
        batch = self._run_isolated(_process_files, task)
        if batch is not None:
            return batch
        study, files = task
        total = Batch()
        for path in files:
            one = self._run_isolated(_process_files, (study, [path])) if len(files) > 1 else None
            if one is None:
                both = [path, *study.copies.get(path, ())]
                total.outcomes += [
                    Outcome(each, None, *_PROCESS_DIED, refused=True) for each in both
                ]
                continue
            total.outcomes += one.outcomes
            total.counts.merge(one.counts)
            total.references.merge(one.references)
        return total

    def _completed(
        self,
        running: Iterable[Future[Batch]],
        here: deque[tuple[Future[Batch], _FileTask]],
    ) -> list[Future[Batch]]:
        """Return what is done, in the order in which it was begun; do a part here if one waits."""
        while here:
            future, task = here.popleft()
            if future.set_running_or_notify_cancel():
                future.set_result(_process_files(self._tools, *task))
                return [future]
        done = wait(running, return_when=FIRST_COMPLETED).done
        return [future for future in running if future in done]

    def process_in_batches(
        self, files: Sequence[Path], known: StudyHeaders, out: Path
    ) -> Iterator[Batch]:
        """Take files of one study through; see `process_studies`.

        Raises
        ------
        HeldError
            ``reference-changed``: two batches replaced one UID in two ways.
        """
        job = StudyJob(files, known, out)
        for _, batch in self.process_studies([job]):
            if batch is not None:
                yield batch
        if job.error is not None:
            raise job.error

    def process_study(self, files: Sequence[Path], out: Path) -> Batch:
        """Take a study's files through all of it; see `process_studies`."""
        total = Batch()
        known = reduce(or_, self.read_headers(files).values(), StudyHeaders())
        for batch in self.process_in_batches(files, known, out):
            total.outcomes += batch.outcomes
            total.counts.merge(batch.counts)
        place = {path: number for number, path in enumerate(files)}
        total.outcomes.sort(key=lambda outcome: place[outcome.source])
        return total

    @property
    def _worker_count(self) -> int:
        return self._processes if self._pool is not None else 1

    def _start_pool_if_worthwhile(self, seconds: float) -> None:
        """Start processes once there was or is enough to do for them."""
        self._expected += seconds
        if (
            self._pool is None
            and self._processes > 1
            and self._expected >= MIN_SECONDS_FOR_PROCESSES
        ):
            self._pool = self._new_pool()

    def _new_pool(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self._processes,
            WorkerContext(__name__),
            initializer=_initialise_worker,
            initargs=(self._tools,),
        )

    def _iter_headers(
        self, tasks: Sequence[tuple[Sequence[Path]]]
    ) -> Iterator[dict[str, StudyHeaders]]:
        if self._pool is None:
            for (files,) in tasks:
                yield _read_headers(self._tools, files)
            return
        futures = [self._submit(_read_headers, task) for task in tasks]
        for future, (files,) in zip(futures, tasks, strict=True):
            if not isinstance(future.exception(), BrokenProcessPool):
                yield future.result()
            elif (known := self._run_isolated(_read_headers, (files,))) is not None:
                yield known
            else:
                # One that a process dies of is of no study here; `process_studies` says so of it.
                yield from filter(
                    None, (self._run_isolated(_read_headers, ([path],)) for path in files)
                )

    def close(self) -> None:
        """End the processes, and forget the last study."""
        global _current_study
        _current_study = None
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


_settings: _Settings | None = None
_current_study: tuple[str, Anonymiser, Checker] | None = None


def _initialise_worker(tools: _Settings) -> None:
    global _settings
    _settings = tools
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_with_parent, args=(parent.sentinel,), daemon=True).start()


def _exit_with_parent(sentinel: int) -> None:
    """End this process when the one that it works for is gone.

    One that went on after a kill would write into the folder of the run that comes next.
    """
    connection.wait([sentinel])
    os._exit(1)


def _run_in_worker(work: Callable[..., _R], task: tuple[object, ...]) -> _R:
    return work(_settings, *task)


def _read_headers(tools: _Settings, files: Sequence[Path]) -> dict[str, StudyHeaders]:
    with pydicom_suppressed():
        return _scan_headers(tools, files)


def _scan_headers(tools: _Settings, files: Sequence[Path]) -> dict[str, StudyHeaders]:
    return {
        study: StudyHeaders(
            collect_identifiers(one.path for one in headers), identity, tuple(headers)
        )
        for study, (identity, headers) in scan(files, tools.profile).items()
    }


def _process_files(tools: _Settings, study: _StudyTask, files: Sequence[Path]) -> Batch:
    anonymiser, checker = _study_tools(tools, study)
    with pydicom_suppressed(), AtomicBatch() as landing:
        outcomes: list[Outcome] = []
        for path in files:
            one = _process_file(anonymiser, checker, path, study.out, landing)
            outcomes.append(one)
            for copy in study.copies.get(path, ()):
                outcomes.append(replace(one, source=copy, copy=True))
        landing.commit()
    return Batch(outcomes, *checker.take_results())


def _study_tools(tools: _Settings, study: _StudyTask) -> tuple[Anonymiser, Checker]:
    """Keep what both worked out for a study's headers until the next study."""
    global _current_study
    if _current_study is None or _current_study[0] != study.token:
        anonymiser = Anonymiser(tools.pseudonyms, tools.profile, study.identifiers)
        _current_study = study.token, anonymiser, Checker(tools.profile, study.identity)
    return _current_study[1:]


def _process_file(
    anonymiser: Anonymiser, checker: Checker, path: Path, out: Path, landing: AtomicBatch
) -> Outcome:
    try:
        made = anonymiser.anonymise(path, out, landing)
    except HeldError as error:
        return Outcome(path, None, error.code, error.detail)
    except _FATAL:
        raise
    except BaseException as error:  # a decoder in Rust panics with one that is no Exception
        return Outcome(path, None, *_failure_reason(error, "anonymiser"))
    try:
        checker.check(path, landing.temporary_path(made.path))
    except HeldError as error:
        landing.discard(made.path)
        return Outcome(path, None, error.code, error.detail, refused=True)
    except _FATAL:
        raise
    except BaseException as error:
        landing.discard(made.path)
        return Outcome(path, None, *_failure_reason(error, "checker"))
    return Outcome(path, made)


def _failure_reason(error: BaseException, who: str) -> tuple[str, str]:
    """Say why one file cannot go on; the error's own text may quote a value."""
    if isinstance(error, OSError) and error.strerror:
        return "unreadable-file", f"the file cannot be read: {error.strerror}"
    if isinstance(error, MemoryError):
        return (
            "too-large",
            f"the {who} has not enough memory for this file; run where there is more",
        )
    kind = type(error).__name__
    return (
        "unreadable",
        f"the {who} fails at this file ({kind}); report it with the file's structure",
    )


def _conflicting_files(job: StudyJob) -> Batch | None:
    clashing = job.known.duplicates.conflicting
    held = [Outcome(path, None, *_DUPLICATE_CONFLICT) for path in job.files if path in clashing]
    return Batch(held) if held else None
