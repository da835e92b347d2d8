"""Which patient a subject stands for, so that a second one under the same ID is noticed."""

from __future__ import annotations

from pacsgrid.ledger.connection import Connected
from pacsgrid.model import PatientPrint

_COLUMNS = "family, given, initials, birth, sex"


class Patients(Connected):
    """One connection to the ledger for the subjects' patients; each method is one transaction."""

    def note(self, project: str, subject: str, seen: PatientPrint) -> str:
        """Compare a patient with what is known of the subject; enter what is new where they agree.

        Returns
        -------
        str
            The attribute that tells them apart, and nothing was entered; empty when they may be
            one.
        """
        with self._transaction() as cursor:
            cursor.execute(
                f"INSERT INTO pacsgrid.patient (project, subject, {_COLUMNS})"
                " VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                (project, subject, *_values(seen)),
            )
            if cursor.rowcount:
                return ""
            cursor.execute(
                f"SELECT {_COLUMNS} FROM pacsgrid.patient"
                " WHERE project = %s AND subject = %s FOR UPDATE",
                (project, subject),
            )
            family, given, initials, birth, sex = cursor.fetchone()
            known = PatientPrint(
                frozenset(family), frozenset(given), frozenset(initials), birth, sex
            )
            if apart := known.disagrees(seen):
                return apart
            if (both := known | seen) != known:
                cursor.execute(
                    f"UPDATE pacsgrid.patient SET ({_COLUMNS}) = (%s, %s, %s, %s, %s)"
                    " WHERE project = %s AND subject = %s",
                    (*_values(both), project, subject),
                )
            return ""


def _values(seen: PatientPrint) -> tuple[list[str], list[str], list[str], str, str]:
    return sorted(seen.family), sorted(seen.given), sorted(seen.initials), seen.birth, seen.sex
