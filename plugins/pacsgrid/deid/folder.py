"""Anonymise folders of DICOM files into a tree of studies; a run can be resumed at any point.

Every input file has a result in the tree, or is in the quarantine, or is listed in the quarantine's
``reasons.jsonl``.
"""

from __future__ import annotations

import errno
import filecmp
import os
import shutil
import stat
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

from ..disk import storing, sync_directories
from ..errors import HeldError
from ..model import PatientPrint
from ..uids import named, place
from .check import Counts
from .journal import Journal, StudyEntry
from .patient import merge_patient_prints, patient_conflict
from .processing import FileOutcome, ProcessedFiles, StudyHeaders, StudyJob, StudyProcessor
from .profile import Profile
from .pseudonyms import Pseudonyms
from .quarantine import Quarantine
from .report import REPORT_NAME, study_report

JOURNAL = Path(".pacsgrid") / "journal.jsonl"
ProgressCallback = Callable[["Summary"], None]


@dataclass
class Summary:
    """Progress of a run. Each file counts once.

    Attributes
    ----------
    files
        Everything that was found: files, and what else there is in the folders.
    made, copies
        Results, and files that were copies of an instance with a result.
    earlier
        Files that an earlier run had done.
    held
        Held files by reason code.
    skipped
        What is not to be anonymised (directories of file-sets, links, pipes), by code.
    counts
        What the checker counted in the results.
    """

    files: int = 0
    made: int = 0
    copies: int = 0
    earlier: int = 0
    held: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    counts: Counts = field(default_factory=Counts)

    @property
    def finished(self) -> int:
        """Number of files that need nothing more."""
        done = self.made + self.copies + self.earlier
        return done + sum(self.held.values()) + sum(self.skipped.values())


@dataclass(frozen=True)
class Listing:
    """What was found in folders.

    Attributes
    ----------
    files
        Files to anonymise.
    skipped
        What is no file: path, code and text of the reason.
    unreadable
        Files and folders that cannot be read: path, code and text of the reason.
    """

    files: list[Path] = field(default_factory=list)
    skipped: list[tuple[Path, str, str]] = field(default_factory=list)
    unreadable: list[tuple[Path, str, str]] = field(default_factory=list)


# Special files, which are never opened.
_SPECIAL_FILES = (
    (stat.S_ISFIFO, "pipe", "a named pipe"),
    (stat.S_ISSOCK, "socket", "a socket"),
    (stat.S_ISCHR, "device", "a device"),
    (stat.S_ISBLK, "device", "a device"),
)
_SYMBOLIC_LINK = (
    "symbolic-link",
    "a symbolic link; name its target itself if it should be anonymised",
)
# Reasons of the anonymiser for files that belong to no study.
_SKIPPED_CODES = frozenset({"directory-file"})
_UNREADABLE = "unreadable-file"


def list_files(inputs: Sequence[Path], exclude: Sequence[Path] = ()) -> Listing:
    """List files, and the files below folders.

    Symbolic links below a folder are not followed. Nothing but regular files is to be opened:
    reading a pipe would not end.

    Parameters
    ----------
    inputs
        Files and folders.
    exclude
        Folders to leave out, such as the one for the results.

    Returns
    -------
    Listing
    """
    apart = [os.path.realpath(path) for path in exclude]
    found: dict[Path, tuple[str, str] | None] = {}
    unreadable: dict[Path, tuple[str, str]] = {}

    def note_error(error: OSError) -> None:
        unreadable[Path(os.fsdecode(error.filename))] = _unreadable_reason(error, "folder")

    for entry in inputs:
        if not entry.is_dir():
            found.setdefault(entry, _special_kind(entry, follow=True))
            continue
        for folder, folders, names in os.walk(entry, onerror=note_error):
            here = Path(folder)
            links = [name for name in folders if (here / name).is_symlink()]
            folders[:] = [
                name
                for name in folders
                if name not in links and os.path.realpath(here / name) not in apart
            ]
            for name in (*names, *links):
                found.setdefault(here / name, _special_kind(here / name))
    listing = Listing()
    for path, kind in sorted(found.items()):
        if kind is None:
            listing.files.append(path)
        else:
            (listing.unreadable if kind[0] == _UNREADABLE else listing.skipped).append(
                (path, *kind)
            )
    listing.unreadable.extend((path, *why) for path, why in sorted(unreadable.items()))
    return listing


