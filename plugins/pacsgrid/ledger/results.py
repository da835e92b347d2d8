"""Results that researchers sent back: which study each belongs to, who sent it, and its release."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg2.extras import execute_values

from pacsgrid.errors import PacsgridError
from pacsgrid.ledger.database import Store
from pacsgrid.ledger.versions import CURRENT

# What `study.source` says of a result. No source of a site file has this name: it has a colon.
SOURCE = "pacsgrid:result"


@dataclass(frozen=True)
class ResultRecord:
    """A result of a study.

    Attributes
    ----------
    ref
        The result's reference; the ledger keeps its state, instances and proofs under it.
    study_ref
        The reference of the study that it is a result of.
    name
        The result's name, which is the name of its collection.
    released
        Whether a steward decided that cohorts include it.
    """

    ref: str
    study_ref: str
    project: str
    name: str
    released: bool
    created_at: datetime

    COLUMNS = "ref, study_ref, project, name, released, created_at"


@dataclass(frozen=True)
class ResultItem:
    """An object of a result: who sent it, when, and what made it."""

    sop_uid: str
    sop_class: str
    who: str
    software: str
    at: datetime


class Results(Store):
    """Results; their states, instances and proofs are kept as those of studies."""

    def add(self, ref: str, study_ref: str, name: str, sealed: bytes) -> None:
        """Enter a result, as a study that is anonymised; one that is there stays as it is.

        Parameters
        ----------
        ref
            The result's reference.
        study_ref
            The study's reference.
        name
            The result's name.
        sealed
            What identifies the study, sealed for the result's reference.
        """
        with self._database.transaction() as cursor:
            cursor.execute(
                "INSERT INTO pacsgrid.study (ref, project, source, profile_hash, state)"
                " SELECT %s, project, %s, profile_hash, 'anonymised' FROM pacsgrid.study"
                " WHERE ref = %s ON CONFLICT (ref) DO NOTHING",
                (ref, SOURCE, study_ref),
            )
            if cursor.rowcount:
                cursor.execute(
                    "INSERT INTO pacsgrid.vault (ref, sealed) VALUES (%s, %s)", (ref, sealed)
                )
                cursor.execute(
                    "INSERT INTO pacsgrid.result (ref, study_ref, project, name)"
                    " SELECT %s, ref, project, %s FROM pacsgrid.study WHERE ref = %s",
                    (ref, name, study_ref),
                )

    def reopen(self, ref: str) -> None:
        """Set a result back to anonymised: objects were added, or a steward sends it on.

        Raises
        ------
        PacsgridError
            It is withdrawn.
        """
        with self._database.transaction() as cursor:
            cursor.execute(
                "UPDATE pacsgrid.study SET state = 'anonymised', held_code = NULL,"
                " held_detail = NULL, held_sha256 = NULL, changed_at = now()"
                " WHERE ref = %s AND state <> 'withdrawn'",
                (ref,),
            )
            if not cursor.rowcount:
                raise PacsgridError(f"{ref}: the patient withdrew, so no result is taken")

    def add_items(self, ref: str, who: str, items: Sequence[tuple[str, str, str]]) -> None:
        """Enter who sent objects of a result.

        Parameters
        ----------
        ref
            The result's reference.
        who
            The sender: an iRODS user.
        items
            SOP Instance UID, SOP Class UID and software of each.
        """
        with self._database.transaction() as cursor:
            execute_values(
                cursor,
                "INSERT INTO pacsgrid.result_item (ref, sop_uid, sop_class, who, software)"
                " VALUES %s",
                [(ref, sop, sop_class, who, software) for sop, sop_class, software in items],
            )

    def get(self, ref: str) -> ResultRecord | None:
        """Return a result by its reference; None if the reference is not a result's."""
        rows = self._database.all(
            f"SELECT {ResultRecord.COLUMNS} FROM pacsgrid.result WHERE ref = %s", (ref,)
        )
        return ResultRecord(*rows[0]) if rows else None

    def of_project(self, project: str, study_uid: str = "") -> list[ResultRecord]:
        """Return a project's results that are not withdrawn, the oldest first.

        Parameters
        ----------
        project
            The project's name.
        study_uid
            Pseudonymous Study Instance UID; empty for those of all studies.
        """
        columns = ", ".join(f"r.{name}" for name in ResultRecord.COLUMNS.split(", "))
        return [
            ResultRecord(*row)
            for row in self._database.all(
                f"SELECT {columns} FROM pacsgrid.result r JOIN pacsgrid.study s USING (ref)"
                " WHERE r.project = %(project)s AND s.state <> 'withdrawn'"
                " AND (%(study)s = '' OR s.study_uid = %(study)s) ORDER BY r.created_at, r.ref",
                {"project": project, "study": study_uid},
            )
        ]

    def items(self, ref: str) -> list[ResultItem]:
        """Return who sent each object of a result, the oldest first."""
        rows = self._database.all(
            "SELECT sop_uid, sop_class, who, software, at FROM pacsgrid.result_item"
            " WHERE ref = %s ORDER BY id",
            (ref,),
        )
        return [ResultItem(*row) for row in rows]

    def set_released(self, ref: str, released: bool) -> None:
        """Set whether cohorts include a result; the decision itself goes to the audit trail.

        Parameters
        ----------
        ref
            The result's reference.
        released
            Whether they do.
        """
        self._database.run(
            "UPDATE pacsgrid.result SET released = %s, decided_at = now() WHERE ref = %s",
            (released, ref),
        )

    def released_of(self, study_refs: Iterable[str]) -> list[str]:
        """Return the references of the verified results of some studies that cohorts include.

        Parameters
        ----------
        study_refs
            The references of the studies, in any of their versions.
        """
        rows = self._database.all(
            "SELECT r.ref FROM pacsgrid.result r JOIN pacsgrid.study s USING (ref)"
            " WHERE r.study_ref IN (SELECT unnest(%(refs)s::text[]) UNION SELECT other.ref"
            " FROM pacsgrid.study_version mine JOIN pacsgrid.study_version other USING (origin)"
            " WHERE mine.ref = ANY(%(refs)s))"
            " AND r.released AND s.state = 'verified' ORDER BY r.ref",
            {"refs": list(study_refs)},
        )
        return [ref for (ref,) in rows]

    def studies_with(self, refs: Sequence[str]) -> set[str]:
        """Return those of some studies that have results, and the results among them.

        Parameters
        ----------
        refs
            The references of studies and results.
        """
        rows = self._database.all(
            "SELECT ref FROM pacsgrid.result WHERE ref = ANY(%(refs)s)"
            " UNION SELECT study_ref FROM pacsgrid.result WHERE study_ref = ANY(%(refs)s)",
            {"refs": list(refs)},
        )
        return {ref for (ref,) in rows}

    def place_of(self, study_ref: str, name: str) -> str:
        """Return the version of a study in whose collection a result lies, or would lie.

        A result stays where it was first kept, whatever versions the study has later.

        Parameters
        ----------
        study_ref
            The reference of the study's current version.
        name
            The result's name.
        """
        rows = self._database.all(
            "SELECT r.study_ref FROM pacsgrid.study_version mine"
            " JOIN pacsgrid.study_version other USING (origin)"
            " JOIN pacsgrid.result r ON r.study_ref = other.ref"
            " WHERE mine.ref = %s AND r.name = %s ORDER BY other.version LIMIT 1",
            (study_ref, name),
        )
        return str(rows[0][0]) if rows else study_ref

    def study_of(self, project: str, study_uid: str) -> str:
        """Return the reference of the study that a pseudonym stands for; empty if there is none.

        Parameters
        ----------
        project
            The project's name.
        study_uid
            Pseudonymous Study Instance UID.
        """
        rows = self._database.all(
            "SELECT ref FROM pacsgrid.study s WHERE project = %s AND study_uid = %s"
            f" AND source <> %s AND {CURRENT} ORDER BY ref LIMIT 1",
            (project, study_uid, SOURCE),
        )
        return str(rows[0][0]) if rows else ""

    def issued(self, project: str, uids: Sequence[str]) -> set[str]:
        """Return those UIDs that stand for a deposited study, series or instance of a project.

        Parameters
        ----------
        project
            The project's name.
        uids
            The UIDs to look up.
        """
        rows = self._database.all(
            "SELECT u FROM unnest(%(uids)s) u WHERE"
            " EXISTS (SELECT FROM pacsgrid.instance WHERE project = %(project)s AND sop_uid = u)"
            " OR EXISTS (SELECT FROM pacsgrid.series"
            " WHERE project = %(project)s AND series_uid = u)"
            " OR EXISTS (SELECT FROM pacsgrid.study"
            " WHERE project = %(project)s AND study_uid = u)",
            {"uids": list(uids), "project": project},
        )
        return {uid for (uid,) in rows}
