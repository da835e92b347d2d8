"""Subjects from outside: which pseudonym each patient of a project was given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg2.errors import UniqueViolation
from psycopg2.extras import execute_values

from pacsgrid.ledger.connection import Cursor
from pacsgrid.ledger.database import Store


@dataclass(frozen=True)
class SubjectRow:
    """A patient's subject.

    Attributes
    ----------
    patient, patient_id
        Keyed hashes of the patient's issuer and PatientID, and of the PatientID alone.
    subject
        The pseudonym.
    sealed
        The date shift, sealed by `Vault.seal`; empty once the patient withdrew.
    """

    patient: str
    patient_id: str
    subject: str
    sealed: bytes


@dataclass(frozen=True)
class SubjectClash:
    """A row that contradicts what is known.

    Attributes
    ----------
    row
        The position of the row among those that were given.
    same_patient
        Whether the patient has another subject already; if not, another patient has the subject.
    """

    row: int
    same_patient: bool


class Subjects(Store):
    """Which subject each patient was given; an entry never changes once a study has it."""

    def find(self, project: str, patients: Sequence[str]) -> dict[str, SubjectRow]:
        """Return the subjects of some patients, by the keyed hash of issuer and PatientID.

        Parameters
        ----------
        project
            The project's name.
        patients
            Keyed hashes of issuer and PatientID.
        """
        rows = self._database.all(
            "SELECT patient, patient_id, subject, sealed FROM pacsgrid.subject"
            " WHERE project = %s AND patient = ANY(%s)",
            (project, list(patients)),
        )
        return {row[0]: SubjectRow(row[0], row[1], row[2], bytes(row[3])) for row in rows}

    def has_patient_id(self, project: str, patient_id: str) -> bool:
        """Return whether any issuer's patient of this PatientID has a subject.

        Parameters
        ----------
        project
            The project's name.
        patient_id
            The keyed hash of the PatientID.
        """
        return bool(
            self._database.all(
                "SELECT 1 FROM pacsgrid.subject WHERE project = %s AND patient_id = %s LIMIT 1",
                (project, patient_id),
            )
        )

    def clashes(self, project: str, rows: Sequence[SubjectRow]) -> list[SubjectClash]:
        """Return the rows that contradict what is known; the others are new, or known already.

        Parameters
        ----------
        project
            The project's name.
        rows
            The rows; they must not contradict each other.
        """
        with self._database.transaction() as cursor:
            _give(cursor, rows)
            cursor.execute(
                "SELECT row, bool_or(same) FROM (SELECT g.row, true AS same FROM given g"
                " JOIN pacsgrid.subject s ON s.project = %(project)s AND s.patient = g.patient"
                " WHERE s.subject <> g.subject UNION ALL SELECT g.row, false FROM given g"
                " JOIN pacsgrid.subject s ON s.project = %(project)s AND lower(s.subject) ="
                " lower(g.subject) WHERE s.patient <> g.patient) clash GROUP BY row ORDER BY row",
                {"project": project},
            )
            return [SubjectClash(*row) for row in cursor.fetchall()]

    def add(self, project: str, origin: str, who: str, rows: Sequence[SubjectRow]) -> int:
        """Add patients that are not known yet, all of them or none.

        Parameters
        ----------
        project
            The project's name.
        origin
            Where they come from: ``table`` or ``service``.
        who
            Who brought them, for the record.
        rows
            The rows.

        Returns
        -------
        int
            How many are new; -1 if one of the subjects is another patient's, and none was added.
        """
        try:
            with self._database.transaction() as cursor:
                _give(cursor, rows)
                cursor.execute(
                    "INSERT INTO pacsgrid.subject (project, patient, patient_id, subject, sealed,"
                    " origin, who) SELECT %s, patient, patient_id, subject, sealed, %s, %s"
                    " FROM given ON CONFLICT (project, patient) DO NOTHING",
                    (project, origin, who),
                )
                return cursor.rowcount
        except UniqueViolation:
            return -1

    def remove_unused(self, project: str) -> int:
        """Remove the entries whose subject has no study and never withdrew; return how many."""
        return self._database.run(
            "DELETE FROM pacsgrid.subject e WHERE project = %(project)s AND NOT EXISTS ("
            " SELECT 1 FROM pacsgrid.study s WHERE s.project = e.project"
            " AND s.subject = e.subject) AND NOT EXISTS (SELECT 1 FROM pacsgrid.withdrawal w"
            " WHERE w.project = e.project AND w.subject = e.subject)",
            {"project": project},
        )

    def count(self, project: str) -> int:
        """Return how many patients of a project have a subject from outside."""
        ((count,),) = self._database.all(
            "SELECT count(*) FROM pacsgrid.subject WHERE project = %s", (project,)
        )
        return int(count)

    def settle_mode(self, project: str, mode: str) -> str:
        """Return where a project's subjects come from; record it if the project has no study yet.

        Parameters
        ----------
        project
            The project's name.
        mode
            What the site file says.

        Returns
        -------
        str
            What the project's studies were made with; `mode` if there are none.
        """
        rows = self._database.all(
            "SELECT mode FROM pacsgrid.subject_mode WHERE project = %s", (project,)
        )
        if rows and rows[0][0] == mode:
            return mode
        with self._database.transaction() as cursor:
            cursor.execute(
                "INSERT INTO pacsgrid.subject_mode (project, mode) VALUES (%(project)s, %(mode)s)"
                " ON CONFLICT (project) DO UPDATE SET mode = excluded.mode WHERE NOT EXISTS ("
                " SELECT 1 FROM pacsgrid.study WHERE project = %(project)s"
                " AND subject IS NOT NULL)",
                {"project": project, "mode": mode},
            )
            cursor.execute("SELECT mode FROM pacsgrid.subject_mode WHERE project = %s", (project,))
            ((settled,),) = cursor.fetchall()
            return str(settled)


def _give(cursor: Cursor, rows: Sequence[SubjectRow]) -> None:
    """Put rows into a temporary table, so that statements can compare all of them at once."""
    cursor.execute("DROP TABLE IF EXISTS given")
    cursor.execute(
        "CREATE TEMPORARY TABLE given (row integer, patient text, patient_id text, subject text,"
        " sealed bytea) ON COMMIT DROP"
    )
    execute_values(
        cursor,
        "INSERT INTO given VALUES %s",
        [(n, r.patient, r.patient_id, r.subject, r.sealed) for n, r in enumerate(rows)],
        page_size=1000,
    )
