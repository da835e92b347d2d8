"""Withdrawals of consent: patients whose studies are removed from every zone, with proof."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg2.extras import execute_values

from pacsgrid.ledger.connection import Cursor
from pacsgrid.ledger.database import Store


@dataclass(frozen=True)
class WithdrawalRecord:
    """A patient's withdrawal in one zone.

    Attributes
    ----------
    subject
        The patient's pseudonym.
    proven_at
        When the zone was found to hold nothing of the patient; None before.
    proof
        What was found there, as JSON.
    """

    subject: str
    zone: str
    asked_at: datetime
    proven_at: datetime | None
    proof: str


class Withdrawals(Store):
    """Patients who withdrew their consent."""

    def withdraw(self, project: str, subject: str, zones: Sequence[str]) -> list[str]:
        """Set a patient's studies to withdrawn and destroy the way back to the person.

        Instances and proofs stay until the last zone is proven (`mark_erased`): they name what is
        to be removed there.

        Parameters
        ----------
        project
            The project's name.
        subject
            The patient's pseudonym in it.
        zones
            The zones that the patient's studies are to be removed from.

        Returns
        -------
        list of str
            The studies' references.
        """
        with self._database.transaction() as cursor:
            execute_values(
                cursor,
                "INSERT INTO pacsgrid.withdrawal (project, subject, zone) VALUES %s"
                " ON CONFLICT DO NOTHING",
                [(project, subject, zone) for zone in zones],
            )
            refs = _refs(cursor, project, subject)
            cursor.execute(
                "UPDATE pacsgrid.study SET state = 'withdrawn', held_code = NULL,"
                " held_detail = NULL, held_sha256 = NULL, changed_at = now() WHERE ref = ANY(%s)",
                (refs,),
            )
            cursor.execute(
                "UPDATE pacsgrid.vault SET sealed = ''::bytea WHERE ref = ANY(%s)", (refs,)
            )
            cursor.execute(
                "DELETE FROM pacsgrid.patient WHERE project = %s AND subject = %s",
                (project, subject),
            )
            cursor.execute(
                "DELETE FROM pacsgrid.consent WHERE project = %s AND subject = %s",
                (project, subject),
            )
            # The hashes stay: another study of the patient is recognised, and refused.
            cursor.execute(
                "UPDATE pacsgrid.subject SET sealed = ''::bytea"
                " WHERE project = %s AND subject = %s",
                (project, subject),
            )
        return refs

    def is_withdrawn(self, project: str, subject: str) -> bool:
        """Return whether a patient withdrew.

        Parameters
        ----------
        project
            The project's name.
        subject
            The patient's pseudonym in it.
        """
        return bool(
            self._database.all(
                "SELECT 1 FROM pacsgrid.withdrawal WHERE project = %s AND subject = %s LIMIT 1",
                (project, subject),
            )
        )

    def of_project(self, project: str) -> list[WithdrawalRecord]:
        """Return every withdrawal of a project in every zone, the oldest first."""
        rows = self._database.all(
            "SELECT subject, zone, asked_at, proven_at, proof FROM pacsgrid.withdrawal"
            " WHERE project = %s ORDER BY asked_at, subject, zone",
            (project,),
        )
        return [WithdrawalRecord(*row) for row in rows]

    def mark_erased(self, project: str, subject: str, zone: str, proof: str) -> None:
        """Enter the proof that a zone holds nothing of a patient any more.

        With the proof of the last zone, the patient's instances and proofs are deleted.

        Parameters
        ----------
        project
            The project's name.
        subject
            The patient's pseudonym in it.
        zone
            The iRODS zone's name.
        proof
            What was found there, as JSON.
        """
        with self._database.transaction() as cursor:
            cursor.execute(
                "UPDATE pacsgrid.withdrawal SET proven_at = now(), proof = %s"
                " WHERE project = %s AND subject = %s AND zone = %s",
                (proof, project, subject, zone),
            )
            cursor.execute(
                "SELECT 1 FROM pacsgrid.withdrawal WHERE project = %s AND subject = %s"
                " AND proven_at IS NULL",
                (project, subject),
            )
            if cursor.fetchone() is not None:
                return
            refs = _refs(cursor, project, subject)
            cursor.execute(
                "SELECT DISTINCT project, name, version FROM pacsgrid.release_study"
                " WHERE ref = ANY(%s) ORDER BY 1, 2, 3",
                (refs,),
            )
            releases = cursor.fetchall()
            for table in (
                "proof",
                "bad_replica",
                "release_study",
                "release_left_out",
                "deid_report",
                "received",
                "series_choice",
                "not_wanted",
                "content_warning",
            ):
                cursor.execute(f"DELETE FROM pacsgrid.{table} WHERE ref = ANY(%s)", (refs,))
            cursor.execute("DELETE FROM pacsgrid.instance WHERE ref = ANY(%s)", (refs,))
            for release in releases:
                cursor.execute("SELECT pacsgrid.count_release(%s, %s, %s)", release)


def _refs(cursor: Cursor, project: str, subject: str) -> list[str]:
    # Versions count too that have no instance: one that is on its way, one that is gone.
    cursor.execute(
        "WITH mine AS (SELECT ref FROM pacsgrid.study WHERE project = %s AND subject = %s)"
        " SELECT ref FROM mine UNION SELECT other.ref FROM mine"
        " JOIN pacsgrid.study_version v USING (ref)"
        " JOIN pacsgrid.study_version other USING (origin) ORDER BY 1",
        (project, subject),
    )
    return [ref for (ref,) in cursor.fetchall()]
