"""What the receiver took in, as a source: complete studies, a directory each."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from pacsgrid.config import SourceSettings
from pacsgrid.disk import sync_directory
from pacsgrid.errors import ConfigError, SourceUnavailableError
from pacsgrid.model import FoundStudy, StagedFile, StudyQuery
from pacsgrid.pacs.header import Header, read_header
from pacsgrid.pacs.part10 import HEAD, MOST_META, read_meta
from pacsgrid.pacs.receiver.incoming import OWNERS, PARTS, directory_for
from pacsgrid.pacs.receiver.watch import ANNOUNCED, is_complete
from pacsgrid.pacs.staging import prepare, write_whole

log = logging.getLogger(__name__)


class ReceivedSource:
    """Studies that peers pushed; one that still grows is not there yet."""

    def __init__(self, settings: SourceSettings) -> None:
        if settings.folder is None:
            raise ConfigError(f"source {settings.name}: folder is not set")
        self.name = settings.name
        self._folder = settings.folder

    def echo(self) -> None:
        """Return if the receiver's folder is there."""
        if not (self._folder / PARTS).is_dir():
            raise SourceUnavailableError(f"source {self.name}: the receiver's folder is not there")

    def find_studies(self, query: StudyQuery) -> Iterator[FoundStudy]:
        """Give each complete study once."""
        for directory in self._directories():
            if not is_complete(directory) or not (heads := _heads(directory)):
                continue
            first = heads[0]
            date = first.date
            modalities = tuple(sorted({head.modality for head in heads} - {""}))
            study = FoundStudy(first.study_uid, first.patient_id, len(heads), modalities)
            if (
                (not query.date_from or date >= query.date_from)
                and (not query.date_to or "" < date <= query.date_to)
                and (not query.modalities or set(query.modalities) & set(modalities))
                and (not query.patient_ids or study.patient_id in query.patient_ids)
                and (not query.study_uids or study.study_uid in query.study_uids)
                and (not query.accession_numbers or first.accession in query.accession_numbers)
            ):
                yield study

    def list_instances(self, study: FoundStudy) -> set[str]:
        """Give the SOP Instance UIDs that came of the study and are still there."""
        return {_sop_uid(path) for path in self.files(study)}

    def retrieve(self, study: FoundStudy, into: Path) -> list[StagedFile]:
        """Link the study's files into staging, or copy them to another file system."""
        prepare(into)
        staged = []
        for path in self.files(study):
            target = into / path.name
            if not target.exists():
                try:
                    os.link(path, target)
                except OSError:
                    write_whole(target, _chunks(path))
            staged.append(StagedFile(target, _sop_uid(path)))
        sync_directory(into)
        return staged

    def strays(self) -> list[Path]:
        """Give nothing: an instance without a study is refused when it comes."""
        return []

    # -- what leaves ----------------------------------------------------------------------

    def study_uids(self) -> Iterator[str]:
        """Give the StudyInstanceUID of each study of which anything is there, complete or not.

        Directories that were left empty are removed on the way; one whose first file cannot be
        read is named in the log.
        """
        for directory in self._directories():
            try:
                heads = _heads(directory, most=1)
            except (OSError, SourceUnavailableError) as error:
                log.error("%s cannot be read: %s", directory.name, type(error).__name__)
                continue
            if heads:
                yield heads[0].study_uid
            else:
                _remove_empty(directory)

    def files(self, study: FoundStudy) -> list[Path]:
        """Give the files that are there of a study; none of them ever changes."""
        return _files(self._folder / directory_for(study.study_uid))

    def let_go(self, study: FoundStudy, goes: Callable[[Path], bool]) -> int:
        """Remove the files of a study of which `goes` says so; returns how many."""
        directory = self._folder / directory_for(study.study_uid)
        try:
            handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            return 0
        gone = 0
        try:
            # One at a time: a name is free again once its file has left, and what the receiver
            # files there then is not what was looked at.
            fcntl.flock(handle, fcntl.LOCK_EX)
            if not os.fstat(handle).st_nlink:  # another one emptied and removed it
                return 0
            for path in _files(directory):
                if goes(path):
                    path.unlink()
                    gone += 1
            os.fsync(handle)
        finally:
            os.close(handle)
        _remove_empty(directory)
        return gone

    def announce_again(self, study: FoundStudy) -> None:
        """Have the watcher announce what is there of a study once more."""
        (self._folder / directory_for(study.study_uid) / ANNOUNCED).unlink(missing_ok=True)

    def _directories(self) -> Iterator[Path]:
        self.echo()
        for directory in sorted(self._folder.iterdir()):
            if directory.name not in (PARTS, OWNERS) and directory.is_dir():
                yield directory


def _files(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.dcm"))


def _heads(directory: Path, most: int | None = None) -> list[Header]:
    heads = []
    for path in _files(directory)[:most]:
        with suppress(FileNotFoundError):  # it was taken through meanwhile
            header = read_header(path)
            if header is None:
                # It was read when it came. The study's other files tell as much; a study of which
                # none can be read is not there.
                log.error("%s: a received file cannot be read", directory.name)
                continue
            heads.append(header)
    return heads


def _remove_empty(directory: Path) -> None:
    """Remove a directory that holds no instance; the receiver makes it anew when one comes."""
    if not _files(directory):
        # In this order: one that comes in between is announced.
        with suppress(OSError):
            (directory / ANNOUNCED).unlink(missing_ok=True)
            directory.rmdir()


def _sop_uid(path: Path) -> str:
    with path.open("rb") as stream:
        meta = read_meta(stream.read(HEAD + MOST_META))
    return meta.sop_uid if meta else ""


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            yield chunk
