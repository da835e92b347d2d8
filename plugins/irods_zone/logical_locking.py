"""One writer per data object, as iRODS's logical locking does it.

While a replica is open for writing its status is intermediate and its siblings are write-locked.
When the writer closes it, the replica is good and the siblings are stale. If the writer disappears
or fails, the replica is stale; if it wrote nothing, every replica keeps its status. The catalog's
table ``locked`` holds the siblings' statuses, so they survive the end of the server. Several
connections may write one replica if they know the token of the first one's lock; the replica is
finished when the first one closes it.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from enum import IntEnum

from .error_codes import ErrorCode
from .errors import IrodsError


class ReplicaStatus(IntEnum):
    """Status of a replica in the catalog (``DATA_REPL_STATUS``)."""

    STALE = 0
    GOOD = 1
    INTERMEDIATE = 2
    READ_LOCKED = 3
    WRITE_LOCKED = 4


STALE, GOOD = ReplicaStatus.STALE, ReplicaStatus.GOOD
INTERMEDIATE, WRITE_LOCKED = ReplicaStatus.INTERMEDIATE, ReplicaStatus.WRITE_LOCKED


@dataclass
class WriteLock:
    """The lock of a data object.

    Attributes
    ----------
    data_id : int
        The data object.
    repl : int
        Number of the replica being written; -1 if none is, as during replication.
    token : str
        Replica token with which other connections may write the same replica.
    before : dict of int
        Status of each replica, by number, before the lock.
    dirty : bool
        Whether something was written.
    broken : bool
        Whether a connection that wrote with the token was lost, so that bytes are missing.
    released : bool
        Whether the lock is over.
    """

    data_id: int
    repl: int
    token: str = ""
    before: dict[int, int] = field(default_factory=dict)
    dirty: bool = False
    broken: bool = False
    released: bool = False


class LockTable:
    """The locks that a zone's connections hold, by data id."""

    def __init__(self) -> None:
        self.held: dict[int, WriteLock] = {}

    def check_free(self, data_id: int) -> None:
        """Raise LOCKED_DATA_OBJECT_ACCESS if the data object is being written."""
        if data_id in self.held:
            raise IrodsError(
                ErrorCode.LOCKED_DATA_OBJECT_ACCESS, "the data object is being written"
            )

    def check_at_rest(self, db: sqlite3.Connection, data_id: int) -> None:
        """Check that nobody writes a data object, also according to the catalog.

        Parameters
        ----------
        db : sqlite3.Connection
            The catalog.
        data_id : int
            The data object.

        Raises
        ------
        IrodsError
            LOCKED_DATA_OBJECT_ACCESS: it is being written, or an administrator set the status of
            a replica so.
        """
        self.check_free(data_id)
        sql = "SELECT 1 FROM data WHERE id=? AND status IN (?,?)"
        if db.execute(sql, (data_id, INTERMEDIATE, WRITE_LOCKED)).fetchone():
            raise IrodsError(
                ErrorCode.LOCKED_DATA_OBJECT_ACCESS, "the catalog has the object as locked"
            )

    def by_token(self, data_id: int, repl: int, token: str) -> WriteLock | None:
        """Return the lock of a replica if this is its token.

        Parameters
        ----------
        data_id, repl : int
            The replica.
        token : str
            What the client gave as replica token; may be empty.

        Returns
        -------
        WriteLock or None
            The lock, or None if the replica has none or another token.
        """
        lock = self.held.get(data_id)
        if lock is None or not token or lock.token != token or lock.repl != repl:
            return None
        return lock

    def acquire(self, db: sqlite3.Connection, data_id: int, repl: int) -> WriteLock:
        """Lock a data object to write one replica; inside the transaction that opens it.

        Parameters
        ----------
        db : sqlite3.Connection
            The open transaction.
        data_id, repl : int
            The replica; it may be new and not in the catalog yet.

        Returns
        -------
        WriteLock
            The lock, which `release` ends.

        Raises
        ------
        IrodsError
            LOCKED_DATA_OBJECT_ACCESS: somebody else writes the object.
        """
        self.check_free(data_id)
        lock = WriteLock(data_id, repl)
        for row in db.execute("SELECT repl, status FROM data WHERE id=?", (data_id,)).fetchall():
            lock.before[row["repl"]] = row["status"]
        if len(lock.before) > 1 or repl not in lock.before:
            db.executemany(
                "INSERT OR REPLACE INTO locked VALUES(?,?,?)",
                [(data_id, n, status) for n, status in lock.before.items() if n != repl],
            )
            db.execute("UPDATE data SET status=? WHERE id=?", (WRITE_LOCKED, data_id))
        db.execute("UPDATE data SET status=? WHERE id=? AND repl=?", (INTERMEDIATE, data_id, repl))
        self.held[data_id] = lock
        return lock

    def acquire_for_copying(self, data_id: int) -> WriteLock:
        """Lock a data object against writing while it can be read; inside a transaction."""
        self.check_free(data_id)
        lock = self.held[data_id] = WriteLock(data_id, -1)
        return lock

    def release(self, lock: WriteLock) -> None:
        """End a lock; connections that wrote with its token no longer can."""
        lock.released = True
        if self.held.get(lock.data_id) is lock:
            del self.held[lock.data_id]


def check_open(row: sqlite3.Row) -> None:
    """Raise the error with which iRODS refuses to open a replica that is being written."""
    if row["status"] == INTERMEDIATE:
        raise IrodsError(ErrorCode.INTERMEDIATE_REPLICA_ACCESS, "the replica is being written")
    if row["status"] == WRITE_LOCKED:
        raise IrodsError(ErrorCode.LOCKED_DATA_OBJECT_ACCESS, "another replica is being written")


def finalize(db: sqlite3.Connection, lock: WriteLock, status: ReplicaStatus) -> None:
    """Set the status of a written replica and of its siblings.

    Parameters
    ----------
    db : sqlite3.Connection
        The open transaction.
    lock : WriteLock
        The replica's lock.
    status : ReplicaStatus
        GOOD makes the siblings stale; with STALE they are what they were.
    """
    siblings = dict.fromkeys(lock.before, int(STALE)) if status == GOOD else lock.before
    _set_statuses(db, lock, siblings | {lock.repl: status})


def restore(db: sqlite3.Connection, lock: WriteLock) -> None:
    """Restore the status that every replica had before the lock, because nothing was written.

    Parameters
    ----------
    db : sqlite3.Connection
        The open transaction.
    lock : WriteLock
        The lock.
    """
    _set_statuses(db, lock, lock.before)


def _set_statuses(db: sqlite3.Connection, lock: WriteLock, statuses: dict[int, int]) -> None:
    db.executemany(
        "UPDATE data SET status=? WHERE id=? AND repl=?",
        [(status, lock.data_id, repl) for repl, status in statuses.items()],
    )
    db.execute("DELETE FROM locked WHERE id=?", (lock.data_id,))


def recover(db: sqlite3.Connection) -> None:
    """After an unclean end: replicas being written are stale, siblings are what they were."""
    db.execute(
        "UPDATE data SET status=(SELECT l.status FROM locked l WHERE l.id=data.id"
        " AND l.repl=data.repl) WHERE status=? AND EXISTS(SELECT 1 FROM locked l"
        " WHERE l.id=data.id AND l.repl=data.repl)", (WRITE_LOCKED,),
    )  # fmt: skip
    db.execute("UPDATE data SET status=? WHERE status > ?", (STALE, GOOD))
    db.execute("DELETE FROM locked")
