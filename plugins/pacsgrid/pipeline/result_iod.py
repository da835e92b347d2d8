"""Check that an object which comes back as a result follows its IOD (PS3.3 annex A).

Only what makes an object unusable is checked: the attributes without which no viewer shows it, and
numbers that contradict each other. A viewer's or an author's own validator may check more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydicom.dataset import Dataset

from pacsgrid.errors import NotTakenError

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_SECONDARY_CAPTURE = tuple(f"{_STORAGE}7{part}" for part in ("", ".1", ".2", ".3", ".4"))
_SEGMENTATIONS = (f"{_STORAGE}66.4", f"{_STORAGE}66.7")
_BITS = {"BINARY": (1,), "FRACTIONAL": (8,), "LABELMAP": (8, 16)}
_CONTOUR_VALUES = 3  # x, y and z of each point


def kind_of(ds: Dataset) -> str:
    """Return what kind of result an object is.

    Parameters
    ----------
    ds
        Its data set; pixel data is not needed.

    Returns
    -------
    str
        ``segmentation``, ``report``, ``structure set``, ``presentation state``,
        ``parametric map`` or ``derived image``.

    Raises
    ------
    NotTakenError
        ``class-unsupported``: it is none of them.
    """
    sop_class = str(ds.get("SOPClassUID") or "")
    below = sop_class.removeprefix(_STORAGE)
    if sop_class in _SEGMENTATIONS:
        return "segmentation"
    if below.startswith("88."):
        return "report"
    if below == "481.3":
        return "structure set"
    if below.startswith("11."):
        return "presentation state"
    if below == "30":
        return "parametric map"
    derived = str((ds.get("ImageType") or [""])[0]) == "DERIVED"
    if sop_class in _SECONDARY_CAPTURE or (sop_class.startswith(_STORAGE) and derived):
        return "derived image"
    raise NotTakenError(
        "class-unsupported",
        "SOP Class UID (0008,0016) is none that comes back as a result: segmentations, structured "
        "reports, RT structure sets, presentation states, parametric maps and images with DERIVED "
        "in Image Type (0008,0008) do",
    )


def check_iod(ds: Dataset, pixel_bytes: int | None) -> str:
    """Check an object against its IOD.

    Parameters
    ----------
    ds
        Its data set, without pixel data.
    pixel_bytes
        Length of native pixel data in bytes; None without, and for compressed pixel data.

    Returns
    -------
    str
        Its kind, as of `kind_of`.

    Raises
    ------
    NotTakenError
        ``class-unsupported``, ``attribute-missing`` or ``attribute-invalid``.
    """
    kind = kind_of(ds)
    _require(ds, "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality")
    _CHECKS[kind](ds, pixel_bytes)
    return kind


def _require(ds: Dataset, *keywords: str) -> None:
    for keyword in keywords:
        if keyword not in ds or ds[keyword].is_empty:
            raise NotTakenError(
                "attribute-missing", f"{keyword} is missing or empty, and its IOD requires it"
            )


def _invalid(what: str) -> NotTakenError:
    return NotTakenError("attribute-invalid", what)


def _require_modality(ds: Dataset, *allowed: str) -> None:
    if str(ds.Modality) not in allowed:
        raise _invalid(f"Modality (0008,0060) must be {' or '.join(allowed)} for this SOP class")


def _number(ds: Dataset, keyword: str) -> int:
    try:
        return int(ds[keyword].value)
    except (KeyError, TypeError, ValueError):
        raise _invalid(f"{keyword} is not a number") from None


def _check_frames(ds: Dataset) -> int:
    """Check the functional groups of a multi-frame object; return its number of frames."""
    _require(ds, "NumberOfFrames", "SharedFunctionalGroupsSequence")
    frames = _number(ds, "NumberOfFrames")
    groups = ds.get("PerFrameFunctionalGroupsSequence") or ()
    if frames < 1 or len(groups) != frames:
        raise _invalid(
            "NumberOfFrames (0028,0008) is not the number of items in the Per-Frame Functional "
            "Groups Sequence (5200,9230)"
        )
    return frames


def _check_length(ds: Dataset, frames: int, bits: int, pixel_bytes: int | None) -> None:
    """Compare the length of native pixel data with what the header tells (PS3.5 8.1.1)."""
    if pixel_bytes is None:
        return
    samples = _number(ds, "SamplesPerPixel") if "SamplesPerPixel" in ds else 1
    values = _number(ds, "Rows") * _number(ds, "Columns") * frames * samples
    wanted = (values * bits + 7) // 8
    if pixel_bytes not in (wanted, wanted + wanted % 2):
        raise _invalid("Pixel Data (7FE0,0010) has not the length that the header tells")


def _segmentation(ds: Dataset, pixel_bytes: int | None) -> None:
    _require_modality(ds, "SEG")
    _require(ds, "SegmentationType", "SegmentSequence", "Rows", "Columns", "BitsAllocated")
    kind, bits = str(ds.SegmentationType), _number(ds, "BitsAllocated")
    if bits not in _BITS.get(kind, ()):
        raise _invalid(
            "SegmentationType (0062,0001) and BitsAllocated (0028,0100) do not fit together"
        )
    numbers = set()
    for segment in ds.SegmentSequence:
        _require(segment, "SegmentNumber", "SegmentLabel", "SegmentAlgorithmType")
        _require(
            segment, "SegmentedPropertyCategoryCodeSequence", "SegmentedPropertyTypeCodeSequence"
        )
        numbers.add(_number(segment, "SegmentNumber"))
    if len(numbers) != len(ds.SegmentSequence):
        raise _invalid("two segments have one SegmentNumber (0062,0004)")
    frames = _check_frames(ds)
    shared = (ds.SharedFunctionalGroupsSequence or [Dataset()])[0]
    for group in ds.PerFrameFunctionalGroupsSequence if kind != "LABELMAP" else ():
        named = group.get("SegmentIdentificationSequence") or shared.get(
            "SegmentIdentificationSequence"
        )
        if not named or _number(named[0], "ReferencedSegmentNumber") not in numbers:
            raise _invalid("a frame names no segment of the Segment Sequence (0062,0002)")
    _check_length(ds, frames, bits, pixel_bytes)


def _parametric_map(ds: Dataset, pixel_bytes: int | None) -> None:
    _require(ds, "ImageType", "Rows", "Columns", "ContentLabel")
    frames = _check_frames(ds)
    shared = (ds.SharedFunctionalGroupsSequence or [Dataset()])[0]
    groups = ds.PerFrameFunctionalGroupsSequence
    if "RealWorldValueMappingSequence" not in shared and not all(
        "RealWorldValueMappingSequence" in group for group in groups
    ):
        raise NotTakenError(
            "attribute-missing",
            "RealWorldValueMappingSequence is missing, so that the values have no meaning",
        )
    if "BitsAllocated" in ds:
        _check_length(ds, frames, _number(ds, "BitsAllocated"), pixel_bytes)


def _report(ds: Dataset, pixel_bytes: int | None) -> None:
    _require_modality(ds, "SR", "KO")
    _require(ds, "ValueType", "ConceptNameCodeSequence", "ContentSequence")
    if str(ds.Modality) == "SR":
        _require(ds, "CompletionFlag", "VerificationFlag")
    if str(ds.ValueType) != "CONTAINER":
        raise _invalid("ValueType (0040,A040) of the root must be CONTAINER")
    for template in ds.get("ContentTemplateSequence") or ():
        _require(template, "MappingResource", "TemplateIdentifier")


def _structure_set(ds: Dataset, pixel_bytes: int | None) -> None:
    _require_modality(ds, "RTSTRUCT")
    _require(ds, "StructureSetLabel", "StructureSetROISequence", "ROIContourSequence")
    _require(ds, "RTROIObservationsSequence")
    numbers = {_number(roi, "ROINumber") for roi in ds.StructureSetROISequence}
    if len(numbers) != len(ds.StructureSetROISequence):
        raise _invalid("two regions have one ROINumber (3006,0022)")
    for roi in (*ds.ROIContourSequence, *ds.RTROIObservationsSequence):
        if _number(roi, "ReferencedROINumber") not in numbers:
            raise _invalid("a contour or observation is of no region of the structure set")
    for roi in ds.ROIContourSequence:
        for contour in roi.get("ContourSequence") or ():
            points = _number(contour, "NumberOfContourPoints")
            if len(contour.get("ContourData") or ()) != _CONTOUR_VALUES * points:
                raise _invalid("a contour has not as many points as it tells")


def _presentation_state(ds: Dataset, pixel_bytes: int | None) -> None:
    _require_modality(ds, "PR")
    _require(ds, "ContentLabel", "PresentationCreationDate", "PresentationCreationTime")


def _derived_image(ds: Dataset, pixel_bytes: int | None) -> None:
    _require(ds, "Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "PhotometricInterpretation")
    frames = _number(ds, "NumberOfFrames") if "NumberOfFrames" in ds else 1
    if str(ds.PhotometricInterpretation) not in ("YBR_FULL_422", "YBR_PARTIAL_420"):
        _check_length(ds, frames, _number(ds, "BitsAllocated"), pixel_bytes)


_CHECKS: Mapping[str, Callable[[Dataset, Any], None]] = {
    "segmentation": _segmentation,
    "report": _report,
    "structure set": _structure_set,
    "presentation state": _presentation_state,
    "parametric map": _parametric_map,
    "derived image": _derived_image,
}
