"""What is known of the consent of a project's subjects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from psycopg2.extras import execute_values

from pacsgrid.ledger.database import Store

_PAGE = 500


@dataclass(frozen=True)
class ConsentRow:
    """A subject's consent, as it was answered last.

    Attributes
    ----------
    subject
        The patient's pseudonym.
    patient
        The keyed hash of issuer and PatientID.
    sealed
        PatientID and issuer, sealed by `Vault.seal`.
    answer
        ``yes``, ``no`` or ``unknown``.
    until
        The last day of a consent, if it has an end.
    """

    subject: str
    patient: str
    sealed: bytes
    answer: str
    until: date | None = None


class Consents(Store):
    """Whether subjects consent; each change of an answer is in an append-only record."""

    def record(self, project: str, rows: Sequence[ConsentRow]) -> int:
        """Enter answers, but none for a patient who withdrew.

        Parameters
        ----------
        project
            The project's name.
        rows
            One for each subject.

        Returns
        -------
        int
            How many answers are other than before.
        """
        with self._database.transaction() as cursor:
            subjects = [row.subject for row in rows]
            cursor.execute(
                "SELECT subject FROM pacsgrid.withdrawal WHERE project = %s AND subject = ANY(%s)",
                (project, subjects),
            )
            withdrawn = {subject for (subject,) in cursor.fetchall()}
            cursor.execute(
                "SELECT subject, answer FROM pacsgrid.consent"
                " WHERE project = %s AND subject = ANY(%s) ORDER BY subject FOR UPDATE",
                (project, subjects),
            )
            before = dict(cursor.fetchall())
            entered = sorted(
                (row for row in rows if row.subject not in withdrawn), key=lambda row: row.subject
            )
            execute_values(
                cursor,
                "INSERT INTO pacsgrid.consent AS c"
                " (project, subject, patient, sealed, answer, until, ended_at) VALUES %s"
                " ON CONFLICT (project, subject) DO UPDATE SET answer = excluded.answer,"
                " until = excluded.until, asked_at = now(), patient = excluded.patient,"
                " sealed = excluded.sealed, ended_at = CASE WHEN excluded.answer = 'no'"
                " THEN coalesce(c.ended_at, now()) END",
                [
                    (project, row.subject, row.patient, row.sealed, row.answer, row.until,
                     row.answer)
                    for row in entered
                ],
                template="(%s, %s, %s, %s, %s, %s::date, CASE WHEN %s = 'no' THEN now() END)",
            )  # fmt: skip
            changes = [
                (project, row.subject, before.get(row.subject, ""), row.answer)
                for row in entered
                if before.get(row.subject) != row.answer
            ]
            execute_values(
                cursor,
                "INSERT INTO pacsgrid.consent_change (project, subject, was, became) VALUES %s",
                changes,
            )
            return sum(bool(was) for _, _, was, _ in changes)

    def mark_asked(self, project: str, subjects: Sequence[str]) -> None:
        """Enter that some subjects were asked for now, and the answers are as before.

        Parameters
        ----------
        project
            The project's name.
        subjects
            Their pseudonyms.
        """
        self._database.run(
            "UPDATE pacsgrid.consent SET asked_at = now() WHERE project = %s AND subject = ANY(%s)",
            (project, list(subjects)),
        )

    def of_subjects(self, project: str, subjects: Sequence[str]) -> dict[str, ConsentRow]:
        """Return what is known of some subjects.

        Parameters
        ----------
        project
            The project's name.
        subjects
            Their pseudonyms.
        """
        return {
            row.subject: row
            for row in self._rows("project = %s AND subject = ANY(%s)", project, list(subjects))
        }

    def of_patients(self, project: str, patients: Sequence[str]) -> list[ConsentRow]:
        """Return what is known of some patients.

        Parameters
        ----------
        project
            The project's name.
        patients
            Keyed hashes of issuer and PatientID.
        """
        return self._rows("project = %s AND patient = ANY(%s)", project, list(patients))

    def to_ask(
        self, project: str, before: datetime | None, today: date
    ) -> Iterator[list[ConsentRow]]:
        """Yield pages of subjects to ask for again: whose consent has ended, or was long not asked.

        Parameters
        ----------
        project
            The project's name.
        before
            Answers from before then are asked for again; None for none of them.
        today
            A consent that ended before is asked for again.
        """
        last = ""
        while True:
            page = self._rows(
                "project = %s AND subject > %s AND subject IN ("
                " SELECT subject FROM pacsgrid.consent WHERE project = %s AND asked_at < %s"
                " UNION SELECT subject FROM pacsgrid.consent WHERE project = %s"
                " AND answer = 'yes' AND until < %s)"
                f" ORDER BY subject LIMIT {_PAGE}",
                project,
                last,
                project,
                before,
                project,
                today,
            )
            if page:
                yield page
            if len(page) < _PAGE:
                return
            last = page[-1].subject

    def never_asked(self, project: str) -> Iterator[list[tuple[str, str]]]:
        """Yield pages of subjects that nobody was asked for, each with the reference of a study."""
        last = ""
        while True:
            page = self._database.all(
                "SELECT s.subject, min(s.ref) FROM pacsgrid.study s WHERE s.project = %(project)s"
                " AND s.subject > %(last)s AND s.state <> 'withdrawn' AND NOT EXISTS ("
                " SELECT 1 FROM pacsgrid.consent c WHERE c.project = s.project"
                " AND c.subject = s.subject) GROUP BY 1 ORDER BY 1 LIMIT %(most)s",
                {"project": project, "last": last, "most": _PAGE},
            )
            if page:
                yield page
            if len(page) < _PAGE:
                return
            last = page[-1][0]

    def ended(self, project: str) -> list[tuple[str, datetime]]:
        """Return the subjects with studies whose consent has ended and who are not withdrawn.

        Each comes with the time since when that is known.
        """
        return self._database.all(
            "SELECT c.subject, c.ended_at FROM pacsgrid.consent c WHERE c.project = %(project)s"
            " AND c.answer = 'no' AND EXISTS (SELECT 1 FROM pacsgrid.study s"
            " WHERE s.project = c.project AND s.subject = c.subject AND s.state <> 'withdrawn')"
            " AND NOT EXISTS (SELECT 1 FROM pacsgrid.withdrawal w WHERE w.project = c.project"
            " AND w.subject = c.subject) ORDER BY c.subject",
            {"project": project},
        )

    def changes(self, project: str, subject: str) -> list[tuple[str, str, datetime]]:
        """Return how a subject's answer changed, the oldest change first.

        Parameters
        ----------
        project
            The project's name.
        subject
            The patient's pseudonym.
        """
        return self._database.all(
            "SELECT was, became, at FROM pacsgrid.consent_change"
            " WHERE project = %s AND subject = %s ORDER BY id",
            (project, subject),
        )

    def cursor(self, project: str) -> str:
        """Return how far the source was read; empty before the first time."""
        rows = self._database.all(
            "SELECT state FROM pacsgrid.consent_cursor WHERE project = %s", (project,)
        )
        return str(rows[0][0]) if rows else ""

    def set_cursor(self, project: str, state: str) -> None:
        """Enter how far the source was read.

        Parameters
        ----------
        project
            The project's name.
        state
            What the source returned.
        """
        self._database.run(
            "INSERT INTO pacsgrid.consent_cursor (project, state) VALUES (%s, %s)"
            " ON CONFLICT (project) DO UPDATE SET state = excluded.state",
            (project, state),
        )

    def _rows(self, condition: str, *values: object) -> list[ConsentRow]:
        rows = self._database.all(
            "SELECT subject, patient, sealed, answer, until FROM pacsgrid.consent"
            f" WHERE {condition}",
            values,
        )
        return [ConsentRow(row[0], row[1], bytes(row[2]), row[3], row[4]) for row in rows]
