"""What the cohort index has of a study: the values of its manifest, series by series."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from pydicom.datadict import tag_for_keyword

from pacsgrid.cohort_query import Kind, attributes
from pacsgrid.cohort_query.attributes import fold, number_range
from pacsgrid.ledger.cohort_index import BODY_PARTS, SeriesEntry, StudyEntry, Term
from pacsgrid.pipeline.attributes import Json
from pacsgrid.pipeline.manifest import Manifest, ManifestEntry

# A series with more numbers of an attribute is indexed by the least and the greatest.
MOST_NUMBERS = 32
_LABEL = 256

Values = dict[str, set[str]]

_KEYWORDS = {
    f"{tag:08X}": keyword
    for keyword in attributes()
    if (tag := tag_for_keyword(keyword)) is not None
}


def series_values(manifest: Manifest) -> dict[str, Values]:
    """Return the values of each series of a study, those of the study included.

    Parameters
    ----------
    manifest
        The study's manifest.

    Returns
    -------
    dict
        Values by attribute, by series UID.
    """
    inside: defaultdict[str, list[ManifestEntry]] = defaultdict(list)
    for one in manifest.instances:
        inside[one.series].append(one)
    found: dict[str, Values] = {}
    for uid, instances in sorted(inside.items()):
        values: defaultdict[str, set[str]] = defaultdict(set)
        _add(values, manifest.shared)
        _add(values, manifest.series.get(uid, {}))
        for one in instances:
            _add(values, one.own)
        values["PatientID"].add(manifest.subject)
        values["StudyInstanceUID"].add(manifest.study)
        values["SeriesInstanceUID"].add(uid)
        values["NumberOfSeriesRelatedInstances"] = {str(len(instances))}
        found[uid] = values
    modalities = {one for values in found.values() for one in values.get("Modality", ())}
    of_study = {
        "ModalitiesInStudy": modalities,
        "NumberOfStudyRelatedSeries": {str(len(found))},
        "NumberOfStudyRelatedInstances": {str(len(manifest.instances))},
    }
    return {
        uid: {name: texts for name, texts in {**mine, **of_study}.items() if texts}
        for uid, mine in found.items()
    }


def _add(values: Mapping[str, set[str]], given: Json) -> None:
    for tag, element in given.items():
        if keyword := _KEYWORDS.get(tag):
            values[keyword].update(text for one in _texts(element) if (text := one.strip(" ^\0")))


def _texts(element: Mapping[str, object]) -> Iterator[str]:
    """Yield the values of an element; of a sequence or a name, those inside it."""
    inside = element.get("Value")
    for value in inside if isinstance(inside, list) else ():
        if isinstance(value, dict):
            for part in value.values():
                if isinstance(part, dict):
                    yield from _texts(part)
                elif part is not None:
                    yield str(part)
        elif value is not None:
            yield str(value)


def study_entry(ref: str, manifest: Manifest) -> StudyEntry:
    """Return what the index has of a study.

    Parameters
    ----------
    ref
        The study's reference.
    manifest
        Its manifest.

    Returns
    -------
    StudyEntry
        The entry.
    """
    found = series_values(manifest)
    numbers: defaultdict[str, int] = defaultdict(int)
    sizes: defaultdict[str, int] = defaultdict(int)
    for one in manifest.instances:
        numbers[one.series] += 1
        sizes[one.series] += one.size
    shared = next(iter(found.values()), {})
    age = _least(Kind.AGE, shared.get("PatientAge"))
    day = _least(Kind.DATE, shared.get("StudyDate"))
    return StudyEntry(
        ref,
        manifest.project,
        manifest.subject,
        _first("PatientSex", shared),
        _body_parts(found),
        age,
        int(day) // 100 if day else None,
        tuple(
            SeriesEntry(
                uid,
                frozenset(_terms(values)),
                _first("Modality", values),
                _first("BodyPartExamined", values),
                _first("Manufacturer", values),
                _least(Kind.NUMBER, values.get("SliceThickness")),
                numbers[uid],
                sizes[uid],
            )
            for uid, values in found.items()
        ),
    )


def _body_parts(found: Mapping[str, Values]) -> Term | None:
    parts = sorted(
        {part for values in found.values() for part in values.get("BodyPartExamined", ())}
    )
    joined = "+".join(parts)
    return Term(BODY_PARTS, fold(joined), joined[:_LABEL]) if parts else None


def _terms(values: Values) -> Iterator[Term]:
    known = attributes()
    for name, texts in values.items():
        yield Term(name, "", "any")
        kind = known[name].kind
        if kind is Kind.TEXT:
            yield from (_text_term(name, text) for text in texts)
        else:
            yield from _number_terms(name, kind, texts)


def _text_term(name: str, text: str) -> Term:
    return Term(name, fold(text), text[:_LABEL])


def _number_terms(name: str, kind: Kind, texts: set[str]) -> Iterator[Term]:
    ranges = {found: text for text in sorted(texts) if (found := number_range(kind, text))}
    if len(ranges) > MOST_NUMBERS:
        low, high = min(one[0] for one in ranges), max(one[1] for one in ranges)
        yield Term(name, f"{low:.12g}..{high:.12g}", f"{low:g} to {high:g}", low, high)
        return
    for (low, high), text in ranges.items():
        key = f"{low:.12g}" if low == high else f"{low:.12g}..{high:.12g}"
        label = f"{low:g}" if kind in (Kind.NUMBER, Kind.AGE) else text[:_LABEL]
        yield Term(name, key, label, low, high)


def _first(name: str, values: Values) -> Term | None:
    texts: Sequence[str] = sorted(values.get(name, ()))
    return _text_term(name, texts[0]) if texts else None


def _least(kind: Kind, texts: set[str] | None) -> float | None:
    found = [one[0] for text in texts or () if (one := number_range(kind, text))]
    return min(found, default=None)
