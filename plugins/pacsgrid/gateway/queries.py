"""Queries at study, series and instance level over what a user may read.

C-FIND (PS3.4 C.4.1) and QIDO-RS (PS3.18 10.6) share them. Keys of upper levels may be given at
lower ones, and counts are of what the user may read.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

from pacsgrid.gateway.index import Index, first
from pacsgrid.gateway.matching import bounds, matches
from pacsgrid.gateway.object_reader import StoredInstance
from pacsgrid.gateway.read_access import ReadAccess
from pacsgrid.gateway.terms import condition
from pacsgrid.pipeline import attributes
from pacsgrid.pipeline.attributes import AVAILABLE_SYNTAX, Json

STUDY_UID, SERIES_UID, SOP_UID = "0020000D", "0020000E", "00080018"
SOP_CLASS, MODALITY, PATIENT_ID, STUDY_DATE = "00080016", "00080060", "00100020", "00080020"
MODALITIES_IN_STUDY, CLASSES_IN_STUDY = "00080061", "00080062"
STUDY_SERIES, STUDY_INSTANCES, SERIES_INSTANCES = "00201206", "00201208", "00201209"
AVAILABILITY, NUMBER_OF_FRAMES = "00080056", "00280008"
_COUNTED = {
    MODALITIES_IN_STUDY,
    CLASSES_IN_STUDY,
    STUDY_SERIES,
    STUDY_INSTANCES,
    SERIES_INSTANCES,
    AVAILABILITY,
}
# Keys that the terms of a study answer, and those that columns answer.
_INDEXED = attributes.STUDY | attributes.SERIES | {MODALITIES_IN_STUDY, CLASSES_IN_STUDY}
_TERM = {MODALITIES_IN_STUDY: MODALITY, CLASSES_IN_STUDY: SOP_CLASS}
_BY_COLUMN = {STUDY_UID, SERIES_UID, SOP_UID, STUDY_DATE}
_STUDIES_AT_ONCE = 200
_COUNT = re.compile("[0-9]{1,9}")
_UID_LIST = re.compile(r"[\\,]")


class QueryLevel(StrEnum):
    """The level of a query; values as in Query/Retrieve Level (0008,0052)."""

    STUDY = "STUDY"
    SERIES = "SERIES"
    IMAGE = "IMAGE"


STUDY_TAGS = attributes.STUDY | (_COUNTED - {SERIES_INSTANCES})
SERIES_TAGS = attributes.SERIES | {SERIES_INSTANCES}
INSTANCE_TAGS = attributes.INSTANCE | {AVAILABLE_SYNTAX}
_TAGS = {
    QueryLevel.STUDY: STUDY_TAGS,
    QueryLevel.SERIES: STUDY_TAGS | SERIES_TAGS,
    QueryLevel.IMAGE: STUDY_TAGS | SERIES_TAGS | INSTANCE_TAGS,
}
# At study level these keys mean any of its series or instances.
_OF_ANY = {MODALITY: MODALITIES_IN_STUDY, SOP_CLASS: CLASSES_IN_STUDY}


@dataclass(frozen=True)
class Match:
    """One match of a query.

    Attributes
    ----------
    study, series, sop
        Its UIDs; those of lower levels are empty.
    attributes
        The attributes of its level and the ones above, in the DICOM JSON model.
    instance
        The stored instance, at instance level.
    """

    study: str
    series: str
    sop: str
    attributes: Json
    instance: StoredInstance | None = None


def supported(level: QueryLevel, tag: str) -> bool:
    """Return whether a key can be matched at a level.

    Parameters
    ----------
    level
        The level of the query.
    tag
        The key's tag; of a path into a sequence the first tag counts.

    Returns
    -------
    bool
        Whether `find` matches it.
    """
    return tag.partition(".")[0] in _TAGS[level] or (level is QueryLevel.STUDY and tag in _OF_ANY)


def find(
    index: Index,
    access: ReadAccess,
    level: QueryLevel,
    keys: Mapping[str, str],
    skip: int = 0,
) -> Iterator[Match]:
    """Yield what matches all keys and may be read, in an order that stays the same.

    Parameters
    ----------
    index
        The index.
    access
        What the user may read.
    level
        The level of the query.
    keys
        Values by tag, as `matching.matches` takes them. Keys that are not `supported` are ignored.
    skip
        How many matches to leave out at the beginning.

    Yields
    ------
    Match
        One for each study, series or instance.
    """
    wanted = {tag: value for tag, value in keys.items() if supported(level, tag)}
    if level is QueryLevel.STUDY:
        wanted = {_OF_ANY.get(tag, tag): value for tag, value in wanted.items()}
    with index.reading() as db:
        plan = _plan(db, wanted)
        if skip and level is QueryLevel.STUDY and plan.exact and access.reads_all:
            # The user may read every study: those to skip are only counted.
            candidates, skip = _candidates(db, plan, skip), 0
        else:
            candidates = _candidates(db, plan)
        found = (
            match
            for ids in candidates
            for match in _Studies(db, access, ids, level, wanted).answers()
        )
        yield from islice(found, skip, None)


def instances(
    index: Index, access: ReadAccess, study: str, series: str = "", sop: str = ""
) -> list[StoredInstance]:
    """Return the readable instances of a study or series, or a single instance.

    Parameters
    ----------
    index
        The index.
    access
        What the user may read.
    study, series, sop
        Study, Series and SOP Instance UID; an empty one stands for all.

    Returns
    -------
    list of StoredInstance
        Empty if there are none.
    """
    keys = {STUDY_UID: study, SERIES_UID: series, SOP_UID: sop}
    found = find(index, access, QueryLevel.IMAGE, {tag: uid for tag, uid in keys.items() if uid})
    return [match.instance for match in found if match.instance]


@dataclass(frozen=True)
class _Plan:
    """The conditions on a study in SQL; `exact` if no other attribute has to be looked at."""

    conditions: list[str]
    values: list[object]
    exact: bool


def _plan(db: sqlite3.Connection, keys: Mapping[str, str]) -> _Plan:
    """Turn keys into conditions that the index answers."""
    where: list[str] = []
    values: list[object] = []
    exact = True

    def one_of(column: str, tag: str, around: str = "{}") -> None:
        uids = [uid for uid in _UID_LIST.split(keys.get(tag, "")) if uid]
        if uids and keys[tag].strip("*"):
            where.append(around.format(f"{column} IN (SELECT value FROM json_each(?))"))
            values.append(json.dumps(uids))

    one_of("uid", STUDY_UID)
    one_of("uid", SERIES_UID, "id IN (SELECT study FROM series WHERE {})")
    one_of(
        "instance.uid",
        SOP_UID,
        "id IN (SELECT study FROM series JOIN instance ON series = series.id WHERE {})",
    )
    patient = keys.get(PATIENT_ID, "")
    if patient and not set(patient) & {"*", "?", "\\"}:
        where.append("patient_id = ?")
        values.append(patient.strip())
    dates = keys.get(STUDY_DATE, "").strip("*")
    low, high = bounds("DA", "" if "\\" in dates else dates)
    for limit, sign in ((low, ">="), (high, "<=")):
        if limit:
            where.append(f"date {sign} ?")
            values.append(limit)
    # One study, series or instance needs no other condition.
    named = any(keys.get(tag, "").strip("*") for tag in (STUDY_UID, SERIES_UID, SOP_UID))
    for tag, wanted in keys.items():
        by_column = tag in _BY_COLUMN and (tag != STUDY_DATE or "\\" not in wanted)
        if by_column or named or not wanted.strip("*"):
            continue
        top = tag.partition(".")[0]
        exact = exact and (tag in _TERM or top in STUDY_TAGS - _COUNTED)
        if top not in _INDEXED:
            continue
        found = condition(db, _TERM.get(tag, tag), wanted)
        if found is not None:
            where.append(found.sql)
            values += found.values
    return _Plan(where, values, exact and not named)


def _candidates(db: sqlite3.Connection, plan: _Plan, skip: int = 0) -> Iterator[list[int]]:
    """Yield batches of IDs of studies that may match, in order."""
    where = f" WHERE {' AND '.join(plan.conditions)}" if plan.conditions else ""
    rows = db.execute(
        f"SELECT id FROM study{where} ORDER BY id LIMIT -1 OFFSET ?", (*plan.values, skip)
    )
    while batch := rows.fetchmany(_STUDIES_AT_ONCE):
        yield [key for (key,) in batch]


@dataclass
class _Series:
    """A series, and how many instances of each SOP class the user may read."""

    id: int
    study: int
    uid: str
    place: str
    own: Json
    classes: dict[str, int]

    @property
    def count(self) -> int:
        return sum(self.classes.values())


class _Studies:
    """A batch of studies: what the user may read of them, and what of that matches."""

    def __init__(
        self,
        db: sqlite3.Connection,
        access: ReadAccess,
        ids: Sequence[int],
        level: QueryLevel,
        keys: Mapping[str, str],
    ) -> None:
        self._db = db
        self._access = access
        self._level = level
        tags = {tag: tag.partition(".")[0] for tag in keys}
        lower = {tag for tag in keys if tags[tag] not in STUDY_TAGS}
        instance = {tag for tag in lower if tags[tag] not in SERIES_TAGS}
        counted = {tag for tag in keys if tags[tag] in _COUNTED} - lower
        own = {tag: v for tag, v in keys.items() if tag not in lower | counted}
        self._counted_keys = {tag: keys[tag] for tag in counted}
        self._series_keys = {tag: keys[tag] for tag in lower - instance}
        self._instance_keys = {tag: keys[tag] for tag in instance}
        marks = ", ".join("?" * len(ids))
        self._studies: dict[int, tuple[str, Json]] = {}
        for key, uid, text in db.execute(
            "SELECT study.id, uid, attributes FROM study JOIN study_text USING (id)"
            f" WHERE study.id IN ({marks}) ORDER BY study.id",
            ids,
        ):
            known = json.loads(text) | {STUDY_UID: _value("UI", uid)}
            if _all_match(own, known):
                self._studies[key] = (uid, known)
        # Most queries match few studies, so series are read of these only.
        self._series = self._readable(list(self._studies))

    def _readable(self, ids: Sequence[int]) -> dict[int, list[_Series]]:
        marks = ", ".join("?" * len(ids))
        found: dict[int, _Series] = {}
        partly: set[int] = set()
        rows = self._db.execute(
            "SELECT series.id, study, uid, place, attributes, zones, sop_class, number"
            f" FROM series JOIN tally ON series = series.id WHERE study IN ({marks})"
            " ORDER BY study, series.id",
            ids,
        ).fetchall()
        self._access.ask({row[3] for row in rows})
        for key, study, uid, place, text, zones, sop_class, number in rows:
            if not self._access.reads(place):
                continue
            if key not in found:
                found[key] = _Series(key, study, uid, place, json.loads(text), {})
            if self._access.fully_readable(place) & zones:
                classes = found[key].classes
                classes[sop_class] = classes.get(sop_class, 0) + number
            elif self._access.is_partial(place):
                partly.add(key)
        for key in partly:
            found[key].classes = {}
            classes = found[key].classes
            for instance, _ in self._instances(found[key], "", {}):
                classes[instance.sop_class] = classes.get(instance.sop_class, 0) + 1
        grouped: dict[int, list[_Series]] = {}
        for series in found.values():
            if series.count:
                grouped.setdefault(series.study, []).append(series)
        return grouped

    def answers(self) -> Iterator[Match]:
        for key, (uid, own) in self._studies.items():
            series = self._series.get(key)
            if not series:
                continue
            study = own | _counted(series)
            if not _all_match(self._counted_keys, study):
                continue
            if self._level is QueryLevel.STUDY:
                yield Match(uid, "", "", study)
                continue
            for each in series:
                yield from self._of_series(uid, study, each)

    def _of_series(self, study_uid: str, study: Json, series: _Series) -> Iterator[Match]:
        known = study | series.own
        known[SERIES_UID] = _value("UI", series.uid)
        known[SERIES_INSTANCES] = _value("IS", series.count)
        if not _all_match(self._series_keys, known):
            return
        if self._level is QueryLevel.SERIES:
            yield Match(study_uid, series.uid, "", known)
            return
        for instance, own in self._instances(series, study_uid, self._instance_keys):
            yield Match(study_uid, series.uid, instance.sop, known | own, instance)

    def _instances(
        self, series: _Series, study_uid: str, keys: Mapping[str, str]
    ) -> Iterator[tuple[StoredInstance, Json]]:
        where, values = "", list[str]()
        if uids := [u for u in _UID_LIST.split(keys.get(SOP_UID, "").strip("*")) if u]:
            where = " AND uid IN (SELECT value FROM json_each(?))"
            values = [json.dumps(uids)]
        for sop, sha256, size, zones, text in self._db.execute(
            "SELECT uid, sha256, size, zones, attributes FROM instance"
            f" WHERE series = ?{where} ORDER BY id",
            (series.id, *values),
        ):
            seen = zones & self._access.zones(series.place, sop)
            if not seen:
                continue
            own = json.loads(text)
            own[SOP_UID] = _value("UI", sop)
            if _all_match(keys, own):
                frames = first(own, NUMBER_OF_FRAMES)
                yield (
                    StoredInstance(
                        study_uid,
                        series.uid,
                        sop,
                        series.place,
                        sha256,
                        size,
                        seen,
                        first(own, SOP_CLASS),
                        first(own, AVAILABLE_SYNTAX),
                        int(frames) if _COUNT.fullmatch(frames) else 1,
                    ),
                    own,
                )


def _all_match(keys: Mapping[str, str], known: Json) -> bool:
    return all(matches(tag, value, known) for tag, value in keys.items())


def _value(vr: str, *values: object) -> Json:
    return {"vr": vr, "Value": list(values)}


def _counted(series: Sequence[_Series]) -> Json:
    modalities = {first(each.own, MODALITY) for each in series} - {""}
    classes = {name for each in series for name in each.classes} - {""}
    counted = {
        STUDY_SERIES: _value("IS", len(series)),
        STUDY_INSTANCES: _value("IS", sum(each.count for each in series)),
        AVAILABILITY: _value("CS", "ONLINE"),
    }
    if modalities:
        counted[MODALITIES_IN_STUDY] = _value("CS", *sorted(modalities))
    if classes:
        counted[CLASSES_IN_STUDY] = _value("UI", *sorted(classes))
    return counted
