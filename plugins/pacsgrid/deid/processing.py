"""Take studies through anonymiser and checker, in as many processes as there are cores.

Processes are started once there is enough to do for them; until then everything runs in this one.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from multiprocessing import connection
from operator import or_
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TypeVar
from uuid import uuid4

from ..errors import HeldError, StorageError
from ..log_suppression import pydicom_suppressed
from ..model import AnonymisedInstance
from ..review_model import REJECTED, FileRulings, Ruling
from .anonymise import Anonymiser
from .atomic_batch import AtomicBatch
from .check import (
    Checker,
    Counts,
    Identity,
    References,
    ScannedHeader,
    scan,
    verified_uids,
)
from .core_slots import CoreSlots
from .duplicates import DuplicateInstances
from .faces.marks import NO_PLANS, FacePlans
from .identifiers import StudyIdentifiers, collect_identifiers
from .image_traits import matching_rules
from .profile import Profile
from .pseudonyms import AssignedSubject, Pseudonyms
from .worker_context import WorkerContext
from .workload import estimate_seconds, split_evenly

_R = TypeVar("_R")
# Seconds of work from which worker processes pay off; starting them takes about one second.
MIN_SECONDS_FOR_PROCESSES = 2.5
# Seconds to collect the identifiers of one header; headers read in one task.
_SECONDS_PER_HEADER, _HEADERS_PER_TASK = 2e-3, 256
_PROCESS_DIED = (
    "process-died",
    "the process that worked on this file died: it ran out of memory, or a decoder crashed; "
    "give the worker more memory, or have the file inspected",
)
# Errors that no file is to blame for end the run.
_FATAL = (StorageError, KeyboardInterrupt, SystemExit, GeneratorExit)
# Tasks queued for each process, so that none idles while results are collected.
_TASKS_PER_WORKER = 3
_TOO_MUCH = "the process that looked for it died; give the worker more memory"
_DUPLICATE_CONFLICT = (
    "duplicate-conflict",
    "several files of this study have the same SOPInstanceUID (0008,0018) but different "
    "content; keep the right one at the source",
)


@dataclass(frozen=True)
class StudyRulings:
    """What stewards decided: by source file, and by rules for every file with certain traits."""

    decided: Mapping[Path, tuple[Ruling, ...]] = field(default_factory=dict)
    rules: tuple[Ruling, ...] = ()


NO_RULINGS = StudyRulings()


class UidRegister(Protocol):
    """Knows the UIDs that a project issued."""

    def seals(self, uids: Collection[str]) -> Mapping[str, bytes]:
        """Return the seals (`Pseudonyms.seal`) of those of some UIDs that the project issued."""


@dataclass(frozen=True)
class StudyHeaders:
    """What the headers of a study's source files say. Identifies patients: keep in memory only.

    Attributes
    ----------
    identifiers, identity
        What identifies in them, as the anonymiser and as the checker read it.
    headers
        The files whose headers could be read.
    """

    identifiers: StudyIdentifiers = field(default_factory=StudyIdentifiers)
    identity: Identity = field(default_factory=Identity)
    headers: tuple[ScannedHeader, ...] = ()

    def __or__(self, other: StudyHeaders) -> StudyHeaders:
        """Return the headers of both."""
        return StudyHeaders(
            self.identifiers | other.identifiers,
            self.identity | other.identity,
            self.headers + other.headers,
        )

    @cached_property
    def duplicates(self) -> DuplicateInstances:
        """The files that share a SOPInstanceUID; reads these files to compare them."""
        return DuplicateInstances.find((seen.sop_uid, seen.path) for seen in self.headers)

    @property
    def estimated_seconds(self) -> dict[Path, float]:
        """Seconds that each file will take, estimated."""
        return {seen.path: estimate_seconds(seen.size, seen.pixels) for seen in self.headers}


@dataclass(frozen=True)
class FileOutcome:
    """What became of one file: its result, or the reason why it is held.

    Attributes
    ----------
    source
        The file.
    made
        The result, None for a held file.
    code, detail
        Code and text of the reason; both empty when there is a result.
    refused
        Whether the checker refused the result, or the worker process died of the file. Nothing of
        the study can be trusted then.
    copy
        Whether the result is that of another file with the same data set.
    rulings
        Numbers of the stewards' decisions that took effect on it.
    """

    source: Path
    made: AnonymisedInstance | None
    code: str = ""
    detail: str = ""
    refused: bool = False
    is_copy: bool = False
    rulings: tuple[int, ...] = ()

    def error(self) -> HeldError:
        """Return the reason as an error to raise."""
        return HeldError(self.code, self.detail)


@dataclass
class ProcessedFiles:
    """What became of some files of a study.

    Attributes
    ----------
    outcomes
        One for each file.
    counts
        What the checker counted in results, for the study's report.
    references
        How UIDs were replaced.
    """

    outcomes: list[FileOutcome] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    references: References = field(default_factory=References)

    @property
    def made(self) -> list[AnonymisedInstance]:
        """The results, one for all copies of an instance."""
        return [one.made for one in self.outcomes if one.made and not one.is_copy]

    @property
    def held(self) -> list[FileOutcome]:
        """The files without a result."""
        return [outcome for outcome in self.outcomes if not outcome.made]


@dataclass(frozen=True)
class _Settings:
    pseudonyms: Pseudonyms
    profile: Profile
    cores: Path | None = None


@dataclass(frozen=True)
class _StudyTask:
    identifiers: StudyIdentifiers
    identity: Identity | None  # None: search each result for what its own source says
    out: Path
    token: str
    copies: dict[Path, list[Path]]
    subjects: Mapping[str, AssignedSubject] | None = None
    review: StudyRulings = field(default_factory=StudyRulings)
    issued: frozenset[str] = frozenset()
    seals: Mapping[bytes, bytes] = field(default_factory=dict)
    faces: FacePlans = NO_PLANS


@dataclass(eq=False)
class StudyJob:
    """Files of one study to take through a `StudyProcessor`.

    Parameters
    ----------
    files
        The files to anonymise.
    known
        What `StudyProcessor.read_headers` returned for all files of the study.
    out
        Folder for the results.
    subjects
        Subjects from outside, by `patient_key`; None to derive them.
    review
        What stewards decided.

    Attributes
    ----------
    dropped
        Set it to stop the study: tasks that were not started are cancelled.
    error
        Why the study was stopped, None if it was not or if the caller stopped it.
    """

    files: Sequence[Path]
    known: StudyHeaders
    out: Path
    subjects: Mapping[str, AssignedSubject] | None = None
    review: StudyRulings = field(default_factory=StudyRulings)
    dropped: bool = False
    error: HeldError | None = None
    _seen: References = field(default_factory=References)

    def accept(self, batch: ProcessedFiles) -> bool:
        """Take in how a batch replaced UIDs, and stop the study if earlier ones did otherwise.

        Returns
        -------
        bool
            Whether the batch can be used.
        """
        if not self._seen.merge(batch.references):
            self.error = HeldError(
                "reference-changed",
                "one UID was replaced by two different UIDs within this study; report it to "
                "pacsgrid's authors",
            )
            self.dropped = True
        return not self.dropped


_J = TypeVar("_J", bound=StudyJob)
_FileTask = tuple[_StudyTask, Sequence[Path]]


class StudyProcessor:
    """Anonymises files of studies and checks the results. Use it as a context manager.

    Parameters
    ----------
    pseudonyms
        The project's pseudonym space.
    profile
        What is removed, replaced and kept.
    processes
        Largest number of worker processes; 0 for one per core that this process may use.
    cores
        Folder in which all processors of this machine share its cores; None to share nothing.
    register
        Knows the UIDs that the project issued, which stay as they are; None if there are none.
    """

    def __init__(
        self,
        pseudonyms: Pseudonyms,
        profile: Profile,
        processes: int = 0,
        cores: Path | None = None,
        register: UidRegister | None = None,
    ) -> None:
        self._register = register
        self._settings = _Settings(pseudonyms, profile, cores)
        self._processes = processes or len(os.sched_getaffinity(0))
        self._pool: ProcessPoolExecutor | None = None
        self._expected = 0.0

    def read_headers(self, files: Sequence[Path]) -> dict[str, StudyHeaders]:
        """Read the headers of files, and group them by their original StudyInstanceUID.

        A file that cannot be read is in no group. Processing it tells why.
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

    def process_studies(self, jobs: Iterable[_J]) -> Iterator[tuple[_J, ProcessedFiles | None]]:
        """Anonymise files of several studies at once, and check the results.

        A result goes to ``<job.out>/<series UID>/<SOP UID>.dcm``, and is on disk when its batch is
        yielded. One that the checker refuses is removed.

        Parameters
        ----------
        jobs
            The studies. The next one is taken when a process has room for it.

        Yields
        ------
        job : StudyJob
            The study.
        batch : ProcessedFiles or None
            Some of its files, as they are done, in no order; None when the study is finished.

        Raises
        ------
        StorageError
            A result cannot be written.
        """
        waiting = iter(jobs)
        running: dict[Future[ProcessedFiles], tuple[_J, _FileTask]] = {}
        local_queue: deque[tuple[Future[ProcessedFiles], _FileTask]] = deque()

        def is_running(job: _J) -> bool:
            return any(whose is job for whose, _ in running.values())

        while True:
            while len(running) < self._worker_count * _TASKS_PER_WORKER:
                job = next(waiting, None)
                if job is None:
                    break
                if conflicts := _conflicting_files(job):
                    yield job, conflicts
                running.update(
                    (future, (job, task)) for future, task in self._start_job(job, local_queue)
                )
                if not is_running(job):
                    yield job, None
            if not running:
                return
            for future in self._completed(running, local_queue):
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
                if not is_running(job):
                    yield job, None

    def _start_job(
        self, job: StudyJob, local_queue: deque[tuple[Future[ProcessedFiles], _FileTask]]
    ) -> list[tuple[Future[ProcessedFiles], _FileTask]]:
        duplicates = job.known.duplicates
        files, copies = duplicates.select(job.files)
        # When no header could be read, nothing is known to search the results for.
        identity = job.known.identity if job.known.headers else None
        study = _StudyTask(
            job.known.identifiers,
            identity,
            job.out,
            uuid4().hex,
            copies,
            job.subjects,
            job.review,
            *self._issued(job.known),
            self._plan_faces(job.known),
        )
        tasks = [
            (study, part)
            for part in split_evenly(files, job.known.estimated_seconds, self._worker_count)
        ]
        if self._pool is not None:
            return [(self._submit(_process_files, task), task) for task in tasks]
        made: list[tuple[Future[ProcessedFiles], _FileTask]] = [(Future(), task) for task in tasks]
        local_queue.extend(made)
        return made

    def _issued(self, known: StudyHeaders) -> tuple[frozenset[str], dict[bytes, bytes]]:
        """Return the UIDs that are to stay, and for the checker the seals of those it read."""
        if self._register is None:
            return frozenset(), {}
        read = {uid.decode("latin-1") for uid in known.identity.original_uids}
        seals = self._register.seals(read)
        return (
            frozenset(self._register.seals(known.identifiers.uids)),
            {uid.encode(): seal for uid, seal in seals.items()},
        )

    def _plan_faces(self, known: StudyHeaders) -> FacePlans:
        """Find the faces to remove; of all files, whichever of them are still to be done."""
        if self._settings.profile.faces != "remove" or not known.headers:
            return NO_PLANS
        if self._pool is None:
            with _one_core(self._settings):
                return _plan_faces(self._settings, known.headers)
        future = self._submit(_plan_faces, (known.headers,))
        if isinstance(future.exception(), BrokenProcessPool):
            return FacePlans(reasons=dict.fromkeys((one.path for one in known.headers), _TOO_MUCH))
        return future.result()

    def _submit(self, work: Callable[..., _R], task: tuple[object, ...]) -> Future[_R]:
        """Queue a task, in a new pool if a process of the old one died."""
        assert self._pool is not None
        try:
            return self._pool.submit(_run_in_worker, work, task)
        except BrokenProcessPool:
            self._pool.shutdown(wait=False)
            self._pool = self._new_pool()
            return self._pool.submit(_run_in_worker, work, task)

    def _run_isolated(self, work: Callable[..., _R], task: tuple[object, ...]) -> _R | None:
        """Run a task in a process of its own, and return None if that process died."""
        with ProcessPoolExecutor(
            1, WorkerContext(__name__), initializer=_initialise_worker, initargs=(self._settings,)
        ) as pool:
            try:
                return pool.submit(_run_in_worker, work, task).result()
            except BrokenProcessPool:
                return None

    def _retry(self, task: _FileTask) -> ProcessedFiles:
        """Run a task again that was lost with its process; file by file if it dies again."""
        batch = self._run_isolated(_process_files, task)
        if batch is not None:
            return batch
        study, files = task
        total = ProcessedFiles()
        for path in files:
            one = self._run_isolated(_process_files, (study, [path])) if len(files) > 1 else None
            if one is None:
                both = [path, *study.copies.get(path, ())]
                total.outcomes += [
                    FileOutcome(each, None, *_PROCESS_DIED, refused=True) for each in both
                ]
                continue
            total.outcomes += one.outcomes
            total.counts.merge(one.counts)
            total.references.merge(one.references)
        return total

    def _completed(
        self,
        running: Iterable[Future[ProcessedFiles]],
        local_queue: deque[tuple[Future[ProcessedFiles], _FileTask]],
    ) -> list[Future[ProcessedFiles]]:
        """Return finished tasks in the order of submission; without a pool, run the next here."""
        while local_queue:
            future, task = local_queue.popleft()
            if future.set_running_or_notify_cancel():
                with _one_core(self._settings):
                    future.set_result(_process_files(self._settings, *task))
                return [future]
        done = wait(running, return_when=FIRST_COMPLETED).done
        return [future for future in running if future in done]

    def process_in_batches(
        self,
        files: Sequence[Path],
        known: StudyHeaders,
        out: Path,
        subjects: Mapping[str, AssignedSubject] | None = None,
        review: StudyRulings = NO_RULINGS,
    ) -> Iterator[ProcessedFiles]:
        """Anonymise and check files of one study; see `process_studies`.

        Parameters
        ----------
        files
            The files.
        known
            What `read_headers` returned for all files of the study.
        out
            Folder for the results.
        subjects
            Subjects from outside, by `patient_key`; None to derive them.
        review
            What stewards decided.

        Yields
        ------
        ProcessedFiles
            Some of the files, as they are done.

        Raises
        ------
        HeldError
            ``reference-changed``: two batches replaced one UID in two ways.
        StorageError
            A result cannot be written.
        """
        job = StudyJob(files, known, out, subjects, review)
        for _, batch in self.process_studies([job]):
            if batch is not None:
                yield batch
        if job.error is not None:
            raise job.error

    def process_study(
        self,
        files: Sequence[Path],
        out: Path,
        subjects: Mapping[str, AssignedSubject] | None = None,
        review: StudyRulings = NO_RULINGS,
    ) -> ProcessedFiles:
        """Read the headers of one study's files, anonymise the files and check the results.

        Parameters
        ----------
        files
            All files of the study.
        out
            Folder for the results.
        subjects
            Subjects from outside, by `patient_key`; None to derive them.
        review
            What stewards decided.

        Returns
        -------
        ProcessedFiles
            One outcome for each file, in the order of `files`.

        Raises
        ------
        HeldError
            ``reference-changed``: two batches replaced one UID in two ways.
        StorageError
            A result cannot be written.
        """
        total = ProcessedFiles()
        known = reduce(or_, self.read_headers(files).values(), StudyHeaders())
        for batch in self.process_in_batches(files, known, out, subjects, review):
            total.outcomes += batch.outcomes
            total.counts.merge(batch.counts)
            total.references.merge(batch.references)
        place = {path: number for number, path in enumerate(files)}
        total.outcomes.sort(key=lambda outcome: place[outcome.source])
        return total

    @property
    def _worker_count(self) -> int:
        return self._processes if self._pool is not None else 1

    def _start_pool_if_worthwhile(self, seconds: float) -> None:
        """Add to the work seen so far, and start processes once there is enough for them."""
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
            initargs=(self._settings,),
        )

    def _iter_headers(
        self, tasks: Sequence[tuple[Sequence[Path]]]
    ) -> Iterator[dict[str, StudyHeaders]]:
        if self._pool is None:
            for (files,) in tasks:
                with _one_core(self._settings):
                    known = _read_headers(self._settings, files)
                yield known
            return
        futures = [self._submit(_read_headers, task) for task in tasks]
        for future, (files,) in zip(futures, tasks, strict=True):
            if not isinstance(future.exception(), BrokenProcessPool):
                yield future.result()
            elif (isolated := self._run_isolated(_read_headers, (files,))) is not None:
                yield isolated
            else:
                # A file that kills its process is in no group; processing it tells why.
                yield from filter(
                    None, (self._run_isolated(_read_headers, ([path],)) for path in files)
                )

    def close(self) -> None:
        """Stop the worker processes, and drop what is cached of the last study."""
        global _current_study
        _current_study = None
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def __enter__(self) -> Self:
        """Return this object."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the worker processes."""
        self.close()


