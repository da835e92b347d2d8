"""What stewards decided about held studies: entered for good, read as part of a study's story."""

from __future__ import annotations

from contextlib import closing

import psycopg2

from pacsgrid.errors import RetryableError


def note_decision(
    dsn: str, ref: str, verdict: str, who: str, reason: str, profile: str = ""
) -> None:
    """Enter a decision before it is carried out; raises RetryableError when it cannot be."""
    try:
        connection = psycopg2.connect(dsn, connect_timeout=5)
    except psycopg2.OperationalError:
        raise RetryableError("the ledger's database does not answer") from None
    with closing(connection), connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO pacsgrid.decision (ref, verdict, who, reason, profile)"
            " VALUES (%s, %s, %s, %s, %s)",
            (ref, verdict, who, reason, profile),
        )
