"""Studies and their states. Every change of state is entered into the audit trail by a trigger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager

from psycopg2.extras import execute_values

from pacsgrid.errors import PacsgridError
from pacsgrid.ledger.connection import Cursor
from pacsgrid.ledger.database import Store
from pacsgrid.ledger.held_items import GROUP
from pacsgrid.ledger.records import StudyRecord
from pacsgrid.model import StudyState
from pacsgrid.review_model import ANY_IMAGE, ImageTraits

STATE_ORDER = (
    StudyState.FOUND,
    StudyState.RETRIEVED,
    StudyState.ANONYMISED,
    StudyState.DEPOSITED,
    StudyState.REPLICATED,
    StudyState.VERIFIED,
)
"""The states that a study passes through, in order."""


class Studies(Store):
    """Studies and their states; each call is one transaction."""

    def add_found(
        self, ref: str, project: str, source: str, profile_hash: str, sealed: bytes
    ) -> StudyState:
        """Enter a study that a source has; one that is there already stays as it is.

        Parameters
        ----------
        ref
            The study's opaque reference.
        project
            The project that it is taken into.
        source
            The name of the DICOM source.
        profile_hash
            The de-identification profile that it is to be anonymised with.
        sealed
            What identifies the study, sealed by `Vault.seal`.

        Returns
        -------
        StudyState
            The state that the study has now.
        """
        with self._database.transaction() as cursor:
            cursor.execute(
                "INSERT INTO pacsgrid.study (ref, project, source, profile_hash, state)"
                " VALUES (%s, %s, %s, %s, 'found') ON CONFLICT (ref) DO NOTHING",
                (ref, project, source, profile_hash),
            )
            if cursor.rowcount:
                cursor.execute(
                    "INSERT INTO pacsgrid.vault (ref, sealed) VALUES (%s, %s)", (ref, sealed)
                )
            return _state(cursor, ref)

    def add_many_found(
        self, project: str, source: str, profile_hash: str, sealed: Mapping[str, bytes]
    ) -> dict[str, StudyState]:
        """Enter studies that a source has, as `add_found` does, in one transaction.

        Parameters
        ----------
        project
            The project that they are taken into.
        source
            The name of the DICOM source.
        profile_hash
            The de-identification profile that they are to be anonymised with.
        sealed
            What identifies each study, sealed by `Vault.seal`, by its reference.

        Returns
        -------
        dict
            The state that each study has now.
        """
        refs = sorted(sealed)  # two that enter the same studies must not wait for each other
        with self._database.transaction() as cursor:
            new = execute_values(
                cursor,
                "INSERT INTO pacsgrid.study (ref, project, source, profile_hash, state) VALUES %s"
                " ON CONFLICT (ref) DO NOTHING RETURNING ref",
                [(ref, project, source, profile_hash, "found") for ref in refs],
                fetch=True,
            )
            execute_values(
                cursor,
                "INSERT INTO pacsgrid.vault (ref, sealed) VALUES %s",
                [(ref, sealed[ref]) for (ref,) in new],
            )
        return self.states(refs)

    def states(self, refs: Sequence[str]) -> dict[str, StudyState]:
        """Return the state of each of some studies; those that the ledger lacks are left out."""
        rows = self._database.all(
            "SELECT ref, state FROM pacsgrid.study WHERE ref = ANY(%s)", (list(refs),)
        )
        return {ref: StudyState(state) for ref, state in rows}

    def state(self, ref: str) -> StudyState:
        """Return the study's state.

        Raises
        ------
        PacsgridError
            The ledger has no such study.
        """
        with self._database.transaction() as cursor:
            return _state(cursor, ref)

    def advance(self, ref: str, to: StudyState) -> None:
        """Move the study one state on; nothing happens when it is there already.

        Parameters
        ----------
        ref
            The study's reference.
        to
            The state that it has reached.

        Raises
        ------
        PacsgridError
            `to` does not follow the study's state.
        """
        with self._database.transaction() as cursor:
            now = _state(cursor, ref, lock=True)
            if now is to:
                return
            order = STATE_ORDER
            if now not in order or to not in order or order.index(to) != order.index(now) + 1:
                raise PacsgridError(f"{ref}: a study cannot go from {now.value} to {to.value}")
            _set_state(cursor, ref, to)

    def set_profile(self, ref: str, profile_hash: str) -> None:
        """Enter the profile that a study is anonymised with now.

        Parameters
        ----------
        ref
            The study's reference.
        profile_hash
            The hash of the de-identification profile.
        """
        self._database.run(
            "UPDATE pacsgrid.study SET profile_hash = %s WHERE ref = %s", (profile_hash, ref)
        )

    def set_retrieved(self, ref: str, digest: str) -> None:
        """Enter the digest of the list of what was retrieved of a study.

        Parameters
        ----------
        ref
            The study's reference.
        digest
            The list's SHA-256 in hex.
        """
        self._database.run("UPDATE pacsgrid.study SET retrieved = %s WHERE ref = %s", (digest, ref))

    def retrieved(self, ref: str) -> str:
        """Return the digest of the list of what was retrieved last; empty when nothing was."""
        ((digest,),) = self._database.all(
            "SELECT retrieved FROM pacsgrid.study WHERE ref = %s", (ref,)
        )
        return str(digest)

    def profile_hash(self, ref: str) -> str:
        """Return the hash of the de-identification profile that a study is anonymised with."""
        ((digest,),) = self._database.all(
            "SELECT profile_hash FROM pacsgrid.study WHERE ref = %s", (ref,)
        )
        return str(digest)

    def hold(
        self,
        ref: str,
        code: str,
        detail: str,
        sha256: str = "",
        traits: ImageTraits = ANY_IMAGE,
    ) -> None:
        """Hold the whole study.

        Parameters
        ----------
        ref
            The study's reference.
        code
            The reason, as a short code.
        detail
            What is wrong and what to do, without identifying values.
        sha256
            The file that is the reason, in hex.
        traits
            Those of its images, by which it is grouped with others. Where files of it are held for
            the same reason, these stand for it among what is to be reviewed.

        Raises
        ------
        PacsgridError
            The study is withdrawn.
        """
        with self._database.transaction() as cursor:
            if _state(cursor, ref, lock=True) is StudyState.WITHDRAWN:
                raise PacsgridError(f"{ref}: a withdrawn study cannot be held")
            _set_state(cursor, ref, StudyState.HELD, (code, detail, sha256))
            cursor.execute(
                "UPDATE pacsgrid.study s SET held_decision = NULL, held_alike = CASE WHEN EXISTS"
                " (SELECT FROM pacsgrid.held_item i WHERE i.ref = s.ref AND i.code = %(code)s)"
                f" THEN '-' ELSE {GROUP.format('true')} END WHERE ref = %(ref)s",
                {"ref": ref, "code": code, **vars(traits)},
            )

    def leave(self, ref: str) -> None:
        """Enter that no series of a study is wanted.

        Raises
        ------
        PacsgridError
            The study is not one that was just found.
        """
        with self._database.transaction() as cursor:
            now = _state(cursor, ref, lock=True)
            if now is not StudyState.FOUND:
                raise PacsgridError(f"{ref}: a study that is {now.value} cannot be left")
            _set_state(cursor, ref, StudyState.NOT_WANTED)

    def unhold(self, ref: str) -> None:
        """Let a held study start again from its source.

        Raises
        ------
        PacsgridError
            The study is not held.
        """
        self._set_found(ref, (StudyState.HELD,))

    def reopen(self, ref: str) -> None:
        """Let a study start again because its source has new instances of it, or more is wanted.

        Raises
        ------
        PacsgridError
            The study is held or withdrawn.
        """
        self._set_found(ref, (*STATE_ORDER, StudyState.NOT_WANTED))

    def _set_found(self, ref: str, allowed: Sequence[StudyState]) -> None:
        with self._database.transaction() as cursor:
            now = _state(cursor, ref, lock=True)
            if now not in allowed:
                raise PacsgridError(f"{ref}: a study that is {now.value} cannot be found again")
            if now is StudyState.VERIFIED:
                cursor.execute(
                    "UPDATE pacsgrid.deid_report SET settled = body WHERE ref = %s", (ref,)
                )
            _set_state(cursor, ref, StudyState.FOUND)

    def lock(self, ref: str, seconds: float = 0) -> AbstractContextManager[bool]:
        """Try to be the only worker on a study, for the length of a ``with`` block.

        The lock belongs to a connection, so that of a worker that dies is freed.

        Parameters
        ----------
        ref
            The study's reference.
        seconds
            How long to wait for another worker.

        Returns
        -------
        AbstractContextManager[bool]
            Yields whether the study is locked for this worker.
        """
        return self._database.lock(ref, seconds)

    def find(
        self, project: str | None = None, states: Sequence[StudyState] = ()
    ) -> list[StudyRecord]:
        """Return studies, by reference.

        Parameters
        ----------
        project
            None for those of all projects.
        states
            Empty for any state.
        """
        return list(self.iterate(project, states))

    def iterate(
        self, project: str | None = None, states: Sequence[StudyState] = ()
    ) -> Iterator[StudyRecord]:
        """Yield studies, by reference; any number of them fits into memory.

        Parameters
        ----------
        project
            None for those of all projects.
        states
            Empty for any state.
        """
        conditions: list[str] = []
        values: list[object] = []
        if project is not None:
            conditions.append("project = %s")
            values.append(project)
        if states:
            conditions.append("state = ANY(%s)")
            values.append([state.value for state in states])
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        sql = f"SELECT {StudyRecord.COLUMNS} FROM pacsgrid.study{where} ORDER BY ref"
        for row in self._database.stream(sql, values):
            yield StudyRecord.of(row)

    def records(self, refs: Sequence[str]) -> list[StudyRecord]:
        """Return those of some studies that the ledger knows, by reference."""
        rows = self._database.all(
            f"SELECT {StudyRecord.COLUMNS} FROM pacsgrid.study WHERE ref = ANY(%s) ORDER BY ref",
            (list(refs),),
        )
        return [StudyRecord.of(row) for row in rows]

    def sources(self, project: str) -> set[str]:
        """Return the names of the sources that a project has studies of."""
        # One step of the index for each name, since an archive has few sources.
        rows = self._database.all(
            "WITH RECURSIVE name AS ((SELECT min(source) AS source FROM pacsgrid.study"
            " WHERE project = %(project)s) UNION ALL SELECT (SELECT min(s.source) FROM"
            " pacsgrid.study s WHERE s.project = %(project)s AND s.source > name.source)"
            " FROM name WHERE name.source IS NOT NULL)"
            " SELECT source FROM name WHERE source IS NOT NULL",
            {"project": project},
        )
        return {source for (source,) in rows}

    def pseudonyms(self, refs: Sequence[str]) -> list[tuple[str, str, str]]:
        """Return reference, subject and study UID of studies; empty where none is anonymised."""
        return list(
            self._database.all(
                "SELECT ref, coalesce(subject, ''), coalesce(study_uid, '') FROM pacsgrid.study"
                " WHERE ref = ANY(%s) ORDER BY ref",
                (list(refs),),
            )
        )

    def find_by_pseudonym(self, project: str, pseudonym: str) -> list[str]:
        """Return the references of the studies that a pseudonym stands for.

        Parameters
        ----------
        project
            The project whose pseudonym it is.
        pseudonym
            A subject, a study, series or SOP instance UID, or a study's own reference.
        """
        return [
            ref
            for (ref,) in self._database.all(
                "SELECT ref FROM pacsgrid.study WHERE project = %(project)s AND ref = %(what)s"
                " UNION SELECT ref FROM pacsgrid.study"
                " WHERE project = %(project)s AND subject = %(what)s"
                " UNION SELECT ref FROM pacsgrid.study"
                " WHERE project = %(project)s AND study_uid = %(what)s"
                " UNION SELECT ref FROM pacsgrid.series"
                " WHERE project = %(project)s AND series_uid = %(what)s"
                " UNION SELECT ref FROM pacsgrid.instance"
                " WHERE project = %(project)s AND sop_uid = %(what)s ORDER BY 1",
                {"project": project, "what": pseudonym},
            )
        ]

    def count_by_state(self, project: str) -> dict[str, int]:
        """Return how many of a project's studies are in each state that occurs."""
        return dict(
            self._database.all(
                "SELECT key, sum(number)::bigint FROM pacsgrid.counter WHERE project = %s"
                " AND kind = 'state' GROUP BY 1 HAVING sum(number) > 0 ORDER BY 1",
                (project,),
            )
        )

    def count_files_of(self, refs: Sequence[str]) -> dict[str, int]:
        """Return for each of some studies how many of its files became an instance or are held."""
        return dict(
            self._database.all(
                "SELECT ref, (SELECT count(*) FROM pacsgrid.instance i WHERE i.ref = s.ref)"
                " + (SELECT count(DISTINCT sha256) FROM pacsgrid.held_item h WHERE h.ref = s.ref)"
                " FROM unnest(%s) s (ref)",
                (list(refs),),
            )
        )

    def volume(self, refs: Sequence[str]) -> tuple[int, int]:
        """Return how many instances some studies have in the ledger, and their size in bytes."""
        ((count, size),) = self._database.all(
            "SELECT count(*), coalesce(sum(size), 0)::bigint FROM pacsgrid.instance"
            " WHERE ref = ANY(%s)",
            (list(refs),),
        )
        return int(count), int(size)

    def held_code(self, ref: str) -> str:
        """Return why the whole study is held; empty when it is not."""
        ((code,),) = self._database.all(
            "SELECT held_code FROM pacsgrid.study WHERE ref = %s", (ref,)
        )
        return code or ""


def _state(cursor: Cursor, ref: str, lock: bool = False) -> StudyState:
    tail = " FOR UPDATE" if lock else ""
    cursor.execute(f"SELECT state FROM pacsgrid.study WHERE ref = %s{tail}", (ref,))
    row = cursor.fetchone()
    if row is None:
        raise PacsgridError(f"{ref}: the ledger has no such study")
    return StudyState(row[0])


def _set_state(
    cursor: Cursor, ref: str, to: StudyState, held: tuple[str, str, str] | None = None
) -> None:
    cursor.execute(
        "UPDATE pacsgrid.study SET state = %s, held_code = %s, held_detail = %s,"
        " held_sha256 = %s, changed_at = now() WHERE ref = %s",
        (to.value, *(held or (None, None, None)), ref),
    )
