"""Disclosures: who got which study out of the grid, how and from where.

PostgreSQL refuses to change or delete any of it. What the audit record repository has not been sent
yet is listed apart, so that a message survives a crash of either side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg2.extras import Json

from pacsgrid.ledger.database import Store


@dataclass(frozen=True)
class Disclosure:
    """A study, or some of it, that left the grid.

    Attributes
    ----------
    subject, study_uid
        Pseudonyms.
    classes
        How many instances were asked for, by SOP Class UID.
    who
        The iRODS user, Airflow user or account that got them.
    way
        How: ``DICOMweb``, ``C-GET``, ``C-MOVE``, ``ticket``, ``page`` or ``return``.
    address
        Network address of the receiver; empty where there is none.
    detail
        What else is known, such as the reason.
    """

    project: str
    subject: str
    study_uid: str
    classes: Mapping[str, int]
    who: str
    way: str
    address: str
    detail: str = ""


@dataclass(frozen=True)
class DisclosureRecord:
    """A disclosure in the ledger."""

    id: int
    what: Disclosure
    at: datetime


_COLUMNS = "project, subject, study_uid, classes, who, way, address, detail"


class Disclosures(Store):
    """What left the grid."""

    def add(self, what: Sequence[Disclosure], report: bool) -> None:
        """Enter disclosures; call it before anything is sent, and send nothing when it fails.

        Parameters
        ----------
        what
            What is about to leave.
        report
            Whether an audit record repository is to be sent them.

        Raises
        ------
        RetryableError
            The database does not answer.
        """
        with self._database.transaction() as cursor:
            for one in what:
                cursor.execute(
                    f"WITH new AS (INSERT INTO pacsgrid.disclosure ({_COLUMNS})"
                    " VALUES (%s, %s, %s, %s, %s, %s, %s, %s) RETURNING id)"
                    " INSERT INTO pacsgrid.disclosure_unsent SELECT id FROM new WHERE %s",
                    (
                        one.project,
                        one.subject,
                        one.study_uid,
                        Json(dict(one.classes)),
                        one.who,
                        one.way,
                        one.address,
                        one.detail,
                        report,
                    ),
                )

    def of_study(self, project: str, study_uid: str) -> list[DisclosureRecord]:
        """Return the disclosures of a study, the oldest first.

        Parameters
        ----------
        project
            The project's name.
        study_uid
            Pseudonymous Study Instance UID.
        """
        return _records(
            self._database.all(
                f"SELECT id, at, {_COLUMNS} FROM pacsgrid.disclosure"
                " WHERE project = %s AND study_uid = %s ORDER BY id",
                (project, study_uid),
            )
        )

    def unsent(self, most: int) -> list[DisclosureRecord]:
        """Return disclosures that the audit record repository was not sent yet.

        Parameters
        ----------
        most
            How many at most, the oldest first.
        """
        columns = ", ".join(f"d.{name}" for name in _COLUMNS.split(", "))
        return _records(
            self._database.all(
                f"SELECT d.id, d.at, {columns} FROM pacsgrid.disclosure_unsent"
                " JOIN pacsgrid.disclosure d USING (id) ORDER BY id LIMIT %s",
                (most,),
            )
        )

    def mark_sent(self, ids: Sequence[int]) -> None:
        """Enter that the audit record repository was sent disclosures."""
        self._database.run(
            "DELETE FROM pacsgrid.disclosure_unsent WHERE id = ANY(%s)", (list(ids),)
        )


def _records(rows: Sequence[tuple[Any, ...]]) -> list[DisclosureRecord]:
    return [DisclosureRecord(number, Disclosure(*what), at) for number, at, *what in rows]
