"""What the receiver took in, as a source: complete studies, a directory each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pydicom import dcmread

from pacsgrid.disk import sync_directory
from pacsgrid.errors import ConfigError, SourceUnavailable
from pacsgrid.model import FoundStudy, SourceSettings, StagedFile, StudyQuery
from pacsgrid.pacs.part10 import HEAD, MOST_META, read_meta
from pacsgrid.pacs.quiet import hush
from pacsgrid.pacs.receiver.incoming import OWNERS, PARTS, directory_for
from pacsgrid.pacs.receiver.watch import announced
from pacsgrid.pacs.staging import prepare, write_whole

hush()
_TAGS = ["StudyInstanceUID", "PatientID", "StudyDate", "Modality", "AccessionNumber"]


class ReceivedSource:
    """Studies that peers pushed; one that still grows is not there yet."""

    def __init__(self, settings: SourceSettings) -> None:
        if settings.folder is None:
            raise ConfigError(f"source {settings.name}: folder is not set")
        self._name = settings.name
        self._folder = settings.folder

    def echo(self) -> None:
        """Return if the receiver's folder is there."""
        if not (self._folder / PARTS).is_dir():
            raise SourceUnavailable(f"source {self._name}: the receiver's folder is not there")

    def find_studies(self, query: StudyQuery) -> Iterator[FoundStudy]:
        """Give each complete study once."""
        self.echo()
        for directory in sorted(self._folder.iterdir()):
            files = _files(directory)
            if directory.name in (PARTS, OWNERS) or not files or announced(directory) != len(files):
                continue
            heads = [dcmread(f, stop_before_pixels=True, specific_tags=_TAGS) for f in files]
            first = heads[0]
            date = str(first.get("StudyDate") or "")
            modalities = tuple(sorted({str(h.get("Modality") or "") for h in heads} - {""}))
            study = FoundStudy(
                str(first.get("StudyInstanceUID") or ""),
                str(first.get("PatientID") or ""),
                len(files),
                modalities,
            )
            if (
                (not query.date_from or date >= query.date_from)
                and (not query.date_to or "" < date <= query.date_to)
                and (not query.modalities or set(query.modalities) & set(modalities))
                and (not query.patient_ids or study.patient_id in query.patient_ids)
                and (not query.study_uids or study.study_uid in query.study_uids)
                and (
                    not query.accession_numbers
                    or str(first.get("AccessionNumber") or "") in query.accession_numbers
                )
            ):
                yield study

    def list_instances(self, study: FoundStudy) -> set[str]:
        """Give the SOP Instance UIDs that came of the study."""
        return {_sop_uid(path) for path in self._of(study)}

    def retrieve(self, study: FoundStudy, into: Path) -> list[StagedFile]:
        """Link the study's files into staging, or copy them to another file system."""
        prepare(into)
        staged = []
        for path in self._of(study):
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

    def _of(self, study: FoundStudy) -> list[Path]:
        return _files(self._folder / directory_for(study.study_uid))


def _files(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.dcm"))


def _sop_uid(path: Path) -> str:
    with path.open("rb") as stream:
        meta = read_meta(stream.read(HEAD + MOST_META))
    return meta.sop_uid if meta else ""


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            yield chunk
