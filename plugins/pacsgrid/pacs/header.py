"""Read the few header elements that identify a file's study, without the rest of the file."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.charset import convert_encodings, decode_bytes
from pydicom.filereader import read_dataset, read_preamble

from pacsgrid.dimse.presentation_contexts import DEFLATED
from pacsgrid.log_suppression import suppress_library_logs
from pacsgrid.pacs.dataset import (
    SERIES_UID,
    SOP_UID,
    STUDY_UID,
    MalformedDatasetError,
    decode_text,
    open_stored,
    walk,
)
from pacsgrid.pacs.part10 import HEAD, MOST_META, Meta, read_meta

suppress_library_logs()

CHARSET, _DATE, _ACCESSION, _MODALITY = 0x00080005, 0x00080020, 0x00080050, 0x00080060
_PATIENT_ID = 0x00100020
_KEYWORDS = {
    STUDY_UID: "StudyInstanceUID",
    SERIES_UID: "SeriesInstanceUID",
    SOP_UID: "SOPInstanceUID",
    _PATIENT_ID: "PatientID",
    _ACCESSION: "AccessionNumber",
    _DATE: "StudyDate",
    _MODALITY: "Modality",
}
_TAGS = {*_KEYWORDS, CHARSET}


@dataclass(frozen=True)
class StudyHeader:
    """What a file's header says of its study; empty where it says nothing."""

    study_uid: str = ""
    series_uid: str = ""
    sop_uid: str = ""
    patient_id: str = ""
    accession: str = ""
    date: str = ""
    modality: str = ""


def read_file_meta(path: Path) -> Meta | None:
    """Read a file's meta information, None where it has none; raise OSError if unreadable."""
    with path.open("rb") as stream:
        return read_meta(stream.read(HEAD + MOST_META))


def read_header(path: Path, require_preamble: bool = True) -> StudyHeader | None:
    """Read the header of a DICOM file of any size.

    A deflated dataset is inflated no further than the header goes.

    Parameters
    ----------
    path
        The file.
    require_preamble
        False reads a dataset without preamble and file meta information too, as old archives hold
        them (PS3.10 section 7.1 demands both).

    Returns
    -------
    StudyHeader or None
        None if it cannot be read. Without `require_preamble`, any file may yield an empty header.

    Raises
    ------
    OSError
        The file cannot be read at all.
    """
    with path.open("rb") as stream:
        head = stream.read(HEAD + MOST_META)
        meta = read_meta(head)
        if meta and meta.end:
            size = path.stat().st_size - meta.end
            for until in (SERIES_UID, None):  # if elements are out of order, walk the whole dataset
                source = open_stored(
                    stream.fileno(), meta.end, size, meta.transfer_syntax, head[meta.end :]
                )
                try:
                    found = walk(source, meta.transfer_syntax, _TAGS, until)
                except MalformedDatasetError:
                    break
                if STUDY_UID in found:
                    return _decode(found)
    return _read_leniently(path, force=not require_preamble)


def decode_value(found: dict[int, bytes], tag: int) -> str:
    """Return a text of a walked dataset without its padding; "" if it is not there.

    Parameters
    ----------
    found
        Raw values by tag, Specific Character Set (0008,0005) among them.
    tag
        The text's tag.
    """
    value = found.get(tag, b"")
    if value.isascii() and b"\x1b" not in value:
        return value.decode("ascii").strip("\0 ")
    sets = decode_text(found.get(CHARSET, b"")).split("\\")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's warnings quote values
        decoded: str = decode_bytes(value, convert_encodings(sets), set())
        return decoded.strip("\0 ")


def _decode(found: dict[int, bytes]) -> StudyHeader:
    def text(tag: int) -> str:
        return decode_value(found, tag)

    return StudyHeader(
        text(STUDY_UID),
        text(SERIES_UID),
        text(SOP_UID),
        text(_PATIENT_ID),
        text(_ACCESSION),
        text(_DATE),
        text(_MODALITY),
    )


def _read_leniently(path: Path, force: bool) -> StudyHeader | None:
    """Read a file that is not encoded as it should be, as leniently as the anonymiser would."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if is_deflated(path, force):
                return None  # pydicom would inflate all of it, however much that is
            data = dcmread(
                path,
                stop_before_pixels=True,
                specific_tags=[*_KEYWORDS.values(), "SpecificCharacterSet"],
                force=force,
            )
            return StudyHeader(
                *(str(data.get(one) or "").strip("\0 ") for one in _KEYWORDS.values())
            )
    except Exception:  # pydicom raises any type of exception for malformed files
        return None


def is_deflated(path: Path, force: bool) -> bool:
    """Return whether pydicom would inflate the dataset: it reads meta information that we do not.

    That may be longer than `MOST_META`, without preamble, or lack the SOP Instance UID.

    Parameters
    ----------
    path
        The file.
    force
        Whether it may lack preamble and meta information.
    """
    with path.open("rb") as stream:
        read_preamble(stream, force)
        meta = read_dataset(
            stream, is_implicit_VR=False, is_little_endian=True, stop_when=_is_after_meta
        )
    return str(meta.get("TransferSyntaxUID") or "").strip() == DEFLATED


def _is_after_meta(tag: int, vr: str | None, length: int) -> bool:
    return tag >> 16 != 2
