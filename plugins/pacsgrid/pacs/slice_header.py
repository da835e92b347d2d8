"""Read what a file's header says of its series and of the place of its slice."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread

from pacsgrid.log_suppression import suppress_library_logs
from pacsgrid.model import SeriesFacts
from pacsgrid.pacs.dataset import (
    SERIES_UID,
    SOP_CLASS,
    SOP_UID,
    MalformedDatasetError,
    open_stored,
    walk,
)
from pacsgrid.pacs.header import CHARSET, decode_value, is_deflated
from pacsgrid.pacs.part10 import HEAD, MOST_META, read_meta

suppress_library_logs()

_KEYWORDS = {
    SOP_CLASS: "SOPClassUID",
    SOP_UID: "SOPInstanceUID",
    SERIES_UID: "SeriesInstanceUID",
    0x00080060: "Modality",
    0x0008103E: "SeriesDescription",
    0x00180015: "BodyPartExamined",
    0x00080008: "ImageType",
    0x00180050: "SliceThickness",
    0x00200013: "InstanceNumber",
    0x00200032: "ImagePositionPatient",
    0x00200037: "ImageOrientationPatient",
}
_TAGS = {CHARSET, *_KEYWORDS}
# Images of several frames have their thickness in functional groups (PS3.3 C.7.6.16.2.1).
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")


@dataclass(frozen=True)
class SliceHeader:
    """What a header says; empty or None where it says nothing that can be read.

    Attributes
    ----------
    position, orientation
        Image Position and Image Orientation (Patient), of three and six numbers.
    number
        Instance Number (0020,0013).
    """

    series_uid: str = ""
    sop_uid: str = ""
    sop_class: str = ""
    modality: str = ""
    description: str = ""
    body_part: str = ""
    image_type: str = ""
    thickness: float | None = None
    number: int | None = None
    position: tuple[float, ...] | None = None
    orientation: tuple[float, ...] | None = None


def read_slice(path: Path) -> SliceHeader:
    """Read the header of a DICOM file; it is empty if the file cannot be read as one.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    OSError
        The file cannot be read at all.
    """
    texts = _walked(path)
    if texts is None:
        texts = _read_leniently(path)
    get = texts.get
    thickness = _numbers(get("SliceThickness", ""), 1)
    number = _numbers(get("InstanceNumber", ""), 1)
    return SliceHeader(
        get("SeriesInstanceUID", ""),
        get("SOPInstanceUID", ""),
        get("SOPClassUID", ""),
        get("Modality", ""),
        get("SeriesDescription", ""),
        get("BodyPartExamined", ""),
        get("ImageType", ""),
        thickness[0] if thickness else _thickness_of_frames(path, get("SOPClassUID", "")),
        int(number[0]) if number else None,
        _numbers(get("ImagePositionPatient", ""), 3),
        _numbers(get("ImageOrientationPatient", ""), 6),
    )


def facts_of(headers: Iterable[SliceHeader]) -> dict[str, SeriesFacts]:
    """Return what the headers of a study's files say of each series; nothing is left open.

    Parameters
    ----------
    headers
        The headers of all files; those without a series are left out.
    """
    series: dict[str, list[SliceHeader]] = {}
    for one in headers:
        if one.series_uid:
            series.setdefault(one.series_uid, []).append(one)
    return {
        uid: SeriesFacts(
            uid,
            some[0].modality,
            some[0].description,
            some[0].body_part,
            frozenset(one.image_type for one in some),
            frozenset(one.sop_class for one in some),
            frozenset(one.thickness for one in some if one.thickness is not None),
            len({one.sop_uid for one in some}),
        )
        for uid, some in series.items()
    }


def _walked(path: Path) -> dict[str, str] | None:
    """Walk the dataset; None if it is not encoded as it should be."""
    with path.open("rb") as stream:
        head = stream.read(HEAD + MOST_META)
        meta = read_meta(head)
        if not meta or not meta.end:
            return None
        size = path.stat().st_size - meta.end
        syntax = meta.transfer_syntax
        source = open_stored(stream.fileno(), meta.end, size, syntax, head[meta.end :])
        try:
            found = walk(source, syntax, _TAGS, max(_TAGS))
        except MalformedDatasetError:
            return None
    return {keyword: decode_value(found, tag) for tag, keyword in _KEYWORDS.items()}


def _read_leniently(path: Path) -> dict[str, str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's warnings quote values
            if is_deflated(path, True):
                return {}
            tags = [*_KEYWORDS.values(), "SpecificCharacterSet"]
            data = dcmread(path, stop_before_pixels=True, specific_tags=tags, force=True)
            return {keyword: _text(data.get(keyword)) for keyword in _KEYWORDS.values()}
    except Exception:  # pydicom raises any type of exception for malformed files
        return {}


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str | bytes | int | float):
        return str(value).strip("\0 ")
    return "\\".join(str(one) for one in value) if isinstance(value, Iterable) else str(value)


def _numbers(text: str, count: int) -> tuple[float, ...] | None:
    """Return decimal strings (PS3.5 6.2) as numbers; None unless there are as many, all finite."""
    parts = text.split("\\")
    if len(parts) != count:
        return None
    try:
        values = tuple(float(part) for part in parts)
    except ValueError:
        return None
    return values if all(math.isfinite(value) for value in values) else None


def _thickness_of_frames(path: Path, sop_class: str) -> float | None:
    """Return the thickness that an image of several frames has in its functional groups."""
    if sop_class not in _ENHANCED:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if is_deflated(path, True):
                return None
            data = dcmread(path, stop_before_pixels=True, specific_tags=list(_GROUPS), force=True)
            for keyword in _GROUPS:
                for item in (data.get(keyword) or [])[:1]:
                    for measures in item.get("PixelMeasuresSequence") or ():
                        if measures.get("SliceThickness") is not None:
                            return float(measures.SliceThickness)
    except Exception:  # as above
        return None
    return None


_ENHANCED = frozenset(
    f"1.2.840.10008.5.1.4.1.1.{end}"
    for end in ("2.1", "4.1", "4.3", "4.4", "128.1", "130", "6.2", "2.2")
)
