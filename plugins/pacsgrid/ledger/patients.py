"""Which patient a subject stands for, so that a second patient under the same ID is noticed."""

from __future__ import annotations

from pacsgrid.ledger.database import Store
from pacsgrid.model import PatientPrint

_COLUMNS = "family, given, initials, birth, sex"


class Patients(Store):
    """What is known of each subject's patient, as keyed hashes."""

    def merge(self, project: str, subject: str, seen: PatientPrint) -> str:
        """Add what a header says of a subject's patient, unless it contradicts what is known.

        Parameters
        ----------
        project
            The project's name.
        subject
            The patient's pseudonym in it.
        seen
            What the headers of a study say.

        Returns
        -------
        str
            The attribute that contradicts, and nothing is added; empty when none does.
        """
        with self._database.transaction() as cursor:
            cursor.execute(
                f"INSERT INTO pacsgrid.patient (project, subject, {_COLUMNS})"
                " VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                (project, subject, *seen.as_fields()),
            )
            if cursor.rowcount:
                return ""
            cursor.execute(
                f"SELECT {_COLUMNS} FROM pacsgrid.patient"
                " WHERE project = %s AND subject = %s FOR UPDATE",
                (project, subject),
            )
            known = PatientPrint.from_fields(*(cursor.fetchone() or ()))
            if contradicting := known.disagrees(seen):
                return contradicting
            if (both := known | seen) != known:
                cursor.execute(
                    f"UPDATE pacsgrid.patient SET ({_COLUMNS}) = (%s, %s, %s, %s, %s)"
                    " WHERE project = %s AND subject = %s",
                    (*both.as_fields(), project, subject),
                )
            return ""

    def get(self, project: str, subject: str) -> PatientPrint:
        """Return what is known of a subject's patient, as hashes; empty if nothing is.

        Parameters
        ----------
        project
            The project's name.
        subject
            The patient's pseudonym in it.
        """
        rows = self._database.all(
            f"SELECT {_COLUMNS} FROM pacsgrid.patient WHERE project = %s AND subject = %s",
            (project, subject),
        )
        return PatientPrint.from_fields(*rows[0]) if rows else PatientPrint()
