"""Releases and withdrawals in the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg2.extras import execute_values

from pacsgrid.ledger.connection import Connected
from pacsgrid.ledger.rows import InstanceRow


@dataclass(frozen=True)
class ReleaseRow:
    """A version of a release; `retired_at` is set when a withdrawal replaced it."""

    name: str
    version: int
    manifest_sha256: str
    made_at: datetime
    retired_at: datetime | None


@dataclass(frozen=True)
class WithdrawalRow:
    """A patient's withdrawal in one zone; `proof` is what was seen there, as JSON."""

    subject: str
    zone: str
    asked_at: datetime
    proven_at: datetime | None
    proof: str


class Cohorts(Connected):
    """One connection to the ledger; each method is one transaction."""

    def members(
        self, project: str, study_uids: Sequence[str] | None, subjects: Sequence[str] = ()
    ) -> dict[str, list[InstanceRow]]:
        """Return the instances of verified studies, by reference.

        Studies are chosen by pseudonymous study UID or subject; `study_uids` None is all.
        """
        with self._transaction() as cursor:
            cursor.execute(
                "SELECT i.ref, i.study_uid, i.series_uid, i.sop_uid, i.subject, i.modality,"
                " i.sha256, i.size FROM pacsgrid.instance i JOIN pacsgrid.study s USING (ref)"
                " WHERE s.project = %s AND s.state = 'verified'"
                " AND (%s OR i.study_uid = ANY(%s) OR i.subject = ANY(%s))"
                " ORDER BY i.subject, i.study_uid, i.series_uid, i.sop_uid",
                (project, study_uids is None, list(study_uids or ()), list(subjects)),
            )
            found: dict[str, list[InstanceRow]] = {}
            for ref, *row in cursor:
                found.setdefault(ref, []).append(InstanceRow(*row))
        return found

    # -- releases -------------------------------------------------------------------------

    def releases(self, project: str, name: str | None = None) -> list[ReleaseRow]:
        """Return the versions of one release or of all, the first first."""
        with self._transaction() as cursor:
            cursor.execute(
                "SELECT name, version, manifest_sha256, made_at, retired_at FROM pacsgrid.release"
                " WHERE project = %s AND name = coalesce(%s, name) ORDER BY name, version",
                (project, name),
            )
            return [ReleaseRow(*row) for row in cursor.fetchall()]

    def add_release(
        self, project: str, name: str, version: int, manifest_sha256: str, refs: Sequence[str]
    ) -> None:
        """Enter a version; the same one again is no error."""
        with self._transaction() as cursor:
            cursor.execute(
                "INSERT INTO pacsgrid.release (project, name, version, manifest_sha256)"
                " VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
                (project, name, version, manifest_sha256),
            )
            execute_values(
                cursor,
                "INSERT INTO pacsgrid.release_study (project, name, version, ref) VALUES %s"
                " ON CONFLICT DO NOTHING",
                [(project, name, version, ref) for ref in refs],
            )

    def release_refs(self, project: str, name: str, version: int) -> list[str]:
        """Return the studies that a version lists."""
        with self._transaction() as cursor:
            cursor.execute(
                "SELECT ref FROM pacsgrid.release_study"
                " WHERE project = %s AND name = %s AND version = %s ORDER BY ref",
                (project, name, version),
            )
            return [ref for (ref,) in cursor.fetchall()]

    def retire(self, project: str, name: str, version: int) -> None:
        """Note that a version exists no more."""
        with self._transaction() as cursor:
            cursor.execute(
                "UPDATE pacsgrid.release SET retired_at = now()"
                " WHERE project = %s AND name = %s AND version = %s AND retired_at IS NULL",
                (project, name, version),
            )

    # -- withdrawals ----------------------------------------------------------------------

    def withdraw(self, project: str, subject: str, zones: Sequence[str]) -> list[str]:
        """Take a patient's studies off their way for good; returns their references.

        The vault's way back to the person is destroyed in the same transaction. Instances and
        proofs stay until `forget`, since they tell what is to be removed from the zones.
        """
        with self._transaction() as cursor:
            execute_values(
                cursor,
                "INSERT INTO pacsgrid.withdrawal (project, subject, zone) VALUES %s"
                " ON CONFLICT DO NOTHING",
                [(project, subject, zone) for zone in zones],
            )
            cursor.execute(
                "SELECT DISTINCT ref FROM pacsgrid.instance WHERE project = %s AND subject = %s",
                (project, subject),
            )
            refs = sorted(ref for (ref,) in cursor.fetchall())
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
        return refs

    def sop_uids(self, project: str, subject: str) -> list[str]:
        """Return the instances of a subject that the ledger still knows."""
        with self._transaction() as cursor:
            cursor.execute(
                "SELECT sop_uid FROM pacsgrid.instance WHERE project = %s AND subject = %s",
                (project, subject),
            )
            return [uid for (uid,) in cursor.fetchall()]

    def is_withdrawn(self, project: str, subject: str) -> bool:
        """Whether a patient withdrew."""
        with self._transaction() as cursor:
            cursor.execute(
                "SELECT 1 FROM pacsgrid.withdrawal WHERE project = %s AND subject = %s LIMIT 1",
                (project, subject),
            )
            return cursor.fetchone() is not None

    def withdrawals(self, project: str) -> list[WithdrawalRow]:
        """Return every withdrawal of a project in every zone."""
        with self._transaction() as cursor:
            cursor.execute(
                "SELECT subject, zone, asked_at, proven_at, proof FROM pacsgrid.withdrawal"
                " WHERE project = %s ORDER BY asked_at, subject, zone",
                (project,),
            )
            return [WithdrawalRow(*row) for row in cursor.fetchall()]

    def proven_gone(self, project: str, subject: str, zone: str, proof: str) -> None:
        """Enter the proof that a patient is gone from a zone.

        After the last zone, instances and proofs are forgotten too.
        """
        with self._transaction() as cursor:
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
            cursor.execute(
                "SELECT DISTINCT ref FROM pacsgrid.instance WHERE project = %s AND subject = %s",
                (project, subject),
            )
            refs = [ref for (ref,) in cursor.fetchall()]
            for table in ("proof", "bad_replica", "release_study", "deid_report", "received"):
                cursor.execute(f"DELETE FROM pacsgrid.{table} WHERE ref = ANY(%s)", (refs,))
            cursor.execute(
                "DELETE FROM pacsgrid.instance WHERE project = %s AND subject = %s",
                (project, subject),
            )
