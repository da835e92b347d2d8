"""A drop folder as a source: files that somebody copied there, under any names."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from pacsgrid.config import SourceSettings
from pacsgrid.disk import storing, sync_directory
from pacsgrid.errors import SourceUnavailableError
from pacsgrid.model import FoundStudy, SeriesFacts, StagedFile, StudyQuery
from pacsgrid.pacs.base import ConnectionlessSource, folder_of
from pacsgrid.pacs.folder_index import FolderIndex, IndexedFile
from pacsgrid.pacs.query_check import matches_header
from pacsgrid.pacs.slice_header import facts_of, read_slice
from pacsgrid.pacs.staging import prepare, read_chunks, write_durable


class FolderSource(ConnectionlessSource):
    """Studies of a drop folder, grouped by StudyInstanceUID."""

    def __init__(self, settings: SourceSettings) -> None:
        self._name = settings.name
        self._folder = folder_of(settings)
        file = settings.state / f"{settings.name}.index" if settings.state else None
        self._index = FolderIndex(self._folder, file)

    def echo(self) -> None:
        """Return if the folder exists, else raise; it may be a share that is not mounted."""
        if not self._folder.is_dir():
            raise SourceUnavailableError(f"source {self._name}: the drop folder is not there")

    def find_studies(self, query: StudyQuery) -> Iterator[FoundStudy]:
        """Yield each study once; strays come last, as one study with an empty UID.

        The index of the folder is brought up to date first.
        """
        with self._reading():
            self._index.refresh()
        for uid, headers in self._index.studies():
            modalities = tuple(sorted({one.modality for one in headers if one.modality}))
            if query.modalities and not set(query.modalities) & set(modalities):
                continue
            if any(matches_header(one, query) for one in headers):
                instances = len({one.sop_uid for one in headers})
                first = headers[0]
                yield FoundStudy(
                    uid,
                    first.patient_id,
                    instances,
                    modalities,
                    date=first.date,
                    accession=first.accession,
                )
        strays = self._index.files("")
        if strays and not (query.study_uids and "" not in query.study_uids):
            yield FoundStudy("", "", len(strays))

    def list_instances(self, study: FoundStudy) -> set[str]:
        """Return the SOP Instance UIDs of a study's files."""
        files = self._files(study.study_uid)
        return {file.header.sop_uid for file in files if file.header.sop_uid}

    def list_series(self, study: FoundStudy) -> list[SeriesFacts]:
        """Return what the headers of a study's files say of each series."""
        with self._reading():
            headers = [read_slice(file.path) for file in self._files(study.study_uid)]
        return list(facts_of(headers).values())

    def describe_series(self, study: FoundStudy, series: SeriesFacts) -> SeriesFacts:
        """Return the series as it is: its headers were read.

        Parameters
        ----------
        study, series
            The study and one of its series.
        """
        return series

    def retrieve(
        self, study: FoundStudy, into: Path, leave_out: Collection[str] = ()
    ) -> list[StagedFile]:
        """Copy a study's files, see `Source.retrieve`.

        They are named by content, so two contents of one SOP Instance UID both arrive.

        Parameters
        ----------
        study, into, leave_out
            As there.

        Raises
        ------
        SourceUnavailableError
            A file cannot be read, or changes while it is.
        StorageError
            A file cannot be written.
        """
        prepare(into)
        staged = {}
        files = self._files(study.study_uid)
        if not all(file.is_unchanged() for file in files):
            with self._reading():
                self._index.refresh()
            files = self._index.files(study.study_uid)
        for file in files:
            if file.header.series_uid in leave_out:
                continue
            try:
                with storing(into):
                    target = _copy(file.path, into)
            except _UnreadableFileError as error:
                # The path may hold a patient's name.
                raise SourceUnavailableError(
                    f"source {self._name}: a file cannot be read: {error}"
                ) from None
            if not file.is_unchanged():
                target.unlink(missing_ok=True)
                raise SourceUnavailableError(
                    f"source {self._name}: a file changed while it was read; it is taken later"
                )
            staged[target] = StagedFile(target, file.header.sop_uid)
        if leave_out:
            for path in set(into.glob("*.dcm")) - staged.keys():
                path.unlink()
        sync_directory(into)
        return [staged[path] for path in sorted(staged)]

    def strays(self) -> list[Path]:
        """List files that are not DICOM, or name no study."""
        return [file.path for file in self._files("")]

    def _files(self, study_uid: str) -> list[IndexedFile]:
        with self._reading():
            self._index.refresh_if_changed(study_uid)
        return self._index.files(study_uid)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        self.echo()
        try:
            yield
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise SourceUnavailableError(
                f"source {self._name}: the drop folder cannot be read: {why}"
            ) from None
        except sqlite3.Error as error:
            raise SourceUnavailableError(
                f"source {self._name}: its index cannot be used ({type(error).__name__}); "
                "is the disk full?"
            ) from None


class _UnreadableFileError(Exception):
    """A file of the drop folder cannot be read; the text is the system's, without its path."""


def _chunks(path: Path) -> Iterator[bytes]:
    try:
        yield from read_chunks(path)
    except OSError as error:
        raise _UnreadableFileError(error.strerror or type(error).__name__) from None


def _copy(path: Path, into: Path) -> Path:
    digest = hashlib.sha256()
    for chunk in _chunks(path):
        digest.update(chunk)
    target = into / f"{digest.hexdigest()[:32]}.dcm"
    if not target.exists():
        write_durable(target, _chunks(path))
    return target
