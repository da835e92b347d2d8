"""Take old years out of the audit trail, into files: for the owner of the ledger only.

The trail is a table with a part for each year. A part that is taken out is first written to a file,
which is read back, and only then dropped. The ledger keeps the file's name and checksum.
"""

from __future__ import annotations

import csv
import gzip
import os
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from psycopg2 import errors, sql

from pacsgrid.disk import open_private, sync_directory
from pacsgrid.errors import RetryableError
from pacsgrid.ledger.connection import Cursor, connect

_LOCK_TIMEOUT = "SET lock_timeout = '10s'"
_PIECE = 1 << 20


@dataclass(frozen=True)
class ArchivedPart:
    """A part of the audit trail that is in a file now.

    Attributes
    ----------
    until
        All its entries are older.
    rows
        How many they are.
    file
        The file: CSV with a header, compressed with gzip.
    sha256
        Checksum of the file.
    """

    until: datetime
    rows: int
    file: Path
    sha256: str


def archive_trail(owner_dsn: str, before: datetime, into: Path) -> list[ArchivedPart]:
    """Move each part of the audit trail that ended before a time into a file of its own.

    It may be repeated, also after it was killed: a part is in the ledger until its file is
    complete and durable.

    Parameters
    ----------
    owner_dsn
        libpq connection string of the ledger with the owner's role.
    before
        What ended before this time is moved.
    into
        The directory for the files; created if it does not exist.

    Returns
    -------
    list of ArchivedPart
        What was moved.

    Raises
    ------
    RetryableError
        The database does not answer, the trail is in use, or a file does not hold what was written.
    """
    into.mkdir(parents=True, exist_ok=True, mode=0o700)
    moved = []
    with closing(connect(owner_dsn)) as opened:
        opened.autocommit = True
        with opened.cursor() as cursor:
            cursor.execute(_LOCK_TIMEOUT)
            cursor.execute(
                "SELECT name, until FROM pacsgrid.audit_part"
                " WHERE archived_at IS NULL AND until <= %s ORDER BY until",
                (before,),
            )
            for name, until in cursor.fetchall():
                try:
                    _close_part(cursor, name)
                    part = _write(cursor, name, until, into)
                    _drop(cursor, name, part)
                except errors.LockNotAvailable:
                    raise RetryableError(
                        "the audit trail is in use for too long; try again when no backup runs"
                    ) from None
                moved.append(part)
    return moved


def _close_part(cursor: Cursor, name: str) -> None:
    """Let nothing be added to a part any more, such as an entry with an old date."""
    cursor.execute(
        "SELECT 1 FROM pg_constraint WHERE conname = 'closed'"
        " AND conrelid = ('pacsgrid.' || quote_ident(%s))::regclass",
        (name,),
    )
    if cursor.fetchone() is None:
        closed = sql.SQL("ALTER TABLE pacsgrid.{} ADD CONSTRAINT closed CHECK (false) NOT VALID")
        cursor.execute(closed.format(sql.Identifier(name)))


def _write(cursor: Cursor, name: str, until: datetime, into: Path) -> ArchivedPart:
    file = into / f"audit-until-{until:%Y-%m-%d}.csv.gz"
    partial = file.with_name(file.name + ".part")
    partial.unlink(missing_ok=True)
    rows = sql.SQL("SELECT * FROM pacsgrid.{} ORDER BY id").format(sql.Identifier(name))
    copy = sql.SQL("COPY ({}) TO STDOUT (FORMAT csv, HEADER)").format(rows)
    with open_private(partial, "wb") as out:
        with gzip.GzipFile("", "wb", fileobj=out, mtime=0) as packed:
            cursor.copy_expert(copy, packed)
        out.flush()
        os.fsync(out.fileno())
    with gzip.open(partial, "rt", encoding="utf-8", newline="") as text:
        count = sum(1 for _ in csv.reader(text)) - 1
    cursor.execute(sql.SQL("SELECT count(*) FROM pacsgrid.{}").format(sql.Identifier(name)))
    if cursor.fetchone() != (count,):
        raise RetryableError(f"{partial} does not hold the whole part; check the disk, try again")
    digest = sha256()
    with partial.open("rb") as stream:
        while piece := stream.read(_PIECE):
            digest.update(piece)
    os.replace(partial, file)
    sync_directory(into)
    return ArchivedPart(until, count, file, digest.hexdigest())


def _drop(cursor: Cursor, name: str, part: ArchivedPart) -> None:
    """Take a part out; nobody waits for longer than that takes."""
    table = sql.Identifier(name)
    cursor.execute("BEGIN")
    try:
        for statement in (
            "ALTER TABLE pacsgrid.audit DETACH PARTITION pacsgrid.{}",
            "DROP TABLE pacsgrid.{}",
        ):
            cursor.execute(sql.SQL(statement).format(table))
        cursor.execute(
            "UPDATE pacsgrid.audit_part SET rows = %s, file = %s, sha256 = %s, archived_at = now()"
            " WHERE name = %s",
            (part.rows, str(part.file), part.sha256, name),
        )
    except BaseException:
        cursor.execute("ROLLBACK")
        raise
    cursor.execute("COMMIT")
