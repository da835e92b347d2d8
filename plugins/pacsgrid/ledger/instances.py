"""Anonymised instances: the SHA-256 of each, which every replica is compared with."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from psycopg2.extras import execute_values

from pacsgrid.errors import ConflictError, PacsgridError
from pacsgrid.ledger.connection import Cursor
from pacsgrid.ledger.database import Store
from pacsgrid.ledger.records import InstanceRecord
from pacsgrid.ledger.versions import CURRENT, version_of
from pacsgrid.model import AnonymisedInstance, StudyState


@dataclass(frozen=True)
class SeriesPlace:
    """Where a series lies in the grid: its study's reference, and what names its collection."""

    ref: str
    subject: str
    study_uid: str
    series_uid: str
    version: int
    result: str


class Instances(Store):
    """Instances as they left the anonymiser."""

    def add(self, ref: str, instances: Sequence[AnonymisedInstance]) -> list[str]:
        """Enter instances of a study, all of them or none.

        Parameters
        ----------
        ref
            The study's reference.
        instances
            Those that are entered already must be the same.

        Returns
        -------
        list of str
            The SOP instance UIDs that were new.

        Raises
        ------
        ConflictError
            An instance of the project has the same UID and other content, or is another study's.
        PacsgridError
            The ledger has no such study.
        """
        with self._database.transaction() as cursor:
            cursor.execute("SELECT project FROM pacsgrid.study WHERE ref = %s", (ref,))
            if (row := cursor.fetchone()) is None:
                raise PacsgridError(f"{ref}: the ledger has no such study")
            origin, version = version_of(cursor, ref)
            new = _added(cursor, row[0], ref, version, instances)
            _check_other_studies(cursor, row[0], origin, new)
            found = set(new)
            for made in instances:
                if made.sop_uid in found:
                    found.remove(made.sop_uid)  # an instance that is given twice is compared
                else:
                    _check_known(cursor, row[0], ref, version, made)
        return new

    def iterate(self, project: str) -> Iterator[tuple[str, StudyState, InstanceRecord]]:
        """Yield a project's instances with their study's reference and state, in any order.

        Any number of them fits into memory.
        """
        columns = ", ".join(f"i.{name}" for name in InstanceRecord.COLUMNS.split(", "))
        for ref, state, *row in self._database.stream(
            f"SELECT ref, s.state, {columns} FROM pacsgrid.instance i"
            " JOIN pacsgrid.study s USING (ref) WHERE s.project = %s",
            (project,),
        ):
            yield str(ref), StudyState(state), InstanceRecord(*row)

    def of_study(self, ref: str) -> list[InstanceRecord]:
        """Return the study's instances, by series and SOP instance UID."""
        return [
            InstanceRecord(*row)
            for row in self._database.all(
                f"SELECT {InstanceRecord.COLUMNS} FROM pacsgrid.instance"
                " WHERE ref = %s ORDER BY series_uid, sop_uid",
                (ref,),
            )
        ]

    def sop_uids_of_subject(self, project: str, subject: str) -> list[str]:
        """Return the SOP instance UIDs of a subject.

        Parameters
        ----------
        project
            The project's name.
        subject
            The patient's pseudonym in it.
        """
        rows = self._database.all(
            "SELECT i.sop_uid FROM pacsgrid.study s JOIN pacsgrid.instance i USING (ref)"
            " WHERE s.project = %s AND s.subject = %s",
            (project, subject),
        )
        return [uid for (uid,) in rows]

    def of_verified_studies(self, refs: Sequence[str]) -> dict[str, list[InstanceRecord]]:
        """Return the instances of those of some studies that are verified, by their references."""
        found: dict[str, list[InstanceRecord]] = {}
        for ref, *row in self._database.stream(
            "SELECT i.ref, i.study_uid, i.series_uid, i.sop_uid, i.subject, i.modality,"
            " i.sha256, i.size, i.version, i.result"
            " FROM pacsgrid.study s JOIN pacsgrid.instance i USING (ref)"
            " WHERE s.ref = ANY(%s) AND s.state = 'verified'"
            " ORDER BY i.subject, i.study_uid, i.series_uid, i.sop_uid",
            (list(refs),),
        ):
            found.setdefault(ref, []).append(InstanceRecord(*row))
        return found

    def subjects_of(self, refs: Sequence[str]) -> dict[str, str]:
        """Return the patients' pseudonyms of some studies, by the studies' references."""
        return dict(
            self._database.all(
                "SELECT ref, subject FROM pacsgrid.study WHERE ref = ANY(%s)", (list(refs),)
            )
        )

    def places_of(self, refs: Sequence[str]) -> list[SeriesPlace]:
        """Return where the series of some studies lie in the grid."""
        rows = self._database.all(
            "SELECT x.ref, s.subject, s.study_uid, x.series_uid, i.version, i.result"
            " FROM pacsgrid.series x JOIN pacsgrid.study s USING (ref)"
            " JOIN LATERAL (SELECT version, result FROM pacsgrid.instance"
            " WHERE instance.ref = x.ref LIMIT 1) i ON true"
            " WHERE x.ref = ANY(%s) AND s.subject IS NOT NULL ORDER BY x.ref, x.series_uid",
            (list(refs),),
        )
        return [SeriesPlace(*row) for row in rows]

    def series_of(self, refs: Sequence[str]) -> set[tuple[str, str]]:
        """Return the series of some studies, as (reference, series UID)."""
        rows = self._database.all(
            "SELECT DISTINCT ref, series_uid FROM pacsgrid.series WHERE ref = ANY(%s)",
            (list(refs),),
        )
        return {(ref, series) for ref, series in rows}

    def of_verified_series(
        self, project: str, series_uid: str
    ) -> tuple[str, list[InstanceRecord]] | None:
        """Return the instances of a series and its study's reference; None unless it is verified.

        Parameters
        ----------
        project
            The project's name.
        series_uid
            The pseudonymous series instance UID.
        """
        rows = self._database.all(
            "SELECT s.ref FROM pacsgrid.cohort_term t JOIN pacsgrid.cohort_series x"
            " ON x.terms @> ARRAY[t.id] JOIN pacsgrid.cohort_study s ON s.id = x.study"
            " WHERE t.attribute = 'SeriesInstanceUID' AND t.text = %s AND s.project = %s"
            " AND s.verified",
            (series_uid, project),
        )
        for (ref,) in rows:
            return ref, [row for row in self.of_study(ref) if row.series_uid == series_uid]
        return None

    def count_series(
        self, chosen: Mapping[str, Collection[str]]
    ) -> tuple[int, int, dict[str, tuple[int, int]]]:
        """Count what series of verified studies hold, without listing instances.

        Parameters
        ----------
        chosen
            UIDs of series, by the references of their studies.

        Returns
        -------
        tuple
            Number of subjects, number of studies, and number of instances and bytes by modality.
        """
        pairs = [(ref, series) for ref, uids in chosen.items() for series in uids]
        values = {"refs": [ref for ref, _ in pairs], "series": [series for _, series in pairs]}
        these = (
            "pacsgrid.study s JOIN pacsgrid.series x USING (ref) JOIN"
            " unnest(%(refs)s::text[], %(series)s::text[]) AS w (ref, series_uid)"
            " ON w.ref = s.ref AND w.series_uid = x.series_uid WHERE s.state = 'verified'"
        )
        with self._database.transaction():
            ((people, studies),) = self._database.all(
                f"SELECT count(DISTINCT s.subject), count(DISTINCT s.study_uid) FROM {these}",
                values,
            )
            rows = self._database.all(
                "SELECT x.modality, sum(x.instances)::bigint, sum(x.bytes)::bigint"
                f" FROM {these} GROUP BY 1 ORDER BY 1",
                values,
            )
        return people, studies, {modality: (count, size) for modality, count, size in rows}

    def refs_of(
        self, project: str, study_uids: Sequence[str], subjects: Sequence[str]
    ) -> list[str]:
        """Return references of verified studies.

        Parameters
        ----------
        project
            The project's name.
        study_uids
            Pseudonymous study instance UIDs.
        subjects
            Pseudonyms of patients whose studies are wanted too.
        """
        rows = self._database.all(
            f"SELECT s.ref FROM pacsgrid.study s WHERE {_MEMBERS} ORDER BY s.ref",
            {"project": project, "uids": list(study_uids), "subjects": list(subjects)},
        )
        return [ref for (ref,) in rows]