_settings: _Settings | None = None
_current_study: tuple[str, Anonymiser, Checker] | None = None


def _initialise_worker(settings: _Settings) -> None:
    global _settings
    _settings = settings
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_with_parent, args=(parent.sentinel,), daemon=True).start()


def _exit_with_parent(sentinel: int) -> None:
    """Exit when the parent process is gone.

    A worker that outlived a killed run would write into the folder of the next run.
    """
    connection.wait([sentinel])
    os._exit(1)


def _run_in_worker(work: Callable[..., _R], task: tuple[object, ...]) -> _R:
    assert _settings is not None
    with _one_core(_settings):
        return work(_settings, *task)


def _one_core(settings: _Settings) -> AbstractContextManager[None]:
    return CoreSlots(settings.cores).one() if settings.cores else nullcontext()


def _read_headers(settings: _Settings, files: Sequence[Path]) -> dict[str, StudyHeaders]:
    with pydicom_suppressed():
        return _scan_headers(settings, files)


def _scan_headers(settings: _Settings, files: Sequence[Path]) -> dict[str, StudyHeaders]:
    return {
        study: StudyHeaders(
            collect_identifiers(one.path for one in headers), identity, tuple(headers)
        )
        for study, (identity, headers) in scan(files, settings.profile).items()
    }


