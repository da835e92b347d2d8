"""Who looked at what identifies a study: entered before it is shown, and never taken out."""

from __future__ import annotations

from contextlib import closing

import psycopg2

from pacsgrid.errors import RetryableError


def note_access(dsn: str, who: str, ref: str, what: str, reason: str = "") -> None:
    """Enter that `who` (a user name) is about to see `what` of a study.

    Raises
    ------
    RetryableError
        The database does not answer; then nothing may be shown.
    """
    try:
        connection = psycopg2.connect(dsn, connect_timeout=5)
    except psycopg2.OperationalError:
        raise RetryableError("the ledger's database does not answer") from None
    with closing(connection), connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO pacsgrid.access (who, ref, what, reason) VALUES (%s, %s, %s, %s)",
            (who, ref, what, reason),
        )
