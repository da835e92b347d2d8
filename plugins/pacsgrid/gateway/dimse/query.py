"""Answer identifiers from the gateway's index: matches at four levels, instances to send."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pacsgrid.gateway.core import Gateway
from pacsgrid.gateway.dimse.contexts import PATIENT_FIND, PATIENT_GET, PATIENT_MOVE
from pacsgrid.gateway.dimse.identifier import Identifier, InvalidIdentifierError
from pacsgrid.gateway.index import first
from pacsgrid.gateway.matching import matches
from pacsgrid.gateway.object_reader import StoredInstance
from pacsgrid.gateway.queries import (
    PATIENT_ID,
    SERIES_UID,
    SOP_UID,
    STUDY_INSTANCES,
    STUDY_SERIES,
    STUDY_UID,
    QueryLevel,
    supported,
)
from pacsgrid.pipeline.attributes import Json

PATIENT = "PATIENT"
_PATIENT_STUDIES, _PATIENT_SERIES, _PATIENT_INSTANCES = "00201200", "00201202", "00201204"
# Keys of PS3.4 table C.6-1 that anonymised patients have.
_OF_PATIENT = {PATIENT_ID, "00100010", "00100021", "00100030", "00100040"}
_COUNTED = {_PATIENT_STUDIES, _PATIENT_SERIES, _PATIENT_INSTANCES}
_UNIQUE = {PATIENT: PATIENT_ID, "STUDY": STUDY_UID, "SERIES": SERIES_UID, "IMAGE": SOP_UID}
_PATIENT_ROOT = {PATIENT_FIND, PATIENT_GET, PATIENT_MOVE}


def check_level(model: str, asked: Identifier) -> None:
    """Check the Query/Retrieve Level (PS3.4 sections C.6.1.1 and C.6.2.1).

    Parameters
    ----------
    model
        SOP class UID of the request.
    asked
        Its identifier.

    Raises
    ------
    InvalidIdentifierError
        The information model has no such level.
    """
    if asked.level not in _UNIQUE or (asked.level == PATIENT and model not in _PATIENT_ROOT):
        raise InvalidIdentifierError("its SOP class has no such QueryRetrieveLevel (0008,0052)")


def all_supported(asked: Identifier) -> bool:
    """Return whether every key with a value is matched; others are ignored (PS3.4 C.4.1.1.4)."""
    keys = (tag for tag, value in asked.keys.items() if value.strip("*"))
    if asked.level == PATIENT:
        return all(tag in _OF_PATIENT | _COUNTED for tag in keys)
    return all(supported(QueryLevel(asked.level), tag) for tag in keys)


def find(gateway: Gateway, user: str, asked: Identifier) -> Iterator[Json]:
    """Yield the attributes of each match that the user may read.

    Parameters
    ----------
    gateway
        The gateway.
    user
        iRODS user, ``name#zone``.
    asked
        The identifier.

    Raises
    ------
    ZoneUnavailableError
        No zone can say now what the user may read.
    """
    keys = {tag: value for tag, value in asked.keys.items() if value}
    if asked.level == PATIENT:
        yield from _patients(gateway, user, keys)
        return
    for one in gateway.find(user, QueryLevel(asked.level), keys):
        yield one.attributes


def _patients(gateway: Gateway, user: str, keys: Mapping[str, str]) -> Iterator[Json]:
    own = {tag: value for tag, value in keys.items() if tag in _OF_PATIENT}
    found: dict[str, Json] = {}
    counts: dict[str, list[int]] = {}
    for one in gateway.find(user, QueryLevel.STUDY, own):
        patient = first(one.attributes, PATIENT_ID)
        known = found.setdefault(patient, {})
        for tag in _OF_PATIENT & one.attributes.keys():
            known.setdefault(tag, one.attributes[tag])
        total = counts.setdefault(patient, [0, 0, 0])
        total[0] += 1
        total[1] += int(first(one.attributes, STUDY_SERIES) or 0)
        total[2] += int(first(one.attributes, STUDY_INSTANCES) or 0)
    for patient, known in found.items():
        for tag, number in zip(sorted(_COUNTED), counts[patient], strict=True):
            known[tag] = {"vr": "IS", "Value": [number]}
        if all(matches(tag, keys[tag], known) for tag in _COUNTED & keys.keys()):
            yield known


def requested_instances(gateway: Gateway, user: str, asked: Identifier) -> list[StoredInstance]:
    """Return the instances that a retrieval requests and the user may read, each once.

    Parameters
    ----------
    gateway
        The gateway.
    user
        iRODS user, ``name#zone``.
    asked
        The identifier.

    Raises
    ------
    InvalidIdentifierError
        The unique key of its level has no value, or a wild card (PS3.4 section C.4.2.1.4).
    ZoneUnavailableError
        No zone can say now what the user may read.
    """
    keys: dict[str, str] = {}
    for level, tag in _UNIQUE.items():
        value = asked.keys.get(tag, "")
        if set(value) & {"*", "?"} or (level == asked.level and not value.strip("\\ ")):
            raise InvalidIdentifierError(
                "the unique key of its level must be a UID or ID, or a list"
            )
        if value:
            keys[tag] = value
        if level == asked.level:
            break
    found = gateway.find(user, QueryLevel.IMAGE, keys)
    return list({one.sop: one.instance for one in found if one.instance}.values())