def _special_kind(path: Path, follow: bool = False) -> tuple[str, str] | None:
    """Return code and text for a path that is no regular file; None for a regular file."""
    try:
        mode = path.stat(follow_symlinks=follow).st_mode
    except OSError as error:
        return _unreadable_reason(error, "file")
    if stat.S_ISREG(mode):
        return None
    if stat.S_ISLNK(mode):
        return _SYMBOLIC_LINK
    for is_kind, code, what in _SPECIAL_FILES:
        if is_kind(mode):
            return code, f"{what}, not a file"
    return "special-file", "neither a file nor a folder"


def _unreadable_reason(error: OSError, what: str) -> tuple[str, str]:
    why = error.strerror or type(error).__name__
    denied = error.errno in (errno.EACCES, errno.EPERM)
    advice = "let this account read it, and run again" if denied else "check the disk"
    return _UNREADABLE, f"the {what} cannot be read: {why}; {advice}"


@dataclass(eq=False)
class _FolderStudy(StudyJob):
    """A study in progress.

    Attributes
    ----------
    ref
        Its reference in the journal.
    keys
        Keys of its files in the journal.
    before
        Progress of an earlier run, whose results have their final paths already.
    earlier, made, copies
        As in `Summary`, of this study.
    told
        Files that were held or skipped for a reason of their own.
    refused
        The file for which the whole study is given up.
    patient
        What the headers tell of the patient.
    """

    ref: str = ""
    keys: dict[Path, str] = field(default_factory=dict)
    before: StudyEntry | None = None
    earlier: int = 0
    made: int = 0
    copies: int = 0
    told: set[Path] = field(default_factory=set)
    refused: FileOutcome | None = None
    patient: PatientPrint = field(default_factory=PatientPrint)


