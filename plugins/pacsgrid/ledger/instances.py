"""Anonymised instances: the SHA-256 of each, which every replica is compared with."""

from __future__ import annotations

from collections.abc import Sequence

from pacsgrid.errors import ConflictError, PacsgridError
from pacsgrid.ledger.connection import Cursor
from pacsgrid.ledger.database import Store
from pacsgrid.ledger.records import InstanceRecord
from pacsgrid.model import AnonymisedInstance


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
        new: list[str] = []
        with self._database.transaction() as cursor:
            cursor.execute("SELECT project FROM pacsgrid.study WHERE ref = %s", (ref,))
            if (row := cursor.fetchone()) is None:
                raise PacsgridError(f"{ref}: the ledger has no such study")
            for made in instances:
                if _added(cursor, row[0], ref, made):
                    new.append(made.sop_uid)
        return new

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
            "SELECT sop_uid FROM pacsgrid.instance WHERE project = %s AND subject = %s",
            (project, subject),
        )
        return [uid for (uid,) in rows]

    def verified(
        self, project: str, study_uids: Sequence[str] | None, subjects: Sequence[str] = ()
    ) -> dict[str, list[InstanceRecord]]:
        """Return the instances of verified studies, by the studies' references.

        Parameters
        ----------
        project
            The project's name.
        study_uids
            Pseudonymous study instance UIDs; None for all studies.
        subjects
            Pseudonyms of patients whose studies are wanted too.
        """
        found: dict[str, list[InstanceRecord]] = {}
        for ref, *row in self._database.all(
            "SELECT i.ref, i.study_uid, i.series_uid, i.sop_uid, i.subject, i.modality,"
            " i.sha256, i.size FROM pacsgrid.instance i JOIN pacsgrid.study s USING (ref)"
            " WHERE s.project = %s AND s.state = 'verified'"
            " AND (%s OR i.study_uid = ANY(%s) OR i.subject = ANY(%s))"
            " ORDER BY i.subject, i.study_uid, i.series_uid, i.sop_uid",
            (project, study_uids is None, list(study_uids or ()), list(subjects)),
        ):
            found.setdefault(ref, []).append(InstanceRecord(*row))
        return found


def _added(cursor: Cursor, project: str, ref: str, made: AnonymisedInstance) -> bool:
    """Enter an instance; return False when it was there. Raises ConflictError."""
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
        return True
    cursor.execute(
        "SELECT ref, sha256 FROM pacsgrid.instance WHERE project = %s AND sop_uid = %s",
        (project, made.sop_uid),
    )
    owner, sha256 = cursor.fetchone() or ("", "")
    if sha256 != made.sha256 or owner != ref:
        raise ConflictError(
            f"instance {made.sop_uid} of study {owner} has SHA-256 {sha256}, now it came from "
            f"study {ref} with {made.sha256}; compare them at the source"
        )
    return False
