"""What the storage SCP received, as a source: complete studies, one directory each."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from copy import copy
from pathlib import Path
from typing import Self

from pacsgrid.config import SourceSettings
from pacsgrid.disk import sync_directories, sync_directory
from pacsgrid.errors import SourceUnavailableError
from pacsgrid.model import FoundStudy, SeriesFacts, StagedFile, StudyQuery
from pacsgrid.pacs.base import ConnectionlessSource, folder_of
from pacsgrid.pacs.header import StudyHeader, read_file_meta, read_header
from pacsgrid.pacs.query_check import matches_header
from pacsgrid.pacs.slice_header import SliceHeader, facts_of, read_slice
from pacsgrid.pacs.staging import prepare, read_chunks, write_durable
from pacsgrid.pacs.storage_scp.completion_watcher import ANNOUNCED, is_complete
from pacsgrid.pacs.storage_scp.incoming import OWNERS, PARTS, directory_for
from pacsgrid.uids import place

log = logging.getLogger(__name__)


class ReceivedSource(ConnectionlessSource):
    """Studies that peers pushed; a study is found once it is complete."""

    def __init__(self, settings: SourceSettings) -> None:
        self.name = settings.name
        self._folder = folder_of(settings)
        self._originals = settings.originals
        self._whole = False

    def echo(self) -> None:
        """Return if the receiver's folder exists, else raise."""
        if not (self._folder / PARTS).is_dir():
            raise SourceUnavailableError(f"source {self.name}: the receiver's folder is not there")

    def find_studies(self, query: StudyQuery) -> Iterator[FoundStudy]:
        """Yield each complete study that matches, once."""
        for directory in self._directories():
            if not is_complete(directory) or not (headers := _headers(directory)):
                continue
            first = headers[0]
            modalities = tuple(sorted({header.modality for header in headers} - {""}))
            wanted = not query.modalities or set(query.modalities) & set(modalities)
            if wanted and matches_header(first, query):
                yield FoundStudy(
                    first.study_uid,
                    first.patient_id,
                    len(headers),
                    modalities,
                    date=first.date,
                    accession=first.accession,
                )

    def list_instances(self, study: FoundStudy) -> set[str]:
        """Return the SOP Instance UIDs of a study's files that are still there."""
        return {_sop_uid(path) for path in self.files(study)}

    def list_series(self, study: FoundStudy) -> list[SeriesFacts]:
        """Return what the headers of a study's files say of each series."""
        return list(facts_of(map(_slice, self.files(study))).values())

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
        """Link a study's files into staging, or copy them to another file system.

        See `Source.retrieve`.

        Parameters
        ----------
        study, into, leave_out
            As there.
        """
        prepare(into)
        staged = []
        for path in self.files(study):
            if leave_out and _slice(path).series_uid in leave_out:
                (into / path.name).unlink(missing_ok=True)
                continue
            target = into / path.name
            if not target.exists():
                try:
                    os.link(path, target)
                except OSError:
                    write_durable(target, read_chunks(path))
            staged.append(StagedFile(target, _sop_uid(path)))
        sync_directory(into)
        return staged

    def strays(self) -> list[Path]:
        """Return nothing: an instance without a study is refused when it arrives."""
        return []

    # -- originals ------------------------------------------------------------------------

    def with_originals(self) -> Self:
        """Return the same source, with the originals that it keeps of studies as their files."""
        made = copy(self)
        made._whole = True
        return made

    def keep_original(self, study: FoundStudy, path: Path, name: str) -> None:
        """Keep a file as the original of an instance, if the site keeps any; the first one stays.

        Parameters
        ----------
        study
            The study.
        path
            The received file.
        name
            The pseudonymous SOP Instance UID of the instance.

        Raises
        ------
        StorageError
            It could not be written.
        """
        if self._originals is None:
            return
        target = place(self._originals / directory_for(study.study_uid), name, suffix=".dcm")
        if target.exists():
            return
        for folder in (self._originals, target.parent):
            folder.mkdir(exist_ok=True, mode=0o700)
        try:
            os.link(path, target)
        except OSError:  # on another file system
            write_durable(target, read_chunks(path))
        # The received file is removed next.
        sync_directories([target.parent, self._originals])

    def originals(self, study: FoundStudy) -> dict[str, Path]:
        """Return the originals of a study by the names under which they are kept."""
        if self._originals is None:
            return {}
        found = _files(self._originals / directory_for(study.study_uid))
        return {path.stem: path for path in found}

    def forget_originals(self, study: FoundStudy) -> int:
        """Remove the originals of a study; return how many there were."""
        kept = self.originals(study)
        if self._originals is not None:
            shutil.rmtree(self._originals / directory_for(study.study_uid), ignore_errors=True)
        return len(kept)

    # -- removing files -------------------------------------------------------------------

    def study_uids(self) -> Iterator[str]:
        """Yield the StudyInstanceUID of each study that has files or originals, complete or not.

        Empty directories are removed. A directory whose first file cannot be read is logged.
        """
        seen: set[str] = set()
        for directory in (*self._directories(), *self._kept_directories()):
            if directory.name in seen:
                continue
            seen.add(directory.name)
            try:
                headers = _headers(directory, most=1)
            except (OSError, SourceUnavailableError) as error:
                log.error("%s cannot be read: %s", directory.name, type(error).__name__)
                continue
            if headers:
                yield headers[0].study_uid
            else:
                _remove_empty(directory)

    def files(self, study: FoundStudy) -> list[Path]:
        """Return a study's files; none of them ever changes."""
        kept = list(self.originals(study).values()) if self._whole else []
        return kept + _files(self._folder / directory_for(study.study_uid))

    def let_go(self, study: FoundStudy, goes: Callable[[Path], bool]) -> int:
        """Remove some of a study's files.

        Parameters
        ----------
        study
            The study.
        goes
            Whether to remove a file.

        Returns
        -------
        int
            How many files were removed.
        """
        directory = self._folder / directory_for(study.study_uid)
        try:
            handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            return 0
        removed = 0
        try:
            # Under a lock: once a file is removed its name is free, and the receiver may file
            # another one there that nobody has looked at.
            fcntl.flock(handle, fcntl.LOCK_EX)
            if not os.fstat(handle).st_nlink:  # another process emptied and removed it
                return 0
            for path in _files(directory):
                if goes(path):
                    path.unlink()
                    removed += 1
            os.fsync(handle)
        finally:
            os.close(handle)
        _remove_empty(directory)
        return removed

    def announce_again(self, study: FoundStudy) -> None:
        """Make the watcher announce a study once more."""
        (self._folder / directory_for(study.study_uid) / ANNOUNCED).unlink(missing_ok=True)

    def _kept_directories(self) -> list[Path]:
        if self._originals is None or not self._originals.is_dir():
            return []
        return sorted(path for path in self._originals.iterdir() if path.is_dir())

    def _directories(self) -> Iterator[Path]:
        self.echo()
        for directory in sorted(self._folder.iterdir()):
            if directory.name not in (PARTS, OWNERS) and directory.is_dir():
                yield directory


def _files(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.dcm"))


def _headers(directory: Path, most: int | None = None) -> list[StudyHeader]:
    headers = []
    for path in _files(directory)[:most]:
        with suppress(FileNotFoundError):  # it may be ingested and removed meanwhile
            header = read_header(path)
            if header is None:
                # It was readable when it arrived. The other files identify the study as well; a
                # study without any readable file is not found.
                log.error("%s: a received file cannot be read", directory.name)
                continue
            headers.append(header)
    return headers


def _slice(path: Path) -> SliceHeader:
    try:
        return read_slice(path)
    except FileNotFoundError:  # it was ingested and removed meanwhile
        return SliceHeader()


def _remove_empty(directory: Path) -> None:
    """Remove a directory without instances; the receiver creates it again when one arrives."""
    if not _files(directory):
        # In this order, so that an instance that arrives in between is announced.
        with suppress(OSError):
            (directory / ANNOUNCED).unlink(missing_ok=True)
            directory.rmdir()


def _sop_uid(path: Path) -> str:
    meta = read_file_meta(path)
    return meta.sop_uid if meta else ""
