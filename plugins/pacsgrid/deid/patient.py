"""Identify the patient of a study: the key of the pseudonym, and what tells two patients apart.

A PatientID is unique for its issuer only (PS3.3 C.7.1.1): two hospitals give the same number to two
people, and some give one number, such as 0, to everybody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ..errors import HeldError
from ..model import PatientPrint
from .pseudonyms import Pseudonyms
from .text_folding import fold

_DATE = re.compile(r"\d{8}")
# Between issuer and ID. No value can hold this character (PS3.5 6.1.3).
_SEPARATOR = "\x1f"


def patient_key(ds: Any) -> str:
    """Return what the pseudonym of a patient is derived from. Identifies: keep in memory only.

    It is issuer and PatientID, the PatientID alone if it has no issuer, or the StudyInstanceUID of
    a dataset without PatientID. An item without any of them gives an empty key.
    """
    patient_id = _text(ds, "PatientID")
    if not patient_id:
        return _text(ds, "StudyInstanceUID")
    return join_patient_key(patient_id, issuer_of(ds))


def join_patient_key(patient_id: str, issuer: str) -> str:
    """Return the key of a patient whose ID is known (`patient_key`).

    Parameters
    ----------
    patient_id
        The PatientID; not empty.
    issuer
        Its issuer, empty if it has none.
    """
    return f"{issuer}{_SEPARATOR}{patient_id}" if issuer else patient_id


def issuer_of(ds: Any) -> str:
    """Return the issuer of the PatientID: (0010,0021), or the entity of (0010,0024)."""
    issuer = _text(ds, "IssuerOfPatientID")
    if issuer:
        return issuer
    for item in ds.get("IssuerOfPatientIDQualifiersSequence") or ():
        return _text(item, "UniversalEntityID")
    return ""


def patient_print(ds: Any, pseudonyms: Pseudonyms) -> PatientPrint:
    """Return what a header tells of its patient, hashed with the project's key.

    Parameters
    ----------
    ds
        The source's header.
    pseudonyms
        The project's pseudonym space.

    Returns
    -------
    PatientPrint
        Hashes of the words of the name, its initials, birth date and sex.
    """

    def hashed(kind: str, value: str) -> str:
        return pseudonyms.patient(kind, value) if value else ""

    family: set[str] = set()
    given: set[str] = set()
    # Alphabetic, ideographic and phonetic representation of the name (PS3.5 6.2.1.1).
    for writing in _text(ds, "PatientName").split("="):
        first, _, rest = writing.partition("^")
        family.update(fold(first).split())
        given.update(fold(rest).split())
    birth, sex = _text(ds, "PatientBirthDate"), _text(ds, "PatientSex").upper()
    return PatientPrint(
        frozenset(hashed("name", word) for word in family),
        frozenset(hashed("name", word) for word in given),
        frozenset(hashed("initial", word[0]) for word in given),
        hashed("birth", birth if _DATE.fullmatch(birth) and birth != "19000101" else ""),
        hashed("sex", sex if sex in ("M", "F") else ""),
    )


def merge_patient_prints(prints: Iterable[PatientPrint]) -> PatientPrint:
    """Merge what the headers of one study tell of its patient.

    Raises
    ------
    HeldError
        ``patient-mismatch``: two headers contradict each other.
    """
    total = PatientPrint()
    for one in set(prints):
        if apart := total.disagrees(one):
            raise HeldError(
                "patient-mismatch",
                f"the files of this study have one PatientID (0010,0020) but differ in {apart}; "
                "they are of two patients, or one is wrong: correct it at the source",
            )
        total |= one
    return total


def patient_conflict(apart: str) -> HeldError:
    """Return the reason to hold a study whose subject is already used for another patient.

    Parameters
    ----------
    apart
        The attribute in which the two patients differ.

    Returns
    -------
    HeldError
        ``patient-conflict``.
    """
    return HeldError(
        "patient-conflict",
        f"another study under this PatientID (0010,0020) differs in {apart}: two patients would "
        "become one subject. Correct it at the source, or give each patient an ID or an issuer "
        "(0010,0021) of their own; if it is one patient all the same, send the study on with a "
        "profile that says `hold_patient_conflicts: false`",
    )


def _text(ds: Any, keyword: str) -> str:
    return str(ds.get(keyword, "") or "").strip(" \0")
