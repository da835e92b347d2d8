"""The AVUs of a study's collections: the commonest attributes, so that iCommands find them.

Instances have none of their own. A series has its study's as well, because a catalog query joins
the AVUs of one collection only.
"""

from __future__ import annotations

from pacsgrid.cohort_query import Kind, attributes
from pacsgrid.cohort_query.attributes import number_range
from pacsgrid.model import AVU
from pacsgrid.pipeline.cohort_entries import Values, series_values
from pacsgrid.pipeline.manifest import Manifest
from pacsgrid.uids import collection as below

_OF_STUDY = {
    "StudyInstanceUID": "",
    "StudyDate": "",
    "StudyDescription": "",
    "PatientSex": "",
    "PatientAge": "years",
    "NumberOfStudyRelatedSeries": "",
    "NumberOfStudyRelatedInstances": "",
}
# Those of its series that a study has too.
_OF_BOTH = {"Modality": "", "BodyPartExamined": "", "Manufacturer": "", "ContrastBolusAgent": ""}
_OF_SERIES = {
    "SeriesInstanceUID": "",
    "SeriesDescription": "",
    "ProtocolName": "",
    "ManufacturerModelName": "",
    "SliceThickness": "mm",
    "NumberOfSeriesRelatedInstances": "",
}
# Of more values, the first are AVUs; of numbers the least and the greatest too.
_MOST = 16
_LONGEST = 1000


def study_avus(collection: str, manifest: Manifest, result: str = "") -> dict[str, list[AVU]]:
    """Return the AVUs of a study's collections, or of a result's.

    A result has not its study's: a search for studies must not find their results.

    Parameters
    ----------
    collection
        The study's collection.
    manifest
        The study's or result's manifest.
    result
        The result's name; empty for a study.

    Returns
    -------
    dict
        The AVUs of the study's collection and of each series' collection, by path.
    """
    found = series_values(manifest)
    if result:
        return {
            collection: [
                AVU("pacsgrid.project", manifest.project),
                AVU("pacsgrid.subject", manifest.subject),
                AVU("pacsgrid.result", result),
            ],
            **{below(collection, uid): [AVU("SeriesInstanceUID", uid)] for uid in found},
        }
    for values in found.values():
        values.setdefault("Modality", {"OT"})
    joined: Values = {}
    for values in found.values():
        for name in (*_OF_STUDY, *_OF_BOTH):
            joined.setdefault(name, set()).update(values.get(name, ()))
    avus = {
        collection: [
            AVU("pacsgrid.project", manifest.project),
            AVU("pacsgrid.subject", manifest.subject),
            AVU("pacsgrid.profile", manifest.profile_hash),
            *([AVU("pacsgrid.version", str(manifest.version))] if manifest.version > 1 else []),
            *_avus(joined, {**_OF_STUDY, **_OF_BOTH}),
        ]
    }
    for uid, values in found.items():
        avus[below(collection, uid)] = _avus(values, {**_OF_STUDY, **_OF_BOTH, **_OF_SERIES})
    return avus


def _avus(values: Values, wanted: dict[str, str]) -> list[AVU]:
    return [
        AVU(name, text[:_LONGEST], units)
        for name, units in wanted.items()
        for text in _listed(name, values.get(name, set()))
    ]


def _listed(name: str, texts: set[str]) -> list[str]:
    """Return the values as AVUs have them: numbers and ages as plain numbers, dates YYYYMMDD."""
    kind = attributes()[name].kind
    if kind not in (Kind.NUMBER, Kind.AGE):
        return sorted(texts)[:_MOST]
    numbers = sorted({found[0] for text in texts if (found := number_range(kind, text))})
    if len(numbers) > _MOST:
        numbers = [*numbers[: _MOST - 1], numbers[-1]]
    return [f"{number:.10g}" for number in numbers]