def _plan_faces(settings: _Settings, headers: Sequence[ScannedHeader]) -> FacePlans:
    # Here, because SimpleITK takes half a second to import and few profiles need it.
    from .faces.plan import plan_faces

    return plan_faces(headers)


def _process_files(settings: _Settings, study: _StudyTask, files: Sequence[Path]) -> ProcessedFiles:
    anonymiser, checker = _study_tools(settings, study)
    with pydicom_suppressed(), AtomicBatch() as landing:
        outcomes: list[FileOutcome] = []
        for path in files:
            one = _process_file(
                anonymiser,
                checker,
                path,
                study.out,
                landing,
                _rulings(settings, study, path),
                study.faces,
            )
            outcomes.append(one)
            for copy in study.copies.get(path, ()):
                outcomes.append(replace(one, source=copy, is_copy=True))
        landing.commit()
    return ProcessedFiles(outcomes, *checker.take_results())


def _study_tools(settings: _Settings, study: _StudyTask) -> tuple[Anonymiser, Checker]:
    """Return anonymiser and checker of a study; their caches last until the next study."""
    global _current_study
    if _current_study is None or _current_study[0] != study.token:
        pseudonyms = settings.pseudonyms
        if study.subjects is not None:
            pseudonyms = pseudonyms.with_subjects(study.subjects)
        anonymiser = Anonymiser(
            pseudonyms.with_issued(study.issued), settings.profile, study.identifiers
        )
        checker = Checker(
            settings.profile,
            study.identity,
            pseudonyms.assigned,
            verified_uids(study.seals, pseudonyms.seal_key),
        )
        _current_study = study.token, anonymiser, checker
    return _current_study[1:]


