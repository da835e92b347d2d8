"""One writer per data object, as iRODS's logical locking has it.

While a replica is open for writing its status is intermediate and its siblings are write-locked.
When the writer closes, the replica is good and the siblings are stale; when he vanishes, fails or
wrote nothing, the siblings get back what they had. The table ``locked`` keeps what they had, so
that it also survives the server's own end. Several connections may write one replica together if
they know the token of the first one's lock; the first one's close decides.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import codes
from .wire import IrodsError

if TYPE_CHECKING:
    import sqlite3

    from .session import Session

STALE, GOOD, INTERMEDIATE, WRITE_LOCKED = 0, 1, 2, 4


@dataclass
class WriteLock:
    """Who writes a replica, and what the statuses were before."""

    data_id: int
    repl: int
    token: str = ""
    before: dict[int, int] = field(default_factory=dict)
    dirty: bool = False
    broken: bool = False  # a connection that wrote along vanished: the bytes are not all there
    released: bool = False


def check_free(s: Session, data_id: int) -> None:
    """Raise LOCKED_DATA_OBJECT_ACCESS while somebody writes the object."""
    if data_id in s.server.locks:
        raise IrodsError(codes.LOCKED_DATA_OBJECT_ACCESS, "the data object is being written")


def check_at_rest(s: Session, data_id: int) -> None:
    """The same, also when the catalog alone says so, as it may after an interrupted write."""
    check_free(s, data_id)
    being_written = (data_id, INTERMEDIATE, WRITE_LOCKED)
    if s.cat.rows("SELECT 1 FROM data WHERE id=? AND status IN (?,?)", *being_written):
        raise IrodsError(codes.LOCKED_DATA_OBJECT_ACCESS, "the catalog has the object as locked")


def check_open(row: Any) -> None:
    """Refuse to open a replica of an object that somebody writes, with the code for which it is."""
    if row["status"] == INTERMEDIATE:
        raise IrodsError(codes.INTERMEDIATE_REPLICA_ACCESS, "the replica is being written")
    if row["status"] == WRITE_LOCKED:
        raise IrodsError(codes.LOCKED_DATA_OBJECT_ACCESS, "another replica is being written")


def joined(s: Session, data_id: int, repl: int, token: str) -> WriteLock | None:
    """The lock that this token belongs to, if it is this replica's."""
    held: WriteLock | None = s.server.locks.get(data_id)
    if held is None or not token or held.token != token or held.repl != repl:
        return None
    return held


def acquire(s: Session, db: sqlite3.Connection, data_id: int, repl: int) -> WriteLock:
    """Lock an object for writing one replica; call it inside the transaction that opens it.

    The replica may be new: then it has no status to go back to.
    """
    check_free(s, data_id)
    held = WriteLock(data_id, repl)
    for row in db.execute("SELECT repl, status FROM data WHERE id=?", (data_id,)).fetchall():
        held.before[row["repl"]] = row["status"]
    if len(held.before) > 1 or repl not in held.before:
        db.executemany(
            "INSERT OR REPLACE INTO locked VALUES(?,?,?)",
            [(data_id, n, status) for n, status in held.before.items() if n != repl],
        )
        db.execute("UPDATE data SET status=? WHERE id=?", (WRITE_LOCKED, data_id))
    db.execute("UPDATE data SET status=? WHERE id=? AND repl=?", (INTERMEDIATE, data_id, repl))
    s.server.locks[data_id] = held
    return held


def _settle(db: sqlite3.Connection, held: WriteLock, statuses: dict[int, int]) -> None:
    db.executemany(
        "UPDATE data SET status=? WHERE id=? AND repl=?",
        [(status, held.data_id, repl) for repl, status in statuses.items()],
    )
    db.execute("DELETE FROM locked WHERE id=?", (held.data_id,))


def publish(db: sqlite3.Connection, held: WriteLock, status: int) -> None:
    """Say what has become of the replica: if it is good, the siblings are stale."""
    siblings = dict.fromkeys(held.before, STALE) if status == GOOD else held.before
    _settle(db, held, siblings | {held.repl: status})


def give_back(db: sqlite3.Connection, held: WriteLock) -> None:
    """Nothing was written: every replica has the status that it had."""
    _settle(db, held, held.before)


def release(s: Session, held: WriteLock) -> None:
    """Others may write again; connections that still write along no longer can."""
    held.released = True
    if s.server.locks.get(held.data_id) is held:
        del s.server.locks[held.data_id]


def hold(s: Session, data_id: int) -> WriteLock:
    """Lock an object against writing while readers go on; call it inside a transaction."""
    check_free(s, data_id)
    held = s.server.locks[data_id] = WriteLock(data_id, -1)
    return held


def recover(db: sqlite3.Connection) -> None:
    """After the server's end: what was being written is stale, its siblings are what they were."""
    db.execute(
        "UPDATE data SET status=(SELECT l.status FROM locked l WHERE l.id=data.id"
        " AND l.repl=data.repl) WHERE status=? AND EXISTS(SELECT 1 FROM locked l"
        " WHERE l.id=data.id AND l.repl=data.repl)", (WRITE_LOCKED,),
    )  # fmt: skip
    db.execute("UPDATE data SET status=? WHERE status > ?", (STALE, GOOD))
    db.execute("DELETE FROM locked")
