"""Derive pseudonyms from a project's key: the same input gives the same pseudonym everywhere."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Collection, Mapping
from copy import copy
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from ..errors import HeldError

_VERSION = b"pacsgrid/deid/1"


@dataclass(frozen=True)
class AssignedSubject:
    """A pseudonym of a patient that comes from outside.

    Attributes
    ----------
    subject
        The pseudonym, checked for use in a path.
    shift_days
        The patient's date shift in days; None to derive it.
    """

    subject: str
    shift_days: int | None = None


class Pseudonyms:
    """One project's pseudonym space.

    Parameters
    ----------
    key
        The project's secret, at least 16 bytes.
    project
        The project's name. It is part of every derivation, so that two projects cannot be linked
        even if they share a key by mistake.

    Raises
    ------
    ValueError
        The key is too short.
    """

    def __init__(self, key: bytes, project: str) -> None:
        if len(key) < 16:
            raise ValueError("a project key needs at least 16 bytes")
        self._key = hmac.new(key, _VERSION + b"\0" + project.encode(), hashlib.sha256).digest()
        self._assigned: Mapping[str, AssignedSubject] | None = None
        self._issued: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        """Return a text that holds no identifying value."""
        return "Pseudonyms(...)"

    def with_subjects(self, assigned: Mapping[str, AssignedSubject]) -> Self:
        """Return the same pseudonyms with the subjects of some patients given from outside.

        Parameters
        ----------
        assigned
            Subject and date shift of a study's patients, by `patient_key`. Other patients, whom
            an item may name, have derived ones.
        """
        made = copy(self)
        made._assigned = assigned
        return made

    def with_issued(self, uids: Collection[str]) -> Self:
        """Return the same pseudonyms, which leave some UIDs as they are.

        Parameters
        ----------
        uids
            UIDs that the project issued. To replace them again would break every reference.
        """
        made = copy(self)
        made._issued = frozenset(uids)
        return made

    def is_issued(self, uid: str) -> bool:
        """Return whether a UID is one that the project issued (`with_issued`)."""
        return uid.strip(" \0") in self._issued

    @property
    def seal_key(self) -> bytes:
        """The key of `seal`; the checker computes the seals by itself."""
        return self._mac("seal", "")

    def seal(self, uid: str) -> bytes:
        """Return the MAC by which the project knows a UID as one that it issued: 16 bytes."""
        return hmac.new(self.seal_key, uid.encode(), hashlib.sha256).digest()[:16]

    @property
    def assigned(self) -> frozenset[str]:
        """The subjects that come from outside."""
        return frozenset(one.subject for one in (self._assigned or {}).values())

    def check_assigned(self, patient_id: str) -> None:
        """Check that a file's patient has a subject, if subjects come from outside.

        Parameters
        ----------
        patient_id
            The file's patient (`patient_key`).

        Raises
        ------
        HeldError
            ``patient-unknown``: nobody was asked for this patient.
        """
        if self._assigned is not None and patient_id not in self._assigned:
            raise HeldError(
                "patient-unknown",
                "the PatientID (0010,0020) of this file could not be read before the study was "
                "anonymised, so it has no pseudonym; have the file's origin write it anew",
            )

    def _mac(self, domain: str, value: str) -> bytes:
        # Per domain: an accession number equal to a patient ID must not get the same pseudonym.
        text = domain.encode() + b"\0" + value.encode("utf-8", "surrogatepass")
        return hmac.new(self._key, text, hashlib.sha256).digest()

    def uid(self, original: str) -> str:
        """Return the pseudonym of a UID: ``2.25.`` and a number of 128 bits (PS3.5 B.2).

        A UID that the project issued is its own (`with_issued`).
        """
        if self.is_issued(original):
            return original.strip(" \0")
        mac = self._mac("uid", original.strip(" \0"))
        return "2.25." + str(int.from_bytes(mac[:16], "big"))

    def subject(self, patient_id: str) -> str:
        """Return the pseudonym of a patient (`patient_key`): ``S`` and 12 base32 characters.

        A subject from outside has the form that it was given (`with_subjects`).
        """
        if self._assigned and (given := self._assigned.get(patient_id)):
            return given.subject
        mac = self._mac("subject", patient_id.strip(" \0"))
        return "S" + base64.b32encode(mac[:8]).decode()[:12]

    def accession(self, number: str) -> str:
        """Return the pseudonym of an accession number: ``A`` and 12 base32 characters."""
        mac = self._mac("accession", number.strip(" \0"))
        return "A" + base64.b32encode(mac[:8]).decode()[:12]

    def shift_days(self, patient_id: str) -> int:
        """Return the patient's date shift, from -1 to -365 whole days unless it is given."""
        given = self._assigned.get(patient_id) if self._assigned else None
        if given and given.shift_days is not None:
            return given.shift_days
        mac = self._mac("shift", patient_id.strip(" \0"))
        return -1 - int.from_bytes(mac[:8], "big") % 365

    def order_of_date(self, date: str) -> int:
        """Return a number that orders studies by their date and does not tell the date.

        It is the day's number plus a secret of the project.

        Parameters
        ----------
        date
            ``YYYYMMDD``.

        Returns
        -------
        int
            The number; 0 if this is no date.
        """
        try:
            day = datetime.strptime(date, "%Y%m%d").toordinal()
        except ValueError:
            return 0
        return day + int.from_bytes(self._mac("order", "")[:4], "big") % 1_000_000_000

    def patient(self, kind: str, value: str) -> str:
        """Hash a value that tells patients apart, to compare it within the project.

        Parameters
        ----------
        kind
            What the value is: equal values of different kinds get different hashes.
        value
            The value.

        Returns
        -------
        str
            16 hex digits.
        """
        return self._mac("patient", f"{kind}\0{value}").hex()[:16]

    def register_key(self, kind: str, value: str) -> str:
        """Hash who a register's entry is about, to find the entry again without the person.

        Parameters
        ----------
        kind
            What the value is: equal values of different kinds get different hashes.
        value
            The value.

        Returns
        -------
        str
            64 hex digits.
        """
        return self._mac("register", f"{kind}\0{value}").hex()

    def reference(self, source: str, study_uid: str) -> str:
        """Return the opaque name of a study, for ledger, logs and folders.

        Parameters
        ----------
        source
            Where the study comes from.
        study_uid
            Its original StudyInstanceUID.

        Returns
        -------
        str
            ``st-`` and 20 hex digits.
        """
        return "st-" + self._mac("reference", f"{source}\0{study_uid.strip(' ')}").hex()[:20]

    def code(self, scheme: str, value: str) -> str:
        """Return the pseudonym of a local code value, which may be free text.

        Parameters
        ----------
        scheme
            Its coding scheme designator.
        value
            The code.

        Returns
        -------
        str
            ``P`` and 12 hex digits.
        """
        return "P" + self._mac("code", f"{scheme}\0{value}").hex()[:12]