def _rulings(settings: _Settings, study: _StudyTask, path: Path) -> FileRulings:
    """Return what stewards decided about a file, and about all files like it."""
    review = study.review
    own = review.decided.get(path, ())
    if not review.rules:
        return FileRulings(own)
    return FileRulings((*own, *matching_rules(path, review.rules, settings.pseudonyms)))


def _process_file(
    anonymiser: Anonymiser,
    checker: Checker,
    path: Path,
    out: Path,
    landing: AtomicBatch,
    decided: FileRulings,
    faces: FacePlans,
) -> FileOutcome:
    used = set(decided.blanking)
    overruled: set[str] = set()
    face = faces.of(path)
    while True:
        try:
            made = anonymiser.anonymise(path, out, landing, overruled, decided.regions, face)
            break
        except HeldError as error:
            ruling = decided.about(error.code)
            if ruling is None or error.code in overruled:
                why = faces.reasons.get(path) if error.code == "face" else None
                return FileOutcome(path, None, error.code, _detail(error, why))
            used.add(ruling.number)
            if ruling.verdict == "reject":
                detail = f"rejected by rule {ruling.number}, which a steward made for such files"
                return FileOutcome(path, None, REJECTED, detail, rulings=(ruling.number,))
            # An approval takes effect once its doubt is raised, and on no other.
            overruled.add(error.code)
        except _FATAL:
            raise
        except BaseException as error:  # a panic of a Rust decoder is no Exception
            return FileOutcome(path, None, *_failure_reason(error, "anonymiser"))
    mask = face.removal.mask if face is not None else None
    try:
        checker.check(path, landing.temporary_path(made.path), decided.regions, mask)
    except HeldError as error:
        landing.discard(made.path)
        return FileOutcome(path, None, error.code, error.detail, refused=True)
    except _FATAL:
        raise
    except BaseException as error:
        landing.discard(made.path)
        return FileOutcome(path, None, *_failure_reason(error, "checker"))
    return FileOutcome(path, made, rulings=tuple(sorted(used)))


def _detail(error: HeldError, why: str | None) -> str:
    if why is None:
        return error.detail
    return f"the face can be rendered from this volume of a head, and could not be removed: {why}"


def _failure_reason(error: BaseException, who: str) -> tuple[str, str]:
    """Return code and text of an unexpected error, whose own text may quote a value."""
    if isinstance(error, OSError) and error.strerror:
        return "unreadable-file", f"the file cannot be read: {error.strerror}; check the disk"
    if isinstance(error, MemoryError):
        return (
            "too-large",
            f"the {who} ran out of memory for this file; run it where there is more",
        )
    kind = type(error).__name__
    return (
        "unreadable",
        f"the {who} failed on this file ({kind}); report it with the file's structure, without "
        "its values",
    )


def _conflicting_files(job: StudyJob) -> ProcessedFiles | None:
    clashing = job.known.duplicates.conflicting
    held = [FileOutcome(path, None, *_DUPLICATE_CONFLICT) for path in job.files if path in clashing]
    return ProcessedFiles(held) if held else None
