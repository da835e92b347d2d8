"""Study states, instances, proofs and what is held, in PostgreSQL."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from psycopg2.errors import LockNotAvailable
from psycopg2.extras import execute_values

from pacsgrid.errors import ConflictError, PacsgridError
from pacsgrid.ledger.codes import REJECTED
from pacsgrid.ledger.connection import Connected
from pacsgrid.ledger.rows import AuditRow, HeldRow, InstanceRow, StudyRow
from pacsgrid.model import AnonymisedInstance, ReplicaProof, StudyState

WAY = (
    StudyState.FOUND,
    StudyState.RETRIEVED,
    StudyState.ANONYMISED,
    StudyState.DEPOSITED,
    StudyState.REPLICATED,
    StudyState.VERIFIED,
)


class Ledger(Connected):
    """One connection to the ledger; each method is one transaction.

    Parameters
    ----------
    dsn
        libpq connection string of a database that `migrate` brought up to date.
    actor
        Written into the audit trail with every change of state.

    Raises
    ------
    RetryableError
        The database does not answer.
    """

    def __init__(self, dsn: str, actor: str = "pipeline") -> None:
        super().__init__(dsn)
        with self._transaction() as cursor:
            cursor.execute("SELECT set_config('pacsgrid.actor', %s, false)", (actor,))

    # -- states ---------------------------------------------------------------------------

    def found(
        self, ref: str, project: str, source: str, profile_hash: str, sealed: bytes
    ) -> StudyState:
        """Enter a study that a source has; one that is known keeps its state, which is returned."""
        with self._transaction() as cursor:
            cursor.execute(
                "INSERT INTO pacsgrid.study (ref, project, source, profile_hash, state)"
                " VALUES (%s, %s, %s, %s, 'found') ON CONFLICT (ref) DO NOTHING",
                (ref, project, source, profile_hash),
            )
            if cursor.rowcount:
                cursor.execute(
                    "INSERT INTO pacsgrid.vault (ref, sealed) VALUES (%s, %s)", (ref, sealed)
                )
            return self._state(cursor, ref)

    def sealed(self, ref: str) -> bytes:
        """Return the study's vault entry, still encrypted."""
        with self._transaction() as cursor:
            cursor.execute("SELECT sealed FROM pacsgrid.vault WHERE ref = %s", (ref,))
            row = cursor.fetchone()
        if row is None:
            raise PacsgridError(f"{ref}: the ledger does not know this study")
        return bytes(row[0])

    def reseal(self, ref: str, sealed: bytes) -> None:
        """Replace the study's vault entry, of which what was asked for is a part."""
        with self._transaction() as cursor:
            cursor.execute("UPDATE pacsgrid.vault SET sealed = %s WHERE ref = %s", (sealed, ref))

    def references(self, project: str, pseudonym: str) -> list[str]:
        """Return the studies that a pseudonym stands for.

        That is a subject, a study, series or SOP instance UID, or a study's own reference.
        """
        return [
            ref
            for (ref,) in self._all(
                "SELECT ref FROM pacsgrid.study WHERE project = %(project)s AND ref = %(what)s"
                " UNION SELECT ref FROM pacsgrid.instance WHERE project = %(project)s"
                " AND %(what)s IN (subject, study_uid, series_uid, sop_uid) ORDER BY 1",
                {"project": project, "what": pseudonym},
            )
        ]

    def state(self, ref: str) -> StudyState:
        """Return the study's state; raises PacsgridError when it is not known."""
        with self._transaction() as cursor:
            return self._state(cursor, ref)

    def _state(self, cursor: Any, ref: str, lock: bool = False) -> StudyState:
        tail = " FOR UPDATE" if lock else ""
        cursor.execute(f"SELECT state FROM pacsgrid.study WHERE ref = %s{tail}", (ref,))
        row = cursor.fetchone()
        if row is None:
            raise PacsgridError(f"{ref}: the ledger does not know this study")
        return StudyState(row[0])

    def _set(
        self, cursor: Any, ref: str, to: StudyState, held: tuple[str, str, str] | None = None
    ) -> None:
        cursor.execute(
            "UPDATE pacsgrid.study SET state = %s, held_code = %s, held_detail = %s,"
            " held_sha256 = %s, changed_at = now() WHERE ref = %s",
            (to.value, *(held or (None, None, None)), ref),
        )

    def advance(self, ref: str, to: StudyState) -> None:
        """Take the study one state further; being there already is no error.

        Raises
        ------
        PacsgridError
            `to` is not the state that follows.
        """
        with self._transaction() as cursor:
            now = self._state(cursor, ref, lock=True)
            if now is to:
                return
            if now not in WAY or to not in WAY or WAY.index(to) != WAY.index(now) + 1:
                raise PacsgridError(f"{ref}: a study cannot go from {now.value} to {to.value}")
            self._set(cursor, ref, to)

    def set_profile(self, ref: str, profile_hash: str) -> None:
        """Enter the profile that a study is anonymised with now."""
        with self._transaction() as cursor:
            cursor.execute(
                "UPDATE pacsgrid.study SET profile_hash = %s WHERE ref = %s", (profile_hash, ref)
            )

    def hold(self, ref: str, code: str, detail: str, sha256: str = "") -> None:
        """Hold the whole study with its reason."""
        with self._transaction() as cursor:
            if self._state(cursor, ref, lock=True) is StudyState.WITHDRAWN:
                raise PacsgridError(f"{ref}: a withdrawn study cannot be held")
            self._set(cursor, ref, StudyState.HELD, (code, detail, sha256))

    def release(self, ref: str) -> None:
        """Send a held study on its way again, from the start."""
        self._back(ref, (StudyState.HELD,))

    def reopen(self, ref: str) -> None:
        """Take a study up again because its source has new instances."""
        self._back(ref, WAY)

    def _back(self, ref: str, allowed: Sequence[StudyState]) -> None:
        with self._transaction() as cursor:
            now = self._state(cursor, ref, lock=True)
            if now not in allowed:
                raise PacsgridError(f"{ref}: a study that is {now.value} cannot be found again")
            if now is StudyState.VERIFIED:
                cursor.execute(
                    "UPDATE pacsgrid.deid_report SET settled = body WHERE ref = %s", (ref,)
                )
            self._set(cursor, ref, StudyState.FOUND)

    @contextmanager
    def lock_study(self, ref: str, seconds: float = 0) -> Iterator[bool]:
        """Try to be the only worker on a study; yields whether it is ours.

        The lock belongs to the connection: a worker that dies frees it.

        Parameters
        ----------
        seconds
            How long to wait for another worker.
        """
        ours = self._lock(ref) or (seconds > 0 and self._wait_for_lock(ref, seconds))
        try:
            yield ours
        finally:
            if ours and not self._connection.closed:
                with self._transaction() as cursor:
                    cursor.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", (ref,))

    def _lock(self, ref: str) -> bool:
        with self._transaction() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (ref,))
            return bool(cursor.fetchone()[0])

    def _wait_for_lock(self, ref: str, seconds: float) -> bool:
        with self._transaction() as cursor:
            milliseconds = str(int(seconds * 1000))
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", (milliseconds,))
            try:
                cursor.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (ref,))
            except LockNotAvailable:
                return False
        return True

    # -- instances and proofs -------------------------------------------------------------

    def add_instances(self, ref: str, instances: Sequence[AnonymisedInstance]) -> list[str]:
        """Enter what left the anonymiser; returns the SOP UIDs that were new.

        Raises
        ------
        ConflictError
            An instance of the project bears the same UID with other content; nothing of
            `instances` is entered then.
        """
        new: list[str] = []
        with self._transaction() as cursor:
            (project,) = self._one(
                cursor, "SELECT project FROM pacsgrid.study WHERE ref = %s", (ref,)
            )
            for made in instances:
                cursor.execute(
                    "INSERT INTO pacsgrid.instance (project, sop_uid, ref, study_uid, series_uid,"
                    " subject, modality, sha256, size) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)"
                    " ON CONFLICT (project, sop_uid) DO NOTHING",
                    (
                        project,
                        made.sop_uid,
                        ref,
                        made.study_uid,
                        made.series_uid,
                        made.subject,
                        made.modality,
                        made.sha256,
                        made.size,
                    ),
                )
                if cursor.rowcount:
                    new.append(made.sop_uid)
                    continue
                owner, sha256 = self._one(
                    cursor,
                    "SELECT ref, sha256 FROM pacsgrid.instance WHERE project = %s AND sop_uid = %s",
                    (project, made.sop_uid),
                )
                if sha256 != made.sha256 or owner != ref:
                    raise ConflictError(
                        f"instance {made.sop_uid} is known from {owner} with SHA-256 {sha256}, "
                        f"now it came with {made.sha256}; compare them at the source"
                    )
        return new

    @staticmethod
    def _one(cursor: Any, sql: str, values: tuple[Any, ...]) -> tuple[Any, ...]:
        cursor.execute(sql, values)
        row: tuple[Any, ...] | None = cursor.fetchone()
        if row is None:
            raise PacsgridError(f"{values[0]}: the ledger does not know it")
        return row

    def instances(self, ref: str) -> list[InstanceRow]:
        """Return the study's instances, by series and SOP UID."""
        return [
            InstanceRow(*row)
            for row in self._all(
                "SELECT study_uid, series_uid, sop_uid, subject, modality, sha256, size"
                " FROM pacsgrid.instance WHERE ref = %s ORDER BY series_uid, sop_uid",
                (ref,),
            )
        ]

    def set_report(self, ref: str, report: bytes) -> None:
        """Enter the report of a study's de-identification; the newest stands."""
        with self._transaction() as cursor:
            cursor.execute(
                "INSERT INTO pacsgrid.deid_report (ref, sha256, body) VALUES (%s, %s, %s)"
                " ON CONFLICT (ref) DO UPDATE SET sha256 = excluded.sha256,"
                " body = excluded.body, made_at = now()",
                (ref, hashlib.sha256(report).hexdigest(), report.decode()),
            )

    def report(self, ref: str) -> tuple[bytes, str] | None:
        """Return the study's report and its SHA-256 in hex, None when it has none."""
        rows = self._all("SELECT body, sha256 FROM pacsgrid.deid_report WHERE ref = %s", (ref,))
        return (rows[0][0].encode(), rows[0][1]) if rows else None

    def settled_report(self, ref: str) -> bytes:
        """Return the report as it was when the study was reopened last; empty if it never was."""
        rows = self._all("SELECT settled FROM pacsgrid.deid_report WHERE ref = %s", (ref,))
        return (rows[0][0] or "").encode() if rows else b""

    def add_received(self, ref: str, files: Mapping[str, str]) -> None:
        """Enter which instance came of which received file, by its SHA-256; again is no harm."""
        if not files:
            return
        with self._transaction() as cursor:
            execute_values(
                cursor,
                "INSERT INTO pacsgrid.received (ref, sha256, sop_uid) VALUES %s"
                " ON CONFLICT DO NOTHING",
                [(ref, sha256, sop_uid) for sha256, sop_uid in files.items()],
            )

    def received(self, ref: str) -> dict[str, str]:
        """Return the SHA-256 of received files, and which instance came of each."""
        return dict(
            self._all("SELECT sha256, sop_uid FROM pacsgrid.received WHERE ref = %s", (ref,))
        )

    def held_items(self, ref: str) -> list[tuple[str, str]]:
        """Return code and SHA-256 of each single file of a study that is held."""
        return self._all("SELECT code, sha256 FROM pacsgrid.held_item WHERE ref = %s", (ref,))

    def held_code(self, ref: str) -> str:
        """Return why the whole study is held; empty when it is not."""
        ((code,),) = self._all("SELECT held_code FROM pacsgrid.study WHERE ref = %s", (ref,))
        return code or ""

    def known(self, ref: str) -> int:
        """Return how many of the study's files were taken or are held."""
        ((count,),) = self._all(
            "SELECT (SELECT count(*) FROM pacsgrid.instance WHERE ref = %s)"
            " + (SELECT count(DISTINCT sha256) FROM pacsgrid.held_item WHERE ref = %s)",
            (ref, ref),
        )
        return int(count)

    def add_proofs(
        self, ref: str, proofs: Sequence[ReplicaProof], now: datetime | None = None
    ) -> None:
        """Enter what servers recomputed; the newest proof of a replica stands, bad ones are kept.

        A zone's earlier proofs of the same instances are replaced, so that a replica that was
        trimmed leaves no proof behind. What was found bad before and was not repaired since is
        not counted as going bad once more.
        """
        rows = [(ref, p.sop_uid, p.zone, p.replica, p.resource, p.sha256, p.good) for p in proofs]
        if not rows:
            return
        with self._transaction() as cursor:
            if bad := [row[:-1] for row in rows if not row[-1] and row[3] >= 0]:
                execute_values(
                    cursor,
                    "INSERT INTO pacsgrid.bad_replica"
                    " (ref, sop_uid, zone, replica, resource, sha256)"
                    " SELECT b.* FROM (VALUES %s) AS b (ref, sop_uid, zone, replica, resource,"
                    " sha256) WHERE NOT EXISTS (SELECT FROM pacsgrid.proof p WHERE p.ref = b.ref"
                    " AND p.sop_uid = b.sop_uid AND p.zone = b.zone AND p.resource = b.resource"
                    " AND NOT p.good)",
                    bad,
                )
            execute_values(
                cursor,
                "DELETE FROM pacsgrid.proof p USING (VALUES %s) AS new (sop_uid, zone)"
                f" WHERE p.ref = {cursor.mogrify('%s', (ref,)).decode()}"
                " AND p.sop_uid = new.sop_uid AND p.zone = new.zone",
                list({(p.sop_uid, p.zone) for p in proofs}),
            )
            execute_values(
                cursor,
                "INSERT INTO pacsgrid.proof (ref, sop_uid, zone, replica, resource, sha256, good,"
                " verified_at) VALUES %s",
                [(*row, now or datetime.now(UTC)) for row in rows],
            )

    def proofs(self, ref: str) -> list[ReplicaProof]:
        """Return the newest proof of each replica."""
        return [
            ReplicaProof(*row)
            for row in self._all(
                "SELECT sop_uid, zone, resource, replica, sha256, good FROM pacsgrid.proof"
                " WHERE ref = %s ORDER BY sop_uid, zone, replica",
                (ref,),
            )
        ]

    # -- what stewards look at ------------------------------------------------------------

    def hold_item(self, ref: str, code: str, detail: str, sha256: str = "") -> None:
        """Hold one file of a study that goes on without it; the same one twice is one.

        One that was rejected stays so: nobody is asked about it again.
        """
        with self._transaction() as cursor:
            cursor.execute(
                "INSERT INTO pacsgrid.held_item (ref, code, detail, sha256)"
                " SELECT %(ref)s, %(code)s, %(detail)s, %(sha)s WHERE NOT EXISTS (SELECT FROM"
                " pacsgrid.held_item WHERE ref = %(ref)s AND sha256 = %(sha)s"
                f" AND code = '{REJECTED}') ON CONFLICT DO NOTHING",
                {"ref": ref, "code": code, "detail": detail, "sha": sha256},
            )

    def reject_items(self, ref: str, detail: str) -> None:
        """Mark a study's single held files as rejected: its source still has them."""
        with self._transaction() as cursor:
            cursor.execute(
                "WITH gone AS (DELETE FROM pacsgrid.held_item WHERE ref = %s AND code <> %s"
                " RETURNING sha256) INSERT INTO pacsgrid.held_item (ref, code, detail, sha256)"
                " SELECT DISTINCT %s, %s, %s, sha256 FROM gone ON CONFLICT DO NOTHING",
                (ref, REJECTED, ref, REJECTED, detail),
            )

    def forget_held_items(self, ref: str) -> int:
        """Take a study's single held files off the queue; returns how many there were."""
        with self._transaction() as cursor:
            cursor.execute("DELETE FROM pacsgrid.held_item WHERE ref = %s", (ref,))
            return int(cursor.rowcount)

    def held(self, project: str | None = None) -> list[HeldRow]:
        """Return held studies and held files, the oldest first."""
        return [
            HeldRow(*row)
            for row in self._all(
                "SELECT ref, true, held_code, held_detail, coalesce(held_sha256, ''), changed_at"
                " FROM pacsgrid.study"
                " WHERE state = 'held' AND project = coalesce(%s, project)"
                " UNION ALL SELECT i.ref, false, i.code, i.detail, i.sha256, i.since"
                " FROM pacsgrid.held_item i JOIN pacsgrid.study s USING (ref)"
                " WHERE s.project = coalesce(%s, s.project) ORDER BY 6, 1",
                (project, project),
            )
        ]

    def studies(
        self, project: str | None = None, states: Sequence[StudyState] = ()
    ) -> list[StudyRow]:
        """Return studies, of one project or all, in some states or any."""
        rows = self._all(
            "SELECT ref, project, source, profile_hash, state, changed_at FROM pacsgrid.study"
            " WHERE project = coalesce(%s, project) AND (%s OR state = ANY(%s)) ORDER BY ref",
            (project, not states, [state.value for state in states]),
        )
        return [
            StudyRow(ref, owner, source, profile, StudyState(state), at)
            for ref, owner, source, profile, state, at in rows
        ]

    def summary(self, project: str) -> dict[str, int]:
        """Return how many of a project's studies are in each state that occurs."""
        return dict(
            self._all(
                "SELECT state, count(*) FROM pacsgrid.study WHERE project = %s"
                " GROUP BY 1 ORDER BY 1",
                (project,),
            )
        )

    def audit(self, ref: str) -> list[AuditRow]:
        """Return a study's changes of state, the first first."""
        return [
            AuditRow(*row)
            for row in self._all(
                "SELECT ref, coalesce(was, ''), became, actor, reason, at FROM pacsgrid.audit"
                " WHERE ref = %s ORDER BY id",
                (ref,),
            )
        ]

    def _all(self, sql: str, values: tuple[Any, ...] | dict[str, Any]) -> list[Any]:
        with self._transaction() as cursor:
            cursor.execute(sql, values)
            rows: list[Any] = cursor.fetchall()
        return rows