class FolderRun:
    """Anonymises files to ``<out>/<subject>/<study UID>/<series UID>/<SOP UID>.dcm``.

    A study appears there once all of its files are done or held.

    Parameters
    ----------
    pseudonyms
        The project's pseudonym space.
    profile
        What is removed, replaced and kept.
    out
        Folder for the results; names and contents hold pseudonyms only.
    quarantine
        Folder for copies of held files. These identify patients: keep it private.
    processes
        Largest number of worker processes; 0 for one per core.
    on_progress
        Called after each batch.
    """

    def __init__(
        self,
        pseudonyms: Pseudonyms,
        profile: Profile,
        out: Path,
        quarantine: Path,
        processes: int = 0,
        on_progress: ProgressCallback = lambda summary: None,
    ) -> None:
        self._pseudonyms = pseudonyms
        self._profile = profile
        self._out = out
        self._quarantine = Quarantine(quarantine)
        self._processes = processes
        self._on_progress = on_progress
        self._summary = Summary()
        self._patients: dict[str, PatientPrint] = {}

    def run(self, files: Sequence[Path] | Listing) -> Summary:
        """Anonymise files. After a crash, run again with the same files to continue.

        Parameters
        ----------
        files
            Files, or what `list_files` returned.

        Returns
        -------
        Summary

        Raises
        ------
        ConfigError
            `out` holds results of another profile or key.
        StorageError
            `out` or the quarantine cannot be written.
        """
        listing = _as_listing(files)
        self._summary = _initial_summary(listing)
        made_with = f"{self._profile.hash} {self._pseudonyms.reference('space', '')}"
        with (
            Journal(self._out / JOURNAL, made_with) as journal,
            StudyProcessor(self._pseudonyms, self._profile, self._processes) as processor,
        ):
            for path, code, detail in (*listing.skipped, *listing.unreadable):
                self._quarantine.record(path, code, detail)
            self._patients = journal.patients()
            for study, batch in processor.process_studies(
                self._iter_jobs(journal, processor, listing.files)
            ):
                if batch is None:
                    self._finish_study(journal, study)
                else:
                    self._take_batch(journal, study, batch)
                self._on_progress(self._summary)
        return self._summary

    def dry_run(self, files: Sequence[Path] | Listing) -> Summary:
        """Return the summary that a run would have, without keeping any result.

        Parameters
        ----------
        files
            Files, or what `list_files` returned.

        Returns
        -------
        Summary
        """
        listing = _as_listing(files)
        self._summary = summary = _initial_summary(listing)
        with (
            tempfile.TemporaryDirectory(prefix="pacsgrid-") as folder,
            StudyProcessor(self._pseudonyms, self._profile, self._processes) as processor,
        ):
            jobs = (
                _FolderStudy(paths, known, Path(folder) / ref)
                for ref, paths, known in self._group_by_study(processor, listing.files)
            )
            subjects: dict[Path, set[str]] = {}
            for study, batch in processor.process_studies(jobs):
                if batch is None:
                    for subject in subjects.get(study.out, ()):
                        self._check_subject(study, subject, study.patient)
                    self._count_given_up(study)
                    shutil.rmtree(study.out, ignore_errors=True)
                    continue
                for made in batch.made:
                    made.path.unlink(missing_ok=True)
                self._check_study(study, batch, subjects.setdefault(study.out, set()))
                if not study.dropped:
                    self._count(study, batch)
                    summary.counts.merge(batch.counts)
                self._on_progress(summary)
        return summary

    def _check_study(self, study: _FolderStudy, batch: ProcessedFiles, subjects: set[str]) -> None:
        """Give up a study if one file was refused, or if it is of two patients."""
        # A file whose header cannot be read belongs to no study.
        refused = (one for one in batch.held if one.refused and study.known.headers)
        study.refused = study.refused or next(refused, None)
        subjects.update(made.subject for made in batch.made)
        if study.refused is None and len(subjects - {""}) > 1:
            study.error = HeldError(
                "patient-mismatch",
                "the files of this study have different PatientIDs (0010,0020), or the same one "
                "of different issuers (0010,0021); correct it at the source",
            )
        elif study.refused is None and self._profile.hold_patient_conflicts:
            try:
                prints = (made.patient for made in batch.made)
                study.patient = merge_patient_prints((study.patient, *prints))
            except HeldError as error:
                study.error = error
        study.dropped = study.refused is not None or study.error is not None

    def _check_subject(self, study: _FolderStudy, subject: str, patient: PatientPrint) -> None:
        """Give up a study whose subject is already used for another patient."""
        if study.dropped or not self._profile.hold_patient_conflicts:
            return
        known = self._patients.get(subject, PatientPrint())
        if apart := known.disagrees(patient):
            study.error = patient_conflict(apart)
            study.dropped = True
        else:
            self._patients[subject] = known | patient

    def _count(self, study: _FolderStudy, batch: ProcessedFiles) -> None:
        copies = sum(one.is_copy for one in batch.outcomes if one.made)
        for tally in (study, self._summary):
            tally.made += len(batch.made)
            tally.copies += copies
        for one in batch.held:
            (self._summary.skipped if one.code in _SKIPPED_CODES else self._summary.held)[
                one.code
            ] += 1
            study.told.add(one.source)

    def _count_given_up(self, study: _FolderStudy) -> tuple[str, str]:
        """Count all files of a study as held if it was given up; return code and text of why."""
        if study.refused is not None:
            why = study.refused.code, study.refused.detail
        elif study.error is not None:
            why = study.error.code, study.error.detail
        else:
            return "", ""
        summary = self._summary
        summary.made -= study.made
        summary.copies -= study.copies
        summary.earlier -= study.earlier
        summary.held[why[0]] += len(study.files) - len(study.told) + study.earlier
        return why

    def _group_by_study(
        self, processor: StudyProcessor, files: Sequence[Path]
    ) -> Iterator[tuple[str, list[Path], StudyHeaders]]:
        unreadable = set(files)
        for uid, known in sorted(processor.read_headers(files).items()):
            paths = [seen.path for seen in known.headers]
            unreadable.difference_update(paths)
            yield self._pseudonyms.reference("folder", uid), paths, known
        if unreadable:
            yield (
                self._pseudonyms.reference("folder", "unread"),
                sorted(unreadable),
                StudyHeaders(),
            )

    def _key(self, path: Path) -> str:
        try:
            state = path.stat()
            what = f"{os.path.realpath(path)}\0{state.st_size}\0{state.st_mtime_ns}"
        except OSError:  # removed since it was listed
            what = f"{path}\0gone"
        return self._pseudonyms.reference("file", what)

    def _iter_jobs(
        self, journal: Journal, processor: StudyProcessor, files: Sequence[Path]
    ) -> Iterator[_FolderStudy]:
        """Yield the studies to process, without the files that an earlier run has done."""
        for ref, paths, known in self._group_by_study(processor, files):
            work = self._out / JOURNAL.parent / ref
            if not self._results_exist(journal.entry(ref), work):
                journal.drop(ref)
            entry = journal.entry(ref)
            keys = {path: self._key(path) for path in paths}
            self._record_copies(journal, ref, keys, known)
            left = [path for path in paths if keys[path] not in entry.done]
            # Settled results stay, even if the files added since are held.
            before = deepcopy(entry) if entry.settled else None
            earlier = 0 if entry.settled else len(paths) - len(left)
            self._summary.earlier += len(paths) - len(left)
            yield _FolderStudy(
                left, known, work, ref=ref, keys=keys, before=before, earlier=earlier
            )

    def _record_copies(
        self, journal: Journal, ref: str, keys: dict[Path, str], known: StudyHeaders
    ) -> None:
        """Record files as done that are copies of files that an earlier run has done."""
        entry = journal.entry(ref)
        for group in known.duplicates.identical if entry.done else ():
            there = next((entry.done[keys[p]] for p in group if keys[p] in entry.done), None)
            new = [keys[path] for path in group if keys[path] not in entry.done]
            if there is not None and new:
                settled = entry.settled
                done = [(key, *there) for key in new]
                journal.record_batch(ref, entry.subject, entry.study_uid, done, {}, Counts())
                if settled:
                    journal.mark_settled(ref)

    def _results_exist(self, entry: StudyEntry, work: Path) -> bool:
        """Return whether the results recorded by an interrupted run still exist."""
        if entry.settled or not entry.done:
            return True
        final = self._final_folder(entry)
        return all(
            any(place(room, *uids, suffix=".dcm").exists() for room in (work, final))
            for uids in entry.done.values()
        )

    def _final_folder(self, entry: StudyEntry) -> Path:
        """Return the final folder of a study's results."""
        return place(self._out / named(entry.subject), entry.study_uid)

    def _take_batch(self, journal: Journal, study: _FolderStudy, batch: ProcessedFiles) -> None:
        self._check_study(study, batch, {journal.entry(study.ref).subject})
        if not study.dropped:
            self._record_batch(journal, study, batch)

    def _finish_study(self, journal: Journal, study: _FolderStudy) -> None:
        """Settle a study when all of its files are processed, or hold all of them."""
        ref, entry = study.ref, journal.entry(study.ref)
        if entry.done:
            self._check_subject(study, entry.subject, entry.patient)
        if not study.dropped and entry.done and not (entry.settled and not study.files):
            try:
                self._settle_study(journal, ref, entry, study.out)
            except HeldError as error:
                study.error = error
        code, detail = self._count_given_up(study)
        if code:
            left = set(study.files) if study.before else study.keys.keys()
            for path in sorted(left - study.told):
                own = study.refused is None or study.refused.source == path
                told = detail if own else f"held because another file of its study is: {detail}"
                self._quarantine.hold(path, code, told)
            journal.drop(ref)
            if old := study.before:
                done = [(key, *place) for key, place in old.done.items()]
                journal.record_batch(
                    ref, old.subject, old.study_uid, done, old.held, old.counts, old.patient
                )
                journal.mark_settled(ref)
        shutil.rmtree(study.out, ignore_errors=True)

    def _record_batch(self, journal: Journal, study: _FolderStudy, batch: ProcessedFiles) -> None:
        ref, keys = study.ref, study.keys
        entry = journal.entry(ref)
        for outcome in batch.held:
            if outcome.code in _SKIPPED_CODES:
                self._quarantine.record(outcome.source, outcome.code, outcome.detail)
            else:
                self._quarantine.hold(outcome.source, outcome.code, outcome.detail)
        done = [
            (keys[outcome.source], outcome.made.series_uid, outcome.made.sop_uid)
            for outcome in batch.outcomes
            if outcome.made
        ]
        held = {keys[one.source]: one.code for one in batch.held if one.code not in _SKIPPED_CODES}
        subject = batch.made[0].subject if batch.made else entry.subject
        study_uid = batch.made[0].study_uid if batch.made else entry.study_uid
        journal.record_batch(ref, subject, study_uid, done, held, batch.counts, study.patient)
        self._count(study, batch)

    def _settle_study(self, journal: Journal, ref: str, entry: StudyEntry, work: Path) -> None:
        """Move the results of a study to their final paths, and write its report."""
        with storing(self._out):
            self._move(entry, work)
        journal.mark_settled(ref)
        self._summary.counts.merge(entry.counts)

    def _move(self, entry: StudyEntry, work: Path) -> None:
        final = self._final_folder(entry)
        folders = {self._out, final.parent, final}
        for series, sop in entry.done.values():
            part = place(work, series, sop, suffix=".dcm")
            target = place(final, series, sop, suffix=".dcm")
            # A file that is not in the work folder was moved before a crash.
            if part.exists():
                if target.exists() and not filecmp.cmp(target, part, shallow=False):
                    raise HeldError(
                        "duplicate-conflict",
                        f"{entry.subject}/{entry.study_uid} holds an instance with the same UID "
                        "but different content; keep the right one at the source",
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


def _as_listing(files: Sequence[Path] | Listing) -> Listing:
    return files if isinstance(files, Listing) else Listing(list(files))


def _initial_summary(listing: Listing) -> Summary:
    """Return the summary of a run before any file is read."""
    return Summary(
        files=len(listing.files) + len(listing.skipped) + len(listing.unreadable),
        held=Counter(code for _, code, _ in listing.unreadable),
        skipped=Counter(code for _, code, _ in listing.skipped),
    )
