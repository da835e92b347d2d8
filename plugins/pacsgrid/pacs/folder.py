"""A drop folder as a source: files that somebody copied there, of any names."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.uid import MediaStorageDirectoryStorage

from pacsgrid.config import SourceSettings
from pacsgrid.disk import storing, sync_directory
from pacsgrid.errors import ConfigError, SourceUnavailableError
from pacsgrid.log_suppression import suppress_library_logs
from pacsgrid.model import FoundStudy, StagedFile, StudyQuery
from pacsgrid.pacs.dataset import DEFLATED
from pacsgrid.pacs.header import read_header
from pacsgrid.pacs.part10 import HEAD, MOST_META, read_meta
from pacsgrid.pacs.staging import prepare, write_whole

suppress_library_logs()

_CHUNK = 1 << 20
_UID = re.compile(r"[0-9.]{1,64}")
_TAGS = [
    "StudyInstanceUID",
    "SOPInstanceUID",
    "PatientID",
    "StudyDate",
    "Modality",
    "AccessionNumber",
    "SpecificCharacterSet",
]


@dataclass(frozen=True)
class _Header:
    path: Path
    study_uid: str = ""
    sop_uid: str = ""
    patient_id: str = ""
    date: str = ""
    modality: str = ""
    accession: str = ""


def _read(path: Path) -> _Header | None:
    """Read the few header elements that group files; empty where they cannot be read.

    None is a directory of a file-set (DICOMDIR, PS3.10 8.6), whatever its name.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's warnings quote values
            if _is_deflated(path):  # pydicom would inflate all of it
                return _Header(path, *_deflated(path))
            # A data set without preamble is one too (PS3.10 7.1 asks for it, old archives do not
            # have it); what has no study in it is a stray as before.
            data = dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS), force=True)
            if data.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
                return None
            if not _UID.fullmatch(str(data.get("StudyInstanceUID") or "").strip("\0 ")):
                return _Header(path)

            def text(keyword: str) -> str:
                return str(data.get(keyword) or "").strip("\0 ")

            return _Header(
                path,
                text("StudyInstanceUID"),
                text("SOPInstanceUID"),
                text("PatientID"),
                text("StudyDate"),
                text("Modality"),
                text("AccessionNumber"),
            )
    except Exception:  # whatever a broken file does to the parser, it is a stray
        return _Header(path)


def _is_deflated(path: Path) -> bool:
    with path.open("rb") as stream:
        meta = read_meta(stream.read(HEAD + MOST_META))
    return meta is not None and meta.transfer_syntax == DEFLATED


def _deflated(path: Path) -> tuple[str, ...]:
    header = read_header(path)
    if header is None:
        return ()
    named = (header.study_uid, header.sop_uid, header.patient_id)
    return (*named, header.date, header.modality, header.accession)


def _matches(header: _Header, query: StudyQuery) -> bool:
    """Apply the matching of PS3.4 C.2.2.2 that a PACS would, without wild cards."""
    if query.date_from and header.date < query.date_from:
        return False
    if query.date_to and (not header.date or header.date > query.date_to):
        return False
    return (
        (not query.patient_ids or header.patient_id in query.patient_ids)
        and (not query.accession_numbers or header.accession in query.accession_numbers)
        and (not query.study_uids or header.study_uid in query.study_uids)
    )


class FolderSource:
    """Studies of a drop folder, grouped by StudyInstanceUID."""

    def __init__(self, settings: SourceSettings) -> None:
        if settings.folder is None:
            raise ConfigError(f"source {settings.name}: folder is not set")
        self._name = settings.name
        self._folder = settings.folder
        self._seen: dict[Path, tuple[tuple[int, int], _Header | None]] = {}

    def echo(self) -> None:
        """Return if the folder is there; it may be a share that is not mounted."""
        if not self._folder.is_dir():
            raise SourceUnavailableError(f"source {self._name}: the drop folder is not there")

    def find_studies(self, query: StudyQuery) -> Iterator[FoundStudy]:
        """Give each study once; strays come last as one study with an empty UID."""
        groups = self._groups()
        strays = groups.pop("", [])
        for uid, headers in groups.items():
            modalities = tuple(sorted({h.modality for h in headers if h.modality}))
            if query.modalities and not set(query.modalities) & set(modalities):
                continue
            if any(_matches(h, query) for h in headers):
                instances = len({h.sop_uid for h in headers})
                yield FoundStudy(uid, headers[0].patient_id, instances, modalities)
        if strays and not (query.study_uids and "" not in query.study_uids):
            yield FoundStudy("", "", len(strays))

    def list_instances(self, study: FoundStudy) -> set[str]:
        """Give the SOP Instance UIDs of the study's files."""
        return {h.sop_uid for h in self._groups().get(study.study_uid, []) if h.sop_uid}

    def retrieve(self, study: FoundStudy, into: Path) -> list[StagedFile]:
        """Copy the study's files, named by content: two contents of one SOP UID both arrive."""
        prepare(into)
        staged: dict[Path, StagedFile] = {}
        for header in self._groups().get(study.study_uid, []):
            try:
                with storing(into):
                    target = _copy(header.path, into)
            except _SourceFails as error:
                # The exception's text holds the file's name, which may be a patient's.
                raise SourceUnavailableError(
                    f"source {self._name}: a file cannot be read: {error}"
                ) from None
            staged[target] = StagedFile(target, header.sop_uid)
        sync_directory(into)
        return [staged[path] for path in sorted(staged)]

    def strays(self) -> list[Path]:
        """List files that are not DICOM or name no study."""
        return [header.path for header in self._groups().get("", [])]

    def _groups(self) -> dict[str, list[_Header]]:
        self.echo()
        groups: dict[str, list[_Header]] = {}
        for path in sorted(self._folder.rglob("*")):
            header = self._header(path)
            if header is not None:
                groups.setdefault(header.study_uid, []).append(header)
        return groups

    def _header(self, path: Path) -> _Header | None:
        """Read a header once per state of the file; symbolic links are not followed."""
        if path.is_symlink() or not path.is_file() or path.name == "DICOMDIR":
            return None
        try:
            stat = path.stat()
        except OSError:
            return None
        state = (stat.st_mtime_ns, stat.st_size)
        known = self._seen.get(path)
        if known is None or known[0] != state:
            known = (state, _read(path))
            self._seen[path] = known
        return known[1]


class _SourceFails(Exception):
    """The drop folder's file cannot be read; says why."""


def _chunks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as source:
            while chunk := source.read(_CHUNK):
                yield chunk
    except OSError as error:
        raise _SourceFails(error.strerror or type(error).__name__) from None


def _copy(path: Path, into: Path) -> Path:
    digest = hashlib.sha256()
    for chunk in _chunks(path):
        digest.update(chunk)
    target = into / f"{digest.hexdigest()[:32]}.dcm"
    if not target.exists():
        write_whole(target, _chunks(path))
    return target
