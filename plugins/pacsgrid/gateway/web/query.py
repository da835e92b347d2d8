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

# What is always answered (PS3.18 tables 10.6.3-3 to 10.6.3-5), with an empty value if need be.
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
# What is answered where the object has it.
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
# Lists with commas (PS3.18 8.3.4.1 has them for UIDs): of what can have no comma itself.
_LISTED = {"AS", "AT", "CS", "IS", "SL", "SS", "SV", "UI", "UL", "US", "UV"}
# Bounds of the work of one search; a list of UIDs costs no more than one.
MOST_PARAMETERS, MOST_UIDS, MOST_LISTED, MOST_LENGTH = 250, 5000, 100, 4096
_MOST_WARNINGS = 20
_BEYOND = 1 << 31  # more than there can be


def tag_of(name: str) -> str:
    """Return the tag, or tags with dots, of an attribute that a query names (PS3.18 8.3.4).

    Empty for what is no attribute.
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
    """A search as it was asked.

    Attributes
    ----------
    keys
        Values by tag.
    fields
        Tags that are to be answered beside the usual ones; `everything` for all there are.
    warnings
        What of the request was not taken into account.
    """

    level: QueryLevel
    keys: dict[str, str]
    fields: set[str]
    everything: bool
    limit: int
    offset: int
    warnings: list[str]


def parse(level: QueryLevel, params: QueryParams, path: dict[str, str], most: int) -> Search:
    """Read a search's parameters.

    Parameters
    ----------
    path
        ``study`` and ``series`` of the resource, where it names them.
    most
        The limit where none is asked for.

    What is not supported is ignored, with a warning (PS3.18 8.3).

    Raises
    ------
    HTTPException
        400 for a value that cannot be understood, and for more than a search may have.
    """
    if len(params.multi_items()) > MOST_PARAMETERS:
        raise HTTPException(400, f"a search may have up to {MOST_PARAMETERS} parameters")
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
        elif name in ("accept", "multiplevaluematching"):  # lists are matched in any case
            continue
        elif not (tag := tag_of(name)):
            warnings.append(_unknown(name))
        else:
            if supported(level, tag):
                wanted = _checked(name, tag, value)
                keys[tag] = f"{keys[tag]}\\{wanted}" if keys.get(tag) and wanted else wanted
            else:
                warnings.append(f"The attribute {name} is not matched.")
            fields.add(tag)
    for tag, uid in ((STUDY_UID, path.get("study")), (SERIES_UID, path.get("series"))):
        if uid:
            keys[tag] = uid
    return Search(level, keys, fields, everything, limit, offset, warnings)


def _unknown(name: str) -> str:
    # What is not a plain word goes into no header.
    plain = re.fullmatch(r"[A-Za-z0-9.]{1,64}", name)
    return f"The parameter {name} is not known." if plain else "A parameter is not known."


def _number(name: str, value: str) -> int:
    if not re.fullmatch("[0-9]{1,30}", value):
        raise HTTPException(400, f"{name} is a number of ASCII digits")
    return min(int(value), _BEYOND)


def _checked(name: str, tag: str, value: str) -> str:
    """Return the value to match, lists with backslashes.

    Refuses what the attribute's VR cannot have: it would match nothing.
    """
    number = int(tag.rpartition(".")[2], 16)
    vr = dictionary_VR(number) if dictionary_has_tag(number) else ""
    listed = value.replace(",", "\\") if vr in _LISTED else value
    values = [one for one in listed.split("\\") if one]
    too_long = len(values) > MOST_LISTED or len(value) > MOST_LENGTH
    if len(values) > MOST_UIDS or (vr != "UI" and too_long):
        raise HTTPException(400, f"{name} is too long to be matched")
    if vr not in _DATES and vr not in NUMBERS:
        return "\\".join(values)
    for one in values:
        if not one.strip("*"):
            continue
        if vr in _DATES:
            ends = [end for end in bounds(vr, one) if end]
            plain = _DATES[vr]
            if not ends or not all(re.fullmatch(plain, end, re.ASCII) for end in ends):
                raise HTTPException(400, f"{name} is no date, time or range")
        elif number_of(one) is None:
            raise HTTPException(400, f"{name} is no number")
    return "\\".join(values)


def run(gateway: Gateway, user: str, asked: Search, root: str, path: dict[str, str]) -> list[Json]:
    """Return the answers to a search; adds a warning where there are more.

    Parameters
    ----------
    root
        The URL of the DICOMweb service, for RetrieveURL.
    """
    found = gateway.find(user, asked.level, asked.keys)
    page = list(islice(found, asked.offset, asked.offset + asked.limit + 1))
    if len(page) > asked.limit:
        page.pop()
        asked.warnings.append("There are additional results that can be requested.")
    return [_shown(one, asked, root, path) for one in page]


def _shown(one: Match, asked: Search, root: str, path: dict[str, str]) -> Json:
    level = asked.level
    upper = [
        above
        for above in _UPPER[level]
        if not (path.get("study") and above is QueryLevel.STUDY)
        and not (path.get("series") and above is QueryLevel.SERIES)
    ]
    tags = set(ALWAYS[level] | IF_ANY[level])
    for above in upper:
        tags |= _OF_LEVEL[above] if asked.everything else ALWAYS[above] | IF_ANY[above]
    tags |= {tag.partition(".")[0] for tag in asked.fields}
    tags |= {STUDY_UID} | ({SERIES_UID} if level is not QueryLevel.STUDY else set())
    if asked.everything:
        tags |= _OF_LEVEL[level]
    shown = _CHARACTER_SET | {t: v for t, v in one.attributes.items() if t in tags}
    for tag in ALWAYS[level] - shown.keys():
        shown[tag] = {"vr": dictionary_VR(int(tag, 16))}
    shown["00081190"] = {"vr": "UR", "Value": [root + _resource(one)]}
    return dict(sorted(shown.items()))


def _resource(one: Match) -> str:
    named = (("studies", one.study), ("series", one.series), ("instances", one.sop))
    return "".join(f"/{name}/{uid}" for name, uid in named if uid)


def headers(asked: Search, service: str) -> dict[str, str]:
    """Return the warnings as headers (PS3.18 8.4.2)."""
    if not asked.warnings:
        return {}
    told = list(dict.fromkeys(asked.warnings))[:_MOST_WARNINGS]
    return {"Warning": ", ".join(f'299 {service} "{text}"' for text in told)}
