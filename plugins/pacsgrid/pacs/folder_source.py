"""A drop folder as a source: files that somebody copied there, under any names."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydicom.uid import MediaStorageDirectoryStorage

from pacsgrid.config import SourceSettings
from pacsgrid.disk import storing, sync_directory
from pacsgrid.errors import SourceUnavailableError
from pacsgrid.model import FoundStudy, StagedFile, StudyQuery
from pacsgrid.pacs.base import folder_of
from pacsgrid.pacs.header import StudyHeader, read_file_meta, read_header
from pacsgrid.pacs.query_check import matches_header
from pacsgrid.pacs.staging import prepare, read_chunks, write_durable
from pacsgrid.uids import has_digits_and_dots


@dataclass(frozen=True)
class _File:
    path: Path
    header: StudyHeader


def _read(path: Path) -> _File | None:
    """Read a file's header, empty if it names no study; None for a DICOMDIR (PS3.10 8.6)."""
    try:
        meta = read_file_meta(path)
        if meta and meta.sop_class == MediaStorageDirectoryStorage:
            return None
        header = read_header(path, require_preamble=False)
    except OSError:
        header = None
    if header is None or not has_digits_and_dots(header.study_uid):
        header = StudyHeader()
    return _File(path, header)


class FolderSource:
    """Studies of a drop folder, grouped by StudyInstanceUID."""

    def __init__(self, settings: SourceSettings) -> None:
        self._name = settings.name
        self._folder = folder_of(settings)
        self._known: dict[Path, tuple[tuple[int, int], _File | None]] = {}

    def echo(self) -> None:
        """Return if the folder exists, else raise; it may be a share that is not mounted."""
        if not self._folder.is_dir():
            raise SourceUnavailableError(f"source {self._name}: the drop folder is not there")

    def find_studies(self, query: StudyQuery) -> Iterator[FoundStudy]:
        """Yield each study once; strays come last, as one study with an empty UID."""
        groups = self._groups()
        strays = groups.pop("", [])
        for uid, files in groups.items():
            headers = [file.header for file in files]
            modalities = tuple(sorted({one.modality for one in headers if one.modality}))
            if query.modalities and not set(query.modalities) & set(modalities):
                continue
            if any(matches_header(one, query) for one in headers):
                instances = len({one.sop_uid for one in headers})
                first = headers[0]
                yield FoundStudy(uid, first.patient_id, instances, modalities, date=first.date)
        if strays and not (query.study_uids and "" not in query.study_uids):
            yield FoundStudy("", "", len(strays))

    def list_instances(self, study: FoundStudy) -> set[str]:
        """Return the SOP Instance UIDs of a study's files."""
        files = self._groups().get(study.study_uid, [])
        return {file.header.sop_uid for file in files if file.header.sop_uid}

    def retrieve(self, study: FoundStudy, into: Path) -> list[StagedFile]:
        """Copy a study's files, see `Source.retrieve`.

        They are named by content, so two contents of one SOP Instance UID both arrive.

        Raises
        ------
        SourceUnavailableError
            A file cannot be read.
        StorageError
            A file cannot be written.
        """
        prepare(into)
        staged: dict[Path, StagedFile] = {}
        for file in self._groups().get(study.study_uid, []):
            try:
                with storing(into):
                    target = _copy(file.path, into)
            except _UnreadableFileError as error:
                # The path may hold a patient's name.
                raise SourceUnavailableError(
                    f"source {self._name}: a file cannot be read: {error}"
                ) from None
            staged[target] = StagedFile(target, file.header.sop_uid)
        sync_directory(into)
        return [staged[path] for path in sorted(staged)]

    def strays(self) -> list[Path]:
        """List files that are not DICOM, or name no study."""
        return [file.path for file in self._groups().get("", [])]

    def _groups(self) -> dict[str, list[_File]]:
        self.echo()
        groups: dict[str, list[_File]] = {}
        for path in sorted(self._folder.rglob("*")):
            file = self._file(path)
            if file is not None:
                groups.setdefault(file.header.study_uid, []).append(file)
        return groups

    def _file(self, path: Path) -> _File | None:
        """Read a file's header once, unless it changes; symbolic links are not followed."""
        if path.is_symlink() or not path.is_file() or path.name == "DICOMDIR":
            return None
        try:
            stat = path.stat()
        except OSError:
            return None
        version = (stat.st_mtime_ns, stat.st_size)
        known = self._known.get(path)
        if known is None or known[0] != version:
            known = (version, _read(path))
            self._known[path] = known
        return known[1]


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
