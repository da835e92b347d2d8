"""QIDO-RS: searches for studies, series and instances (PS3.18 10.6)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice

from pydicom.datadict import dictionary_has_tag, dictionary_VR, tag_for_keyword
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException

from pacsgrid.gateway.core import Gateway
from pacsgrid.gateway.matching import NUMBERS, bounds, number_of
from pacsgrid.gateway.queries import (
    INSTANCE_TAGS,
    SERIES_TAGS,
    SERIES_UID,
    STUDY_TAGS,
    STUDY_UID,
    Match,
    QueryLevel,
    supported,
)
from pacsgrid.pipeline.attributes import Json

# Attributes in every answer (PS3.18 tables 10.6.3-3 to 10.6.3-5), empty if the object has none.
_ALWAYS = {
    QueryLevel.STUDY: """
        StudyDate StudyTime AccessionNumber InstanceAvailability ModalitiesInStudy
        ReferringPhysicianName PatientName PatientID PatientBirthDate PatientSex
        StudyInstanceUID StudyID NumberOfStudyRelatedSeries NumberOfStudyRelatedInstances
    """,
    QueryLevel.SERIES: """
        Modality SeriesInstanceUID SeriesNumber NumberOfSeriesRelatedInstances
    """,
    QueryLevel.IMAGE: """
        SOPClassUID SOPInstanceUID InstanceAvailability InstanceNumber
    """,
}
# Attributes in the answer if the object has them.
_IF_ANY = {
    QueryLevel.STUDY: "TimezoneOffsetFromUTC StudyDescription",
    QueryLevel.SERIES: """
        SeriesDescription TimezoneOffsetFromUTC PerformedProcedureStepStartDate
        PerformedProcedureStepStartTime RequestAttributesSequence
    """,
    QueryLevel.IMAGE: "TimezoneOffsetFromUTC Rows Columns BitsAllocated NumberOfFrames",
}
_OF_LEVEL = {
    QueryLevel.STUDY: STUDY_TAGS,
    QueryLevel.SERIES: SERIES_TAGS,
    QueryLevel.IMAGE: INSTANCE_TAGS,
}
_UPPER = {
    QueryLevel.STUDY: (),
    QueryLevel.SERIES: (QueryLevel.STUDY,),
    QueryLevel.IMAGE: (QueryLevel.STUDY, QueryLevel.SERIES),
}
_TAG = re.compile(r"[0-9a-fA-F]{8}")
_CHARACTER_SET: Json = {"00080005": {"vr": "CS", "Value": ["ISO_IR 192"]}}
_DATES = {"DA": r"\d{8}|\d{4}\.\d\d\.\d\d", "TM": r"\d\d(:?\d\d(:?\d\d(\.\d{1,6})?)?)?"}
# VRs whose values contain no comma, so that a comma separates values (PS3.18 8.3.4.1 has this for
# UIDs only).
_LISTED = {"AS", "AT", "CS", "IS", "SL", "SS", "SV", "UI", "UL", "US", "UV"}
# Limits to the work of one search. A long list of UIDs is as fast as a single one.
MOST_PARAMETERS, MOST_UIDS, MOST_LISTED, MOST_LENGTH = 250, 5000, 100, 4096
_MOST_WARNINGS = 20
_BEYOND = 1 << 31  # more than the index can hold


def tag_of(name: str) -> str:
    """Return the tag of an attribute that a query names by tag or keyword (PS3.18 8.3.4).

    For an attribute in a sequence, the tags are joined by dots. The result is empty if the name
    is not an attribute.
    """
    tags = []
    for part in name.split("."):
        number = tag_for_keyword(part)
        if number is not None:
            tags.append(f"{number:08X}")
        elif _TAG.fullmatch(part):
            tags.append(part.upper())
        else:
            return ""
    return ".".join(tags)


def _tags(keywords: str) -> set[str]:
    return {tag_of(word) for word in keywords.split()}


ALWAYS = {level: _tags(words) for level, words in _ALWAYS.items()}
IF_ANY = {level: _tags(words) for level, words in _IF_ANY.items()}


@dataclass(frozen=True)
class Search:
    """The parameters of a search.

    Attributes
    ----------
    level
        What to search for: studies, series or instances.
    keys
        Values to match, by tag.
    fields
        Tags to answer with besides the usual ones.
    everything
        Whether to answer with all attributes in the index.
    limit, offset
        Number of answers at most, and of those to skip before.
    warnings
        Which parts of the request were ignored; one sentence each.
    """

    level: QueryLevel
    keys: dict[str, str]
    fields: set[str]
    everything: bool
    limit: int
    offset: int
    warnings: list[str]


def parse(level: QueryLevel, params: QueryParams, path: dict[str, str], most: int) -> Search:
    """Read the query parameters of a search (PS3.18 8.3.4).

    Parameters that are not supported are ignored, with a warning.

    Parameters
    ----------
    level
        What to search for.
    params
        The query parameters.
    path
        ``study`` and ``series`` in the URL; either may be missing.
    most
        Number of answers at most, also if the request asks for more.

    Returns
    -------
    Search
        The search.

    Raises
    ------
    HTTPException
        400 if a value is malformed or too long, or there are too many parameters.
    """
    if len(params.multi_items()) > MOST_PARAMETERS:
        raise HTTPException(400, f"the search has more than {MOST_PARAMETERS} parameters")
    keys: dict[str, str] = {}
    fields: set[str] = set()
    warnings: list[str] = []
    everything, limit, offset = False, most, 0
    for name, value in params.multi_items():
        if name == "includefield":
            for field in value.split(","):
                if field == "all":
                    everything = True
                elif tag := tag_of(field):
                    fields.add(tag)
                elif field:
                    warnings.append(_unknown(field))
        elif name == "limit":
            limit = min(most, _number(name, value))
        elif name == "offset":
            offset = _number(name, value)
        elif name == "fuzzymatching":
            if value.lower() == "true":
                warnings.append(
                    "The fuzzymatching parameter is not supported. Only literal matching has been"
                    " performed."
                )
        elif name == "emptyvaluematching":
            if value.lower() == "true":
                warnings.append(
                    "The emptyvaluematching parameter is not supported. Empty Value Matching has"
                    " not been performed."
                )
        elif name in ("accept", "multiplevaluematching"):  # lists are always matched
            continue
        elif not (tag := tag_of(name)):
            warnings.append(_unknown(name))
        else:
            if supported(level, tag):
                checked = _checked(name, tag, value)
                keys[tag] = f"{keys[tag]}\\{checked}" if keys.get(tag) and checked else checked
            else:
                warnings.append(f"Matching by the attribute {name} is not supported.")
            fields.add(tag)
    for tag, uid in ((STUDY_UID, path.get("study")), (SERIES_UID, path.get("series"))):
        if uid:
            keys[tag] = uid
    return Search(level, keys, fields, everything, limit, offset, warnings)


def _unknown(name: str) -> str:
    # Other characters are not safe in a header field.
    plain = re.fullmatch(r"[A-Za-z0-9.]{1,64}", name)
    return f"The parameter {name} is unknown." if plain else "A parameter is unknown."


def _number(name: str, value: str) -> int:
    if not re.fullmatch("[0-9]{1,30}", value):
        raise HTTPException(400, f"{name} must be a number in ASCII digits")
    return min(int(value), _BEYOND)


def _checked(name: str, tag: str, value: str) -> str:
    """Return the value to match, with backslashes between the values of a list.

    A value that is invalid for the attribute's VR is refused, since it could match nothing.
    """
    number = int(tag.rpartition(".")[2], 16)
    vr = dictionary_VR(number) if dictionary_has_tag(number) else ""
    listed = value.replace(",", "\\") if vr in _LISTED else value
    values = [part for part in listed.split("\\") if part]
    too_long = len(values) > MOST_LISTED or len(value) > MOST_LENGTH
    if len(values) > MOST_UIDS or (vr != "UI" and too_long):
        raise HTTPException(400, f"the value of {name} is too long to match")
    if vr not in _DATES and vr not in NUMBERS:
        return "\\".join(values)
    for part in values:
        if not part.strip("*"):
            continue
        if vr in _DATES:
            ends = [end for end in bounds(vr, part) if end]
            pattern = _DATES[vr]
            if not ends or not all(re.fullmatch(pattern, end, re.ASCII) for end in ends):
                kind = "date" if vr == "DA" else "time"
                raise HTTPException(400, f"{name} must be a {kind} or a range (PS3.4 C.2.2.2.5)")
        elif number_of(part) is None:
            raise HTTPException(400, f"{name} must be a number")
    return "\\".join(values)


def run(gateway: Gateway, user: str, search: Search, root: str, path: dict[str, str]) -> list[Json]:
    """Return the answers to a search; add a warning to it if there are more.

    Parameters
    ----------
    gateway
        The gateway.
    user
        The iRODS user, ``name#zone``, who searches.
    search
        The search.
    root
        The URL of the DICOMweb service, for Retrieve URL (0008,1190).
    path
        ``study`` and ``series`` in the request's URL; attributes of these levels are answered
        only if the URL does not name them.

    Returns
    -------
    list of dict
        Each match in the DICOM JSON model (PS3.18 annex F).

    Raises
    ------
    ZoneUnavailableError
        No zone answers, or the index is still being built.
    """
    found = gateway.find(user, search.level, search.keys, search.offset)
    page = list(islice(found, search.limit + 1))
    if len(page) > search.limit:
        page.pop()
        search.warnings.append("There are additional results that can be requested.")
    return [_answer(match, search, root, path) for match in page]


def _answer(match: Match, search: Search, root: str, path: dict[str, str]) -> Json:
    """Return the attributes to answer with."""
    level = search.level
    upper = [
        above
        for above in _UPPER[level]
        if not (path.get("study") and above is QueryLevel.STUDY)
        and not (path.get("series") and above is QueryLevel.SERIES)
    ]
    tags = set(ALWAYS[level] | IF_ANY[level])
    for above in upper:
        tags |= _OF_LEVEL[above] if search.everything else ALWAYS[above] | IF_ANY[above]
    tags |= {tag.partition(".")[0] for tag in search.fields}
    tags |= {STUDY_UID} | ({SERIES_UID} if level is not QueryLevel.STUDY else set())
    if search.everything:
        tags |= _OF_LEVEL[level]
    answer = _CHARACTER_SET | {t: v for t, v in match.attributes.items() if t in tags}
    for tag in ALWAYS[level] - answer.keys():
        answer[tag] = {"vr": dictionary_VR(int(tag, 16))}
    answer["00081190"] = {"vr": "UR", "Value": [root + _resource(match)]}
    return dict(sorted(answer.items()))


def _resource(match: Match) -> str:
    named = (("studies", match.study), ("series", match.series), ("instances", match.sop))
    return "".join(f"/{name}/{uid}" for name, uid in named if uid)


def headers(search: Search, service: str) -> dict[str, str]:
    """Return the warnings of a search as a header field (PS3.18 8.4.2).

    Parameters
    ----------
    search
        The search, after `run`.
    service
        The service's URL, or its path.

    Returns
    -------
    dict
        The field ``Warning``; empty if there are no warnings.
    """
    if not search.warnings:
        return {}
    warnings = list(dict.fromkeys(search.warnings))[:_MOST_WARNINGS]
    return {"Warning": ", ".join(f'299 {service} "{text}"' for text in warnings)}
