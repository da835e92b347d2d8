"""Folders of DICOM files in, a tree of anonymised studies out, resumable at any point."""

from __future__ import annotations

import filecmp
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..disk import sync_directories
from ..errors import HeldError
from ..uids import named, place
from .check import Counts
from .journal import Journal, StudyEntry
from .profile import Profile
from .pseudonyms import Pseudonyms
from .quarantine import keep_with_reason
from .report import REPORT_NAME, study_report
from .work import Batch, Job, Known, Outcome, Workshop

JOURNAL = Path(".pacsgrid") / "journal.jsonl"
Tell = Callable[["Summary"], None]


@dataclass
class Summary:
    """How a run stands: files in all, results, held by reason, files an earlier run had done."""

    files: int = 0
    made: int = 0
    earlier: int = 0
    held: Counter[str] = field(default_factory=Counter)
    counts: Counts = field(default_factory=Counts)

    @property
    def finished(self) -> int:
        """Files that need nothing more."""
        return self.made + self.earlier + sum(self.held.values())


def list_files(inputs: Sequence[Path], but: Sequence[Path] = ()) -> list[Path]:
    """List files, and those below folders; what lies in `but` and symbolic links are left out."""
    apart = [path.resolve() for path in but]

    def walk() -> Iterator[Path]:
        for entry in inputs:
            if not entry.is_dir():
                yield entry
                continue
            for folder, folders, names in os.walk(entry):
                here = Path(folder)
                folders[:] = [f for f in folders if (here / f).resolve() not in apart]
                yield from (here / n for n in names if not (here / n).is_symlink())

    return sorted(set(walk()))


@dataclass(eq=False)
class _Study(Job):
    """A study under way: its name and its files' keys in the journal, and what became of it."""

    ref: str = ""
    keys: dict[Path, str] = field(default_factory=dict)
    made: int = 0
    held: Counter[str] = field(default_factory=Counter)
    refused: Outcome | None = None