# Results are part of a cohort once a steward has released them.
_RELEASED = " AND NOT EXISTS (SELECT FROM pacsgrid.result r WHERE r.ref = s.ref AND NOT r.released)"
_MEMBERS = (
    "s.ref IN (SELECT ref FROM pacsgrid.study WHERE project = %(project)s"
    " AND study_uid = ANY(%(uids)s) UNION SELECT ref FROM pacsgrid.study"
    " WHERE project = %(project)s AND subject = ANY(%(subjects)s)) AND s.state = 'verified'"
    f" AND {CURRENT}{_RELEASED}"
)


def _added(
    cursor: Cursor,
    project: str,
    ref: str,
    version: int,
    instances: Sequence[AnonymisedInstance],
) -> list[str]:
    """Enter those instances that are not there; return their SOP instance UIDs."""
    if not instances:
        return []
    # One statement, since each one updates the study's counts.
    rows = execute_values(
        cursor,
        "INSERT INTO pacsgrid.instance (project, sop_uid, ref, study_uid, series_uid,"
        " subject, modality, sha256, size, version, result) VALUES %s"
        " ON CONFLICT (project, sop_uid, version) DO NOTHING RETURNING sop_uid",
        [
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
                version,
                made.result,
            )
            for made in instances
        ],
        page_size=1000,
        fetch=True,
    )
    return [uid for (uid,) in rows]


def _check_other_studies(cursor: Cursor, project: str, origin: str, new: Sequence[str]) -> None:
    """Raise ConflictError if another study of the source has one of some instances."""
    cursor.execute(
        "SELECT i.sop_uid, i.ref FROM pacsgrid.instance i LEFT JOIN pacsgrid.study_version v"
        " USING (ref) WHERE i.project = %s AND i.sop_uid = ANY(%s)"
        " AND coalesce(v.origin, i.ref) <> %s LIMIT 1",
        (project, list(new), origin),
    )
    if (row := cursor.fetchone()) is not None:
        raise ConflictError(
            f"instance {row[0]} belongs to study {row[1]} already; compare them at the source"
        )


def _check_known(
    cursor: Cursor, project: str, ref: str, version: int, made: AnonymisedInstance
) -> None:
    """Compare an instance with the one that was entered before; raise ConflictError."""
    cursor.execute(
        "SELECT ref, sha256 FROM pacsgrid.instance"
        " WHERE project = %s AND sop_uid = %s AND version = %s",
        (project, made.sop_uid, version),
    )
    owner, sha256 = cursor.fetchone() or ("", "")
    if sha256 != made.sha256 or owner != ref:
        raise ConflictError(
            f"instance {made.sop_uid} of study {owner} has SHA-256 {sha256}, now it came from "
            f"study {ref} with {made.sha256}; compare them at the source"
        )
