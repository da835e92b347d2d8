"""pydicom's test files as studies of a PACS: every one that has the UIDs it needs."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import data_store
from pydicom import dcmread
from pydicom.data.data_manager import DATA_ROOT


@dataclass(frozen=True)
class Sample:
    """A file with UIDs of its own, and what a PACS must know of it."""

    path: Path
    study: str
    sop_uid: str
    sop_class: str
    syntax: str

    @property
    def dataset(self) -> bytes:
        """What follows the file meta information."""
        return dataset_bytes(self.path)


def dataset_bytes(path: Path) -> bytes:
    """Give what follows a file's meta information, undecoded."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        meta = dcmread(path, stop_before_pixels=True).file_meta
    return path.read_bytes()[144 + int(meta.FileMetaInformationGroupLength) :]


def _files() -> list[Path]:
    """Give those that are installed; pydicom would go and fetch others."""
    roots = [Path(DATA_ROOT) / "test_files", *map(Path, data_store.__path__)]
    return [path for root in roots for path in root.rglob("*.dcm")]


def make_corpus(directory: Path) -> list[Sample]:
    """Copy them, each with a SOP Instance UID that no other has, all else as it is.

    Many of pydicom's files are one image in several encodings and bear the same UID; its last
    digits are written over, byte by byte, in meta information and dataset.
    """
    directory.mkdir(parents=True, exist_ok=True)
    seen: set[str] = set()
    samples = []
    for number, name in enumerate(sorted(_files())):
        data = name.read_bytes()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                head = dcmread(name, stop_before_pixels=True)
                meta = head.file_meta
                uid, study = str(head.SOPInstanceUID), str(head.StudyInstanceUID)
                kind = str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)
                length = meta.FileMetaInformationGroupLength
        except Exception:  # pydicom tests with broken files too
            continue
        whole = head.get("SeriesInstanceUID") and length and uid == meta.MediaStorageSOPInstanceUID
        if not (uid and study and whole and kind[0].startswith("1.2.840.10008.5.1.4.1.1.")):
            continue
        if uid in seen:
            made = f"{uid[:-4]}{1000 + number}"
            if len(uid) < 20 or data.count(uid.encode()) != 2:
                continue
            data, uid = data.replace(uid.encode(), made.encode()), made
        seen.add(uid)
        path = directory / f"{number}.dcm"
        path.write_bytes(data)
        samples.append(Sample(path, study, uid, *kind))
    return samples
