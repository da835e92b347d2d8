"""One connection to the ledger's database, each use of it one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import psycopg2

from pacsgrid.errors import RetryableError


class Connected:
    """Holds a connection until it is closed.

    Parameters
    ----------
    dsn
        libpq connection string of a database that `migrate` brought up to date.

    Raises
    ------
    RetryableError
        The database does not answer.
    """

    def __init__(self, dsn: str) -> None:
        try:
            self._connection = psycopg2.connect(dsn)
        except psycopg2.OperationalError:
            raise RetryableError("the ledger's database does not answer") from None

    def close(self) -> None:
        """Close the connection; locks it holds are freed."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def _transaction(self, name: str | None = None) -> Iterator[Any]:
        """Yield a cursor; with a name it is the server's, and rows come as they are asked for."""
        try:
            with self._connection, self._connection.cursor(name) as cursor:
                yield cursor
        except (psycopg2.OperationalError, psycopg2.InterfaceError):
            raise RetryableError("the ledger's database dropped the connection") from None
