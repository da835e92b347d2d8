"""The attributes of anonymised instances that queries ask for.

A study's manifest holds them in the DICOM JSON model (PS3.18 F.2), so that an index of a zone can
be built without reading its objects.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

from pydicom import Dataset, dcmread
from pydicom.datadict import tag_for_keyword

from pacsgrid import manifest_attributes
from pacsgrid.pipeline import dicom_json
from pacsgrid.pipeline.dicom_json import Json as Json

AVAILABLE_SYNTAX = "00083002"  # AvailableTransferSyntaxUID


def _tags(keywords: Iterable[str]) -> frozenset[str]:
    return frozenset(f"{tag_for_keyword(one):08X}" for one in keywords)


STUDY, SERIES, INSTANCE = map(
    _tags, (manifest_attributes.STUDY, manifest_attributes.SERIES, manifest_attributes.INSTANCE)
)
_READ = [int(tag, 16) for tag in sorted(STUDY | SERIES | INSTANCE)]
_CHARACTER_SET = tag_for_keyword("SpecificCharacterSet")


def read_attributes(source: Path | BinaryIO) -> Json:
    """Read the attributes from an instance's header; leave out values that break their VR's rules.

    Raises
    ------
    pydicom.errors.InvalidDicomError, OSError
        It is not a DICOM file, or cannot be read.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = dcmread(source, stop_before_pixels=True, specific_tags=[*_READ, _CHARACTER_SET])
        found = _read(data)
    found.pop("00080005", None)  # JSON is UTF-8 whatever the file was
    kept = {tag: value for tag, value in found.items() if len(value) > 1}
    syntax = str(data.file_meta.get("TransferSyntaxUID") or "")
    kept[AVAILABLE_SYNTAX] = {"vr": "UI", "Value": [syntax]}
    return dict(sorted(kept.items()))


def _read(data: Dataset) -> Json:
    found: Json = {}
    for tag in data.keys():  # noqa: SIM118 - iterating over a data set would convert its elements
        try:
            if dicom_json.vr_of(data, tag) == "SQ":
                items = [_read(item) for item in data[tag]]
                found[f"{tag:08X}"] = {"vr": "SQ", **({"Value": items} if items else {})}
            else:
                found[f"{tag:08X}"] = dicom_json.element_to_json(data, tag)
        except Exception:  # pydicom raises many kinds for a value that breaks its VR's rules
            continue
    return found


def split_by_level(
    series_of: Mapping[str, str], known: Mapping[str, Json]
) -> tuple[Json, Json, Json]:
    """Split attributes into those of the study, of each series and of each instance.

    Parameters
    ----------
    series_of
        The series UID of each instance, by SOP UID.
    known
        The attributes of each instance, by SOP UID.

    Returns
    -------
    tuple
        The study's attributes; those of each series, by series UID; those of each instance, by
        SOP UID. Where instances disagree about their study or series, the one with the first UID
        counts.
    """
    study: Json = {}
    series: dict[str, Json] = {}
    instances: dict[str, Json] = {}
    for sop in sorted(known):
        own = known[sop]
        _add_missing(study, own, STUDY)
        _add_missing(series.setdefault(series_of[sop], {}), own, SERIES)
        instances[sop] = {tag: v for tag, v in own.items() if tag not in STUDY | SERIES}
    return study, dict(sorted(series.items())), instances


def _add_missing(into: Json, own: Json, tags: Iterable[str]) -> None:
    for tag in sorted(tags):
        if tag in own:
            into.setdefault(tag, own[tag])


def merge_levels(study: Json, series: Json, instance: Json) -> Json:
    """Return all attributes of an instance, as `read_attributes` returned them.

    Parameters
    ----------
    study, series, instance
        What `split_by_level` returned for it.

    Returns
    -------
    dict
        The attributes by tag (eight hex digits), sorted.
    """
    return dict(sorted({**study, **series, **instance}.items()))
