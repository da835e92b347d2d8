"""Compare what a source answers and delivers with what was queried.

Some sources ignore a matching key and return everything they have (PS3.4 section C.4.1.3.2 lets
them leave optional keys unmatched). So each answer is compared with its query, and again what was
retrieved, whose headers tell more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from pacsgrid.errors import ConfigError
from pacsgrid.model import FoundStudy, StudyQuery
from pacsgrid.pacs.header import StudyHeader
from pacsgrid.uids import is_single_value

NOT_ASKED_FOR = "not-asked-for"
QUERY_KEYS = frozenset({"asked", "told"})  # what `query_to_identity` adds to an identity

_DATE = re.compile(r"[0-9]{8}")
_LISTS = ("patient_ids", "accession_numbers", "study_uids", "modalities")
_ORDER = ("modalities", "patient_ids", "accession_numbers", "study_uids")


def check_single_values(query: StudyQuery) -> None:
    """Refuse a query that would match more than the values it names.

    Those are the wild cards ``*`` and ``?`` and the backslash of lists (PS3.4 section C.2.2.2), and
    empty values, which match everything.

    Raises
    ------
    ConfigError
        Names the entry, without repeating its value.
    """
    for field in _LISTS:
        for number, value in enumerate(getattr(query, field), 1):
            if not value.strip("\0 "):
                raise ConfigError(
                    f"{field}, entry {number}: is empty and would match everything; remove it"
                )
            if set(value) & set("*?\\") or not value.isprintable():
                raise ConfigError(
                    f"{field}, entry {number}: has *, ?, a backslash or a control character, which "
                    "would match other studies; name the study by another of its identifiers"
                )
            if field == "study_uids" and not is_single_value(value.strip()):
                raise ConfigError(f"{field}, entry {number}: is not a UID")
    for name in ("date_from", "date_to"):
        date = getattr(query, name)
        if date and not _DATE.fullmatch(date):
            raise ConfigError(f"{name}: must be a date as YYYYMMDD")
    if query.date_from and query.date_to and query.date_from > query.date_to:
        raise ConfigError("date_from is later than date_to; swap them")


@dataclass(frozen=True)
class Answer:
    """What a source says of a study; empty where it says nothing.

    Attributes
    ----------
    date
        StudyDate as the source writes it.
    modalities
        ModalitiesInStudy.
    instances
        NumberOfStudyRelatedInstances.
    """

    study_uid: str
    patient_id: str = ""
    accession: str = ""
    date: str = ""
    modalities: tuple[str, ...] = ()
    instances: int | None = None


def match_answer(answer: Answer, query: StudyQuery) -> FoundStudy | None:
    """Compare an answer with its query.

    Identifiers must be equal but for padding: leading zeros and the case of letters matter. What
    the answer does not say is compared again on what is retrieved.

    Parameters
    ----------
    answer
        The answer.
    query
        Names one value for each key at most.

    Returns
    -------
    FoundStudy or None
        None if the answer is not what was queried.
    """
    told: list[str] = []
    date = _normal_date(answer.date)
    for field, values in (
        ("patient_ids", (answer.patient_id,)),
        ("accession_numbers", (answer.accession,)),
        ("study_uids", (answer.study_uid,)),
        ("modalities", answer.modalities),
    ):
        wanted, said = _without_padding(getattr(query, field)), _without_padding(values)
        if not wanted or not said:
            continue
        if wanted & said:
            told.append(field)
        elif all(value.isascii() for value in said):
            return None  # others may be equal, in a character set that the source does not declare
    if (query.date_from or query.date_to) and date:
        if not _within(date, query):
            return None
        told.append("dates")
    uid = answer.study_uid if is_single_value(answer.study_uid) else ""
    return FoundStudy(
        uid,
        answer.patient_id,
        answer.instances,
        answer.modalities,
        query,
        tuple(told),
        date,
        accession=answer.accession,
    )


def matches_header(header: StudyHeader, query: StudyQuery) -> bool:
    """Return whether a study's header matches a query, except its modality.

    Parameters
    ----------
    header
        Of one of its instances.
    query
        Without wild cards (PS3.4 section C.2.2.2).
    """
    if query.date_from and header.date < query.date_from:
        return False
    if query.date_to and (not header.date or header.date > query.date_to):
        return False
    return (
        (not query.patient_ids or header.patient_id in query.patient_ids)
        and (not query.accession_numbers or header.accession in query.accession_numbers)
        and (not query.study_uids or header.study_uid in query.study_uids)
    )


def merge_queries(one: FoundStudy, other: FoundStudy) -> FoundStudy:
    """Return a study that two queries found, with what either may have asked for.

    Parameters
    ----------
    one, other
        The study as each query found it.
    """
    if one.query is None or other.query is None:
        return one
    a, b = one.query, other.query
    told = tuple(field for field in one.confirmed if field in other.confirmed)
    both = replace(
        a,
        modalities=_union(a.modalities, b.modalities),
        patient_ids=_union(a.patient_ids, b.patient_ids),
        accession_numbers=_union(a.accession_numbers, b.accession_numbers),
        study_uids=_union(a.study_uids, b.study_uids),
    )
    return replace(one, query=both, confirmed=told)


def _union(a: tuple[str, ...], b: tuple[str, ...]) -> tuple[str, ...]:
    return a if a == b else tuple(dict.fromkeys((*a, *b)))


def reason_not_asked_for(study: FoundStudy, headers: Sequence[StudyHeader]) -> str:
    """Say which part of a retrieved study was not queried for.

    Parameters
    ----------
    study
        As it was found, with its query.
    headers
        Of all its instances. Patient and study must match in each of them; of study date,
        accession number and modality it is enough that one instance matches.

    Returns
    -------
    str
        The reason to hold the study, without identifying values; "" if all of it was queried for.
    """
    total = len(headers)
    query = study.query or StudyQuery()
    if count := sum(one.study_uid not in ("", study.study_uid) for one in headers):
        return _reason(count, total, "StudyInstanceUID (0020,000D)")
    if wanted := _without_padding(query.patient_ids):
        may_lack = {""} if "patient_ids" in study.confirmed else set()
        if count := sum(one.patient_id not in wanted | may_lack for one in headers):
            return _reason(count, total, "PatientID (0010,0020)")
    for field, element, values in (
        ("accession_numbers", "AccessionNumber (0008,0050)", {one.accession for one in headers}),
        ("modalities", "Modality (0008,0060)", {one.modality for one in headers}),
    ):
        wanted, values = _without_padding(getattr(query, field)), values - {""}
        if field == "modalities" and field in study.confirmed:
            continue
        if wanted and not wanted & values and (values or field not in study.confirmed):
            return _reason(total, total, element)
    if query.date_from or query.date_to:
        days = {_normal_date(one.date) for one in headers} - {""}
        if not any(_within(day, query) for day in days) and (
            days or "dates" not in study.confirmed
        ):
            return _reason(total, total, "StudyDate (0008,0020)")
    return ""


def _reason(count: int, total: int, element: str) -> str:
    return (
        f"{count} of {total} instances have another {element} than was asked for, or none; the "
        "source ignores the query, or lists the study wrongly. Nothing of it was kept; correct it "
        "at the source, or query this study by what its headers say"
    )


def _without_padding(values: Sequence[str]) -> set[str]:
    return {value.strip("\0 ") for value in values} - {""}


def _normal_date(date: str) -> str:
    """Return a date as YYYYMMDD, also from the old format with dots (PS3.5 6.2); "" for none."""
    day = date.replace(".", "")
    return day if _DATE.fullmatch(day) else ""


def _within(day: str, query: StudyQuery) -> bool:
    return (not query.date_from or day >= query.date_from) and (
        not query.date_to or day <= query.date_to
    )


def query_to_identity(study: FoundStudy) -> dict[str, str]:
    """Return the entries of the sealed identity that keep a study's query until it is retrieved.

    They are empty if the query had no keys.
    """
    if study.query is None or study.query == StudyQuery():
        return {"asked": "", "told": ""}
    return {"asked": json.dumps(asdict(study.query)), "told": " ".join(study.confirmed)}


def is_unconfirmed(study: FoundStudy) -> bool:
    """Return whether a source's answer leaves open that the study was queried for."""
    query = study.query or StudyQuery()
    asked = {field for field in _LISTS if getattr(query, field)}
    if query.date_from or query.date_to:
        asked.add("dates")
    return not asked <= set(study.confirmed)


def replaces_query(identity: dict[str, str], before: dict[str, str]) -> bool:
    """Return whether another query found a study again, and its answer confirms as much.

    Parameters
    ----------
    identity, before
        The sealed identity by the new query, and by the earlier one.
    """
    asked, told = ([one.get(key, "") for one in (identity, before)] for key in ("asked", "told"))
    return asked[0] != asked[1] and set(told[0].split()) >= set(told[1].split())


def study_from_identity(identity: dict[str, str]) -> FoundStudy:
    """Return the study that was found, with its query, from its sealed identity."""
    asked = None
    if text := identity.get("asked"):
        kept = json.loads(text)
        asked = StudyQuery(
            kept["date_from"], kept["date_to"], *(tuple(kept[field]) for field in _ORDER)
        )
    told = tuple(identity.get("told", "").split())
    return FoundStudy(identity["study_uid"], identity["patient_id"], None, (), asked, told)
