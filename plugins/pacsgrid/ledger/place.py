"""How far each source was asked, so that a night that was missed is caught up."""

from __future__ import annotations

from contextlib import closing
from datetime import date

import psycopg2

from pacsgrid.errors import RetryableError


class SyncPlace:
    """The place of one project at one source.

    Parameters
    ----------
    dsn
        libpq connection string of the ledger's database, brought up to date by `migrate`.

    Raises
    ------
    RetryableError
        The database does not answer.
    """

    def __init__(self, dsn: str, project: str, source: str) -> None:
        self._dsn = dsn
        self._key = (project, source)

    def read(self) -> date | None:
        """Give the last day that was asked for with all before it; None before the first."""
        rows = self._run(
            "SELECT through FROM pacsgrid.sync_place WHERE project = %s AND source = %s", self._key
        )
        return rows[0][0] if rows else None

    def advance(self, through: date) -> None:
        """Keep a day; never goes back."""
        self._run(
            "INSERT INTO pacsgrid.sync_place (project, source, through) VALUES (%s, %s, %s)"
            " ON CONFLICT (project, source) DO UPDATE SET changed_at = now(),"
            " through = greatest(pacsgrid.sync_place.through, excluded.through)"
            " RETURNING through",
            (*self._key, through),
        )

    def _run(self, sql: str, values: tuple[object, ...]) -> list[tuple[date]]:
        try:
            connection = psycopg2.connect(self._dsn, connect_timeout=5)
        except psycopg2.OperationalError:
            raise RetryableError("the ledger's database does not answer") from None
        with closing(connection), connection, connection.cursor() as cursor:
            cursor.execute(sql, values)
            rows: list[tuple[date]] = cursor.fetchall()
        return rows
