"""What was asked of a source, and what is not taken because it was not asked for.

Some sources pass over a matching key and answer with all they have (PS3.4 C.4.1.3.2 lets them
leave optional keys unmatched), so every answer is compared with its question, and what was
retrieved once more: by then the headers tell.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from pacsgrid.errors import ConfigError
from pacsgrid.model import FoundStudy, StudyQuery
from pacsgrid.pacs.header import Header

NOT_ASKED_FOR = "not-asked-for"
QUESTION = frozenset({"asked", "told"})  # what `sealed` adds to an identity

_DATE = re.compile(r"[0-9]{8}")
# Sources hold UIDs that are none by PS3.5 9.1; what matters is that no other one matches.
_UID = re.compile(r"[0-9A-Za-z._-]{1,128}")
_NAMED = ("patient_ids", "accession_numbers", "study_uids", "modalities")


def insist_on_single_values(query: StudyQuery) -> None:
    """Raise ConfigError where a query would match more than the values it names.

    Those are the wild cards ``*`` and ``?`` and the backslash of lists (PS3.4 C.2.2.2), and empty
    values, which match everything. The message does not repeat the value.
    """
    for field in _NAMED:
        for number, value in enumerate(getattr(query, field), 1):
            if not value.strip("\0 "):
                raise ConfigError(
                    f"{field}, entry {number}: is empty, which a source takes for any; take it out"
                )
            if set(value) & set("*?\\") or not value.isprintable():
                raise ConfigError(
                    f"{field}, entry {number}: has *, ?, a backslash or a control character, by "
                    "which a source matches others too; name the study by another of its "
                    "identifiers"
                )
            if field == "study_uids" and not _UID.fullmatch(value.strip()):
                raise ConfigError(f"{field}, entry {number}: is no UID")
    for name in ("date_from", "date_to"):
        date = getattr(query, name)
        if date and not _DATE.fullmatch(date):
            raise ConfigError(f"{name}: must be a day as YYYYMMDD")
    if query.date_from and query.date_to and query.date_from > query.date_to:
        raise ConfigError("date_from lies after date_to; swap them")


def is_single_uid(uid: str) -> bool:
    """Whether a source that is asked for this UID matches it alone."""
    return _UID.fullmatch(uid) is not None


@dataclass(frozen=True)
class Answer:
    """What a source says of a study, as far as it was asked; empty where it says nothing."""

    study_uid: str
    patient_id: str = ""
    accession: str = ""
    date: str = ""
    modalities: tuple[str, ...] = ()
    instances: int | None = None


def compared(answer: Answer, query: StudyQuery) -> FoundStudy | None:
    """Give the study of an answer; None where the answer is not what was asked for.

    Identifiers must be equal but for padding: leading zeros and the case of letters tell them
    apart. What the answer does not say is compared again on what is retrieved.
    """
    told: list[str] = []
    date = _day(answer.date)
    for field, values in (
        ("patient_ids", (answer.patient_id,)),
        ("accession_numbers", (answer.accession,)),
        ("study_uids", (answer.study_uid,)),
        ("modalities", answer.modalities),
    ):
        wanted, said = _same(getattr(query, field)), _same(values)
        if not wanted or not said:
            continue
        if wanted & said:
            told.append(field)
        elif all(value.isascii() for value in said):
            return None  # others may be equal but for a character set that is not told
    if (query.date_from or query.date_to) and date:
        if not _within(date, query):
            return None
        told.append("dates")
    uid = answer.study_uid if is_single_uid(answer.study_uid) else ""
    return FoundStudy(
        uid, answer.patient_id, answer.instances, answer.modalities, query, tuple(told)
    )


def joined(one: FoundStudy, other: FoundStudy) -> FoundStudy:
    """Give a study that two questions were answered with: either may have asked for it."""
    if one.asked is None or other.asked is None:
        return one
    a, b = one.asked, other.asked
    told = tuple(field for field in one.told if field in other.told)
    both = replace(
        a,
        modalities=_both(a.modalities, b.modalities),
        patient_ids=_both(a.patient_ids, b.patient_ids),
        accession_numbers=_both(a.accession_numbers, b.accession_numbers),
        study_uids=_both(a.study_uids, b.study_uids),
    )
    return replace(one, asked=both, told=told)


def _both(a: tuple[str, ...], b: tuple[str, ...]) -> tuple[str, ...]:
    return a if a == b else tuple(dict.fromkeys((*a, *b)))


def unasked(study: FoundStudy, headers: Sequence[Header]) -> str:
    """Say what of a retrieved study was not asked for; "" where all of it was.

    Parameters
    ----------
    study
        As it was found, with what was asked.
    headers
        Of all its instances. Study date, accession number and modality are a study's: it is
        enough that one instance bears them. Patient and study are every instance's.
    """
    total = len(headers)
    query = study.asked or StudyQuery()
    if many := sum(one.study_uid not in ("", study.study_uid) for one in headers):
        return _reason(many, total, "StudyInstanceUID (0020,000D)")
    if wanted := _same(query.patient_ids):
        believed = {""} if "patient_ids" in study.told else set()
        if many := sum(one.patient_id not in wanted | believed for one in headers):
            return _reason(many, total, "PatientID (0010,0020)")
    for field, what, values in (
        ("accession_numbers", "AccessionNumber (0008,0050)", {one.accession for one in headers}),
        ("modalities", "Modality (0008,0060)", {one.modality for one in headers}),
    ):
        wanted, values = _same(getattr(query, field)), values - {""}
        if field == "modalities" and field in study.told:
            continue
        if wanted and not wanted & values and (values or field not in study.told):
            return _reason(total, total, what)
    if query.date_from or query.date_to:
        days = {_day(one.date) for one in headers} - {""}
        if not any(_within(day, query) for day in days) and (days or "dates" not in study.told):
            return _reason(total, total, "StudyDate (0008,0020)")
    return ""


def _reason(many: int, total: int, what: str) -> str:
    return (
        f"{many} of {total} instances bear another {what} than was asked for, or none; the source "
        "passes over what it is asked, or lists the study wrongly. Nothing of it was kept; "
        "correct it at the source, or ask for this study by what its headers say"
    )


def _same(values: Sequence[str]) -> set[str]:
    """Give values as they are compared: without padding, and without empty ones."""
    return {value.strip("\0 ") for value in values} - {""}


def _day(date: str) -> str:
    """Give a date as YYYYMMDD, those with dots of old too (PS3.5 6.2); "" where it is none."""
    day = date.replace(".", "")
    return day if _DATE.fullmatch(day) else ""


def _within(day: str, query: StudyQuery) -> bool:
    return (not query.date_from or day >= query.date_from) and (
        not query.date_to or day <= query.date_to
    )


def sealed(study: FoundStudy) -> dict[str, str]:
    """Give what is kept, sealed, until the study is retrieved; empty where all was asked for."""
    if study.asked is None or study.asked == StudyQuery():
        return {"asked": "", "told": ""}
    return {"asked": json.dumps(asdict(study.asked)), "told": " ".join(study.told)}


def is_doubtful(study: FoundStudy) -> bool:
    """Whether a source's answer leaves open that the study is what was asked for."""
    query = study.asked or StudyQuery()
    asked = {field for field in _NAMED if getattr(query, field)}
    if query.date_from or query.date_to:
        asked.add("dates")
    return not asked <= set(study.told)


def replaces(identity: dict[str, str], before: dict[str, str]) -> bool:
    """Whether a study was found by another question than before, and confirmed it as well."""
    asked, told = ([one.get(key, "") for one in (identity, before)] for key in ("asked", "told"))
    return asked[0] != asked[1] and set(told[0].split()) >= set(told[1].split())


def unsealed(identity: dict[str, str]) -> FoundStudy:
    """Give the study that was found, from its sealed identity."""
    asked = None
    if text := identity.get("asked"):
        kept = json.loads(text)
        asked = StudyQuery(
            kept["date_from"], kept["date_to"], *(tuple(kept[field]) for field in _ORDER)
        )
    told = tuple(identity.get("told", "").split())
    return FoundStudy(identity["study_uid"], identity["patient_id"], None, (), asked, told)


_ORDER = ("modalities", "patient_ids", "accession_numbers", "study_uids")
