"""A study's files through anonymiser and checker, over as many processes as there are cores."""

from __future__ import annotations

import multiprocessing
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar
from uuid import uuid4

from ..errors import HeldError, RetryableError
from ..model import AnonymisedInstance
from .anonymise import Anonymiser
from .check import Checker, Counts, Identity, References, Seen, scan
from .identifiers import StudyIdentifiers, collect_identifiers
from .profile import Profile
from .pseudonyms import Pseudonyms
from .quiet import quiet

_R = TypeVar("_R")
CHUNK = 32
# A process of its own takes as long to start as some hundred files take.
_WORTH_PROCESSES = 128
_CLASH = (
    "duplicate-conflict",
    "several files of this study bear the same SOPInstanceUID (0008,0018) with different "
    "content; keep the right one at the source",
)


@dataclass(frozen=True)
class Known:
    """What the headers of a study's files say before any is changed. Identified: memory only."""

    identifiers: StudyIdentifiers = field(default_factory=StudyIdentifiers)
    identity: Identity = field(default_factory=Identity)
    headers: tuple[Seen, ...] = ()

    def __or__(self, other: Known) -> Known:
        return Known(
            self.identifiers | other.identifiers,
            self.identity | other.identity,
            self.headers + other.headers,
        )

    @property
    def clashing(self) -> frozenset[Path]:
        """The files that share a SOPInstanceUID with another."""
        by_uid: dict[str, list[Path]] = defaultdict(list)
        for seen in self.headers:
            if seen.sop_uid:
                by_uid[seen.sop_uid].append(seen.path)
        return frozenset(p for paths in by_uid.values() if len(paths) > 1 for p in paths)


@dataclass(frozen=True)
class Outcome:
    """What became of one file: its result, or why it is held.

    ``refused`` says that the checker did it: the profile cannot be trusted with the study then.
    """

    source: Path
    made: AnonymisedInstance | None
    code: str = ""
    detail: str = ""
    refused: bool = False

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
        """The results."""
        return [outcome.made for outcome in self.outcomes if outcome.made]

    @property
    def held(self) -> list[Outcome]:
        """The files without a result."""
        return [outcome for outcome in self.outcomes if not outcome.made]


@dataclass(frozen=True)
class _Tools:
    pseudonyms: Pseudonyms
    profile: Profile


@dataclass(frozen=True)
class _Study:
    identifiers: StudyIdentifiers
    identity: Identity
    out: Path
    token: str


class Workshop:
    """Anonymises and checks; starts its processes when there is enough to do.

    Parameters
    ----------
    processes
        How many to use, 0 for one per core this process may use.
    """

    def __init__(self, pseudonyms: Pseudonyms, profile: Profile, processes: int = 0) -> None:
        self._tools = _Tools(pseudonyms, profile)
        self._processes = processes or len(os.sched_getaffinity(0))
        self._pool: ProcessPoolExecutor | None = None

    def know(self, files: Sequence[Path]) -> dict[str, Known]:
        """Read the headers of files, apart by their original StudyInstanceUID.

        Files that cannot be read are in none of them; `batches` tells why.
        """
        known: dict[str, Known] = {}
        for some in self._each(_know, [(part,) for part in self._parts(files)], len(files)):
            for study, what in some.items():
                known[study] = known[study] | what if study in known else what
        return known

    def batches(self, files: Sequence[Path], known: Known, out: Path) -> Iterator[Batch]:
        """Anonymise into `out/<series UID>/<SOP UID>.dcm` and check, a batch of files at a time.

        A refused file's result is removed.

        Parameters
        ----------
        files
            Those to do, of one study.
        known
            What `know` said of all files of that study.

        Raises
        ------
        HeldError
            ``reference-changed``: two batches replaced one UID in two ways.
        RetryableError
            A process died, for want of memory most likely.
        """
        clashing = known.clashing
        whole = [path for path in files if path not in clashing]
        if len(whole) < len(files):
            yield Batch([Outcome(path, None, *_CLASH) for path in files if path in clashing])
        task = _Study(known.identifiers, known.identity, out, uuid4().hex)
        seen = References()
        for batch in self._each(_do, [(task, part) for part in self._parts(whole)], len(whole)):
            if not seen.merge(batch.references):
                raise HeldError(
                    "reference-changed", "one UID was replaced in two ways within this study"
                )
            yield batch

    def study(self, files: Sequence[Path], out: Path) -> Batch:
        """Take a study's files through all of it; see `batches`."""
        total = Batch()
        known = reduce(or_, self.know(files).values(), Known())
        for batch in self.batches(files, known, out):
            total.outcomes += batch.outcomes
            total.counts.merge(batch.counts)
        return total

    def _parts(self, files: Sequence[Path]) -> list[list[Path]]:
        size = min(max(CHUNK, len(files) // (self._processes * 8)), 8 * CHUNK)
        return [list(files[at : at + size]) for at in range(0, len(files), size)]

    def _each(
        self, work: Callable[..., _R], tasks: Sequence[tuple[object, ...]], files: int
    ) -> Iterator[_R]:
        if self._processes == 1 or (files < _WORTH_PROCESSES and self._pool is None):
            for task in tasks:
                yield work(self._tools, *task)
            return
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self._processes,
                # A plain fork copies the locks of this process's threads as they stand.
                multiprocessing.get_context("forkserver"),
                initializer=_start,
                initargs=(self._tools,),
            )
        try:
            futures = [self._pool.submit(_in_process, work, task) for task in tasks]
            for future in futures:
                yield future.result()
        except BrokenProcessPool:
            raise RetryableError("an anonymising process died; is there enough memory?") from None

    def close(self) -> None:
        """End the processes, and forget the last study."""
        global _current
        _current = None
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


_tools: _Tools | None = None
_current: tuple[str, Anonymiser, Checker] | None = None


def _start(tools: _Tools) -> None:
    global _tools
    _tools = tools


def _in_process(work: Callable[..., _R], task: tuple[object, ...]) -> _R:
    return work(_tools, *task)


def _know(tools: _Tools, files: Sequence[Path]) -> dict[str, Known]:
    with quiet():
        return _known(tools, files)


def _known(tools: _Tools, files: Sequence[Path]) -> dict[str, Known]:
    return {
        study: Known(collect_identifiers(one.path for one in headers), identity, tuple(headers))
        for study, (identity, headers) in scan(files, tools.profile).items()
    }


def _do(tools: _Tools, study: _Study, files: Sequence[Path]) -> Batch:
    anonymiser, checker = _bench(tools, study)
    with quiet():
        outcomes = [_one(anonymiser, checker, path, study.out) for path in files]
    return Batch(outcomes, *checker.take())


def _bench(tools: _Tools, study: _Study) -> tuple[Anonymiser, Checker]:
    """Keep what both worked out for a study's headers until the next study."""
    global _current
    if _current is None or _current[0] != study.token:
        anonymiser = Anonymiser(tools.pseudonyms, tools.profile, study.identifiers)
        _current = study.token, anonymiser, Checker(tools.profile, study.identity)
    return _current[1:]


def _one(anonymiser: Anonymiser, checker: Checker, path: Path, out: Path) -> Outcome:
    try:
        made = anonymiser.file(path, out)
    except HeldError as error:
        return Outcome(path, None, error.code, error.detail)
    try:
        checker.check(path, made.path)
    except HeldError as error:
        made.path.unlink(missing_ok=True)
        return Outcome(path, None, error.code, error.detail, refused=True)
    return Outcome(path, made)
