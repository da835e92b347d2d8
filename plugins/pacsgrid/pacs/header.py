"""The few header elements that tell studies apart, read from a file without the rest of it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.charset import convert_encodings, decode_bytes

from pacsgrid.log_suppression import suppress_library_logs
from pacsgrid.pacs.dataset import (
    DEFLATED,
    SERIES_UID,
    SOP_UID,
    STUDY_UID,
    Malformed,
    open_stored,
    text_of,
    walk,
)
from pacsgrid.pacs.part10 import HEAD, MOST_META, read_meta

suppress_library_logs()

_CHARSET, _DATE, _ACCESSION, _MODALITY = 0x00080005, 0x00080020, 0x00080050, 0x00080060
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
_TAGS = {*_KEYWORDS, _CHARSET}


@dataclass(frozen=True)
class Header:
    """What a file's header says of its study; empty where it says nothing."""

    study_uid: str = ""
    series_uid: str = ""
    sop_uid: str = ""
    patient_id: str = ""
    accession: str = ""
    date: str = ""
    modality: str = ""


def read_header(path: Path) -> Header | None:
    """Read a DICOM file's header, whatever its size; None where it cannot be read.

    A deflated dataset is inflated no further than the header goes.
    """
    with path.open("rb") as stream:
        head = stream.read(HEAD + MOST_META)
        meta = read_meta(head)
        if meta and meta.end:
            size = path.stat().st_size - meta.end
            for until in (SERIES_UID, None):  # elements out of order are found in the whole
                source = open_stored(
                    stream.fileno(), meta.end, size, meta.transfer_syntax, head[meta.end :]
                )
                try:
                    found = walk(source, meta.transfer_syntax, _TAGS, until)
                except Malformed:
                    break
                if STUDY_UID in found:
                    return _header(found)
    return None if meta and meta.transfer_syntax == DEFLATED else _by_pydicom(path)


def _header(found: dict[int, bytes]) -> Header:
    sets = text_of(found.get(_CHARSET, b"")).split("\\")

    def text(tag: int) -> str:
        value = found.get(tag, b"")
        if value.isascii() and b"\x1b" not in value:
            return value.decode("ascii").strip("\0 ")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's warnings quote values
            decoded: str = decode_bytes(value, convert_encodings(sets), set())
            return decoded.strip("\0 ")

    return Header(
        text(STUDY_UID),
        text(SERIES_UID),
        text(SOP_UID),
        text(_PATIENT_ID),
        text(_ACCESSION),
        text(_DATE),
        text(_MODALITY),
    )


def _by_pydicom(path: Path) -> Header | None:
    """Read what is not encoded as it should be, as leniently as the anonymiser would."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = dcmread(
                path,
                stop_before_pixels=True,
                specific_tags=[*_KEYWORDS.values(), "SpecificCharacterSet"],
            )
            return Header(*(str(data.get(one) or "").strip("\0 ") for one in _KEYWORDS.values()))
    except Exception:  # pydicom raises what it likes
        return None
