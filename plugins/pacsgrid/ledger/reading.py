"""Read-only questions to the ledger, limited to the projects that somebody may see."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg2

from pacsgrid.errors import RetryableError


class Reading:
    """Read-only questions about some projects.

    Parameters
    ----------
    dsn
        libpq connection string of the ledger.
    projects
        The projects whose studies may be seen; every answer is limited to them.
    """

    def __init__(self, dsn: str, projects: Sequence[str]) -> None:
        self._dsn = dsn
        self._projects = list(projects)

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        try:
            connection = psycopg2.connect(self._dsn, connect_timeout=5)
        except psycopg2.OperationalError:
            raise RetryableError("the ledger's database does not answer") from None
        try:
            connection.set_session(readonly=True)
            with connection, connection.cursor() as cursor:
                yield cursor
        finally:
            connection.close()

    def _all(self, sql: str, *values: object) -> list[Any]:
        with self._cursor() as cursor:
            cursor.execute(sql, values)
            rows: list[Any] = cursor.fetchall()
        return rows
