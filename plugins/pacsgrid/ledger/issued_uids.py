"""The UIDs that projects issued, each with its seal."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from psycopg2.extras import execute_values

from pacsgrid.ledger.database import Store


@dataclass(frozen=True)
class UidOwner:
    """A study that a UID stands for, or stands in.

    Attributes
    ----------
    uid
        The UID of the study, of one of its series or of one of its instances.
    ref, source
        The study's reference and its source.
    study_uid
        Its pseudonymous Study Instance UID.
    """

    uid: str
    ref: str
    source: str
    study_uid: str


class IssuedUids(Store):
    """UIDs that a project issued."""

    def add(self, project: str, seals: Mapping[str, bytes]) -> None:
        """Enter UIDs; those that are there stay as they are.

        Parameters
        ----------
        project
            The project's name.
        seals
            The seal of each UID.
        """
        with self._database.transaction() as cursor:
            execute_values(
                cursor,
                "INSERT INTO pacsgrid.issued_uid (project, uid, seal) VALUES %s"
                " ON CONFLICT DO NOTHING",
                # In one order, so that two writers never wait for each other.
                [(project, uid, seals[uid]) for uid in sorted(seals)],
                page_size=1000,
            )

    def seals(self, project: str, uids: Collection[str]) -> dict[str, bytes]:
        """Return the seals of those of some UIDs that the project issued.

        Parameters
        ----------
        project
            The project's name.
        uids
            The UIDs to look up.
        """
        return {
            uid: bytes(seal)
            for uid, seal in self._database.all(
                "SELECT uid, seal FROM pacsgrid.issued_uid WHERE project = %s AND uid = ANY(%s)",
                (project, list(uids)),
            )
        }

    def owners(self, project: str, uids: Collection[str]) -> list[UidOwner]:
        """Return the studies that some UIDs stand for, or that have series or instances of them.

        Parameters
        ----------
        project
            The project's name.
        uids
            The UIDs to look up.
        """
        rows = self._database.all(
            "SELECT u, s.ref, s.source, coalesce(s.study_uid, '') FROM unnest(%(uids)s::text[]) u"
            " CROSS JOIN LATERAL (SELECT ref FROM pacsgrid.instance"
            " WHERE project = %(project)s AND sop_uid = u UNION SELECT ref FROM pacsgrid.series"
            " WHERE project = %(project)s AND series_uid = u UNION SELECT ref FROM pacsgrid.study"
            " WHERE project = %(project)s AND study_uid = u) found"
            " JOIN pacsgrid.study s USING (ref) ORDER BY u, s.ref",
            {"uids": list(uids), "project": project},
        )
        return [UidOwner(*row) for row in rows]

    def subjects(self, project: str, subjects: Collection[str]) -> set[str]:
        """Return those of some texts that are the pseudonym of a patient of the project.

        Parameters
        ----------
        project
            The project's name.
        subjects
            The texts.
        """
        rows = self._database.all(
            "SELECT DISTINCT subject FROM pacsgrid.study WHERE project = %s AND subject = ANY(%s)",
            (project, list(subjects)),
        )
        return {subject for (subject,) in rows}