class FolderRun:
    """Takes files to `out`/subject/study UID/series UID/SOP UID.dcm, each study when it is whole.

    Parameters
    ----------
    out
        For the results; pseudonyms alone, in names and contents.
    quarantine
        For copies of the files that cannot go on: identified, to be kept private.
    tell
        Is called after each batch.
    """

    def __init__(
        self,
        pseudonyms: Pseudonyms,
        profile: Profile,
        out: Path,
        quarantine: Path,
        processes: int = 0,
        tell: Tell = lambda summary: None,
    ) -> None:
        self._pseudonyms = pseudonyms
        self._profile = profile
        self._out = out
        self._quarantine = quarantine
        self._processes = processes
        self._tell = tell
        self._summary = Summary()

    def run(self, files: Sequence[Path]) -> Summary:
        """Anonymise files; run again after a crash it goes on where it stopped.

        Raises
        ------
        ConfigError
            `out` holds the results of another profile or key.
        RetryableError
            A process died.
        """
        self._summary = Summary(files=len(files))
        made_with = f"{self._profile.hash} {self._pseudonyms.reference('space', '')}"
        with (
            Journal(self._out / JOURNAL, made_with) as journal,
            Workshop(self._pseudonyms, self._profile, self._processes) as workshop,
        ):
            for study, batch in workshop.many(self._going(journal, workshop, files)):
                if batch is None:
                    self._end(journal, study)
                else:
                    self._take(journal, study, batch)
                self._tell(self._summary)
        return self._summary

    def rehearse(self, files: Sequence[Path]) -> Summary:
        """Say what a run would do; nothing is kept of it."""
        self._summary = summary = Summary(files=len(files))
        with (
            tempfile.TemporaryDirectory(prefix="pacsgrid-") as folder,
            Workshop(self._pseudonyms, self._profile, self._processes) as workshop,
        ):
            jobs = (
                Job(paths, known, Path(folder) / ref)
                for ref, paths, known in self._studies(workshop, files)
            )
            for job, batch in workshop.many(jobs):
                if batch is None:
                    shutil.rmtree(job.out, ignore_errors=True)
                    continue
                for made in batch.made:
                    made.path.unlink(missing_ok=True)
                summary.made += len(batch.made)
                summary.held.update(outcome.code for outcome in batch.held)
                summary.counts.merge(batch.counts)
                self._tell(summary)
        return summary

    def _studies(
        self, workshop: Workshop, files: Sequence[Path]
    ) -> Iterator[tuple[str, list[Path], Known]]:
        unread = set(files)
        for uid, known in sorted(workshop.know(files).items()):
            paths = [seen.path for seen in known.headers]
            unread.difference_update(paths)
            yield self._pseudonyms.reference("folder", uid), paths, known
        if unread:
            yield self._pseudonyms.reference("folder", "unread"), sorted(unread), Known()

    def _key(self, path: Path) -> str:
        stat = path.stat()
        what = f"{path.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}"
        return self._pseudonyms.reference("file", what)

    def _going(
        self, journal: Journal, workshop: Workshop, files: Sequence[Path]
    ) -> Iterator[_Study]:
        """Yield the studies that are to be done; what an earlier run has of them stays."""
        for ref, paths, known in self._studies(workshop, files):
            work = self._out / JOURNAL.parent / ref
            if not self._is_there(journal.study(ref), work):
                journal.drop(ref)
            entry = journal.study(ref)
            keys = {path: self._key(path) for path in paths}
            left = [path for path in paths if keys[path] not in entry.done]
            self._summary.earlier += len(paths) - len(left)
            yield _Study(left, known, work, ref=ref, keys=keys)

    def _is_there(self, entry: StudyEntry, work: Path) -> bool:
        """Say whether what an interrupted run noted of a study still stands somewhere."""
        if entry.settled or not entry.done:
            return True
        final = self._final(entry)
        return all(
            any(place(room, *uids, suffix=".dcm").exists() for room in (work, final))
            for uids in entry.done.values()
        )

    def _final(self, entry: StudyEntry) -> Path:
        """Return where a study's results stand in the end."""
        return place(self._out / named(entry.subject), entry.study_uid)

    def _take(self, journal: Journal, study: _Study, batch: Batch) -> None:
        # Files that the checker cannot read belong to no study that they could spoil.
        refused = (one for one in batch.held if one.refused and study.known.headers)
        study.refused = next(refused, None)
        if study.refused is None:
            try:
                self._note(journal, study, batch)
            except HeldError as error:
                study.error = error
        study.dropped = study.refused is not None or study.error is not None

    def _end(self, journal: Journal, study: _Study) -> None:
        """Settle a study of which nothing is under way any more, or forget it."""
        summary, ref, entry = self._summary, study.ref, journal.study(study.ref)
        try:
            if study.error is not None:
                raise study.error
            if study.refused is None and entry.done and not (entry.settled and not study.files):
                self._settle(journal, ref, entry, study.out)
        except HeldError as error:
            study.refused = Outcome(next(iter(study.keys)), None, error.code, error.detail)
        if study.refused:
            one = study.refused
            keep_with_reason(one.source, self._quarantine, one.code, one.detail)
            summary.made -= study.made
            summary.held.subtract(study.held)
            summary.held[one.code] += len(study.files)
            summary.held += Counter()  # without what is none now
            journal.drop(ref)
        shutil.rmtree(study.out, ignore_errors=True)

    def _note(self, journal: Journal, study: _Study, batch: Batch) -> None:
        ref, keys = study.ref, study.keys
        entry = journal.study(ref)
        subjects = {made.subject for made in batch.made} | ({entry.subject} - {""})
        if len(subjects) > 1:
            raise HeldError(
                "patient-mismatch",
                "the files of this study bear different PatientIDs (0010,0020); correct it at "
                "the source",
            )
        for outcome in batch.held:
            keep_with_reason(outcome.source, self._quarantine, outcome.code, outcome.detail)
        done = [
            (keys[outcome.source], outcome.made.series_uid, outcome.made.sop_uid)
            for outcome in batch.outcomes
            if outcome.made
        ]
        held = {keys[outcome.source]: outcome.code for outcome in batch.held}
        study_uid = batch.made[0].study_uid if batch.made else entry.study_uid
        journal.batch(ref, next(iter(subjects), ""), study_uid, done, held, batch.counts)
        study.made += len(done)
        study.held.update(held.values())
        self._summary.made += len(done)
        self._summary.held.update(held.values())

    def _settle(self, journal: Journal, ref: str, entry: StudyEntry, work: Path) -> None:
        """Take a study that passed as a whole to its final place, and its report with it."""
        final = self._final(entry)
        folders = {self._out, final.parent, final}
        for series, sop in entry.done.values():
            part = place(work, series, sop, suffix=".dcm")
            target = place(final, series, sop, suffix=".dcm")
            # One that is not in the workplace was taken over before a crash.
            if part.exists():
                if target.exists() and not filecmp.cmp(target, part, shallow=False):
                    raise HeldError(
                        "duplicate-conflict",
                        f"{entry.subject}/{entry.study_uid} holds an instance of the same UID "
                        "with different content; keep the right one at the source",
                    )
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(part, target)
            folders.add(target.parent)
        held = list(entry.held.values())
        report = study_report(entry.subject, entry.study_uid, self._profile, entry.counts, held)
        partial = final / f"{REPORT_NAME}.part"
        with partial.open("wb") as stream:
            stream.write(report)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, final / REPORT_NAME)
        sync_directories(folders)
        journal.settle(ref)
        self._summary.counts.merge(entry.counts)
