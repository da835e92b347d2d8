"""Opening and closing replicas."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from . import tickets
from .access_control import require_access
from .catalog import READ, WRITE, split_path
from .data_objects import (
    OpenReplica,
    add_replica,
    choose_replica,
    delete_dependents,
    finish_writing,
    insert_data_object,
    is_vault_file,
    matching_replicas,
)
from .error_codes import ErrorCode
from .errors import IrodsError
from .logical_locking import (
    INTERMEDIATE,
    STALE,
    WriteLock,
    check_open,
    finalize,
    restore,
)
from .resource_hierarchy import available_replicas, require_root, root_id, target_leaf
from .session import Session
from .vault import create_file, open_file


def require_replicas(
    session: Session, path: str, level: int, missing: int = ErrorCode.CAT_UNKNOWN_FILE
) -> list[sqlite3.Row]:
    """Return the replicas of a data object on which the user has an access level.

    Parameters
    ----------
    session : Session
        The client's connection.
    path : str
        Logical path.
    level : int
        The access level needed.
    missing : int
        Error code if there is no such object.

    Returns
    -------
    list of sqlite3.Row
        All its replicas.

    Raises
    ------
    IrodsError
        There is no such object, or the user lacks the access level.
    """
    rows = session.catalog.replicas(path)
    if not rows:
        raise IrodsError(missing, path)
    require_access(session, rows[0]["id"], level, ErrorCode.CAT_NO_ACCESS_PERMISSION)
    return rows


@contextmanager
def locked_replicas(session: Session, path: str, level: int) -> Iterator[list[sqlite3.Row]]:
    """Lock a data object while its replicas are copied, moved or trimmed; it can be read meanwhile.

    Parameters
    ----------
    session : Session
        The client's connection.
    path : str
        Logical path.
    level : int
        The access level needed.

    Yields
    ------
    list of sqlite3.Row
        All its replicas.

    Raises
    ------
    IrodsError
        As of `require_replicas`, or LOCKED_DATA_OBJECT_ACCESS if it is being written.
    """
    with session.catalog.transaction():
        rows = require_replicas(session, path, level)
        lock = session.zone.locks.acquire_for_copying(rows[0]["id"])
    try:
        yield rows
    finally:
        session.zone.locks.release(lock)


def open_error(session: Session, row: sqlite3.Row, error: OSError) -> IrodsError:
    """Return the error for a replica whose file cannot be opened.

    Parameters
    ----------
    session : Session
        The client's connection.
    row : sqlite3.Row
        The replica, as read before.
    error : OSError
        Why its file cannot be opened.

    Returns
    -------
    IrodsError
        OBJ_PATH_DOES_NOT_EXIST if the replica was just removed, otherwise UNIX_FILE_OPEN_ERR.
    """
    now = session.catalog.one("SELECT * FROM data WHERE id=? AND repl=?", row["id"], row["repl"])
    if now is None or tuple(now) != tuple(row):  # numbers of removed replicas are used again
        return IrodsError(ErrorCode.OBJ_PATH_DOES_NOT_EXIST, "removed meanwhile")
    return IrodsError(
        ErrorCode.UNIX_FILE_OPEN_ERR - (error.errno or 0), "vault file cannot be opened"
    )


def open_replica(
    session: Session, path: str, flags: int, keywords: dict[str, str], mode: int = 0
) -> OpenReplica:
    """Open a replica of a data object.

    Parameters
    ----------
    session : Session
        The client's connection.
    path : str
        Logical path.
    flags : int
        Flags of open(2); with O_CREAT a missing object or replica is made.
    keywords : dict of str
        Options of the request: which replica or resource, and ``replicaToken``.
    mode : int
        Permission bits to record for a new object.

    Returns
    -------
    OpenReplica
        The replica, locked if it is open for writing.

    Raises
    ------
    IrodsError
        There is none, the user may not, its resource is down, or it is being written.
    """
    rows = session.catalog.replicas(path)
    if rows and (flags & os.O_ACCMODE) == os.O_RDONLY:
        return _open_to_read(session, path, rows, keywords)
    if rows and flags & os.O_CREAT and flags & os.O_EXCL:
        raise IrodsError(ErrorCode.UNIX_FILE_OPEN_ERR - errno.EEXIST, path)
    if rows:
        return _open_to_write(session, path, rows, flags, keywords)
    if flags & os.O_CREAT:
        return _create_and_open(session, path, keywords, mode)
    raise IrodsError(ErrorCode.OBJ_PATH_DOES_NOT_EXIST, path)


def check_overwrite_target(
    session: Session, rows: list[sqlite3.Row], keywords: dict[str, str]
) -> None:
    """Refuse to overwrite a data object on a resource where it has no replica.

    Forced puts and copies replace what is there; only replication makes more replicas.

    Parameters
    ----------
    session : Session
        The client's connection.
    rows : list of sqlite3.Row
        Replicas of the data object; none if it is new.
    keywords : dict of str
        Options of the request: ``forceFlag`` and ``destRescName``.

    Raises
    ------
    IrodsError
        HIERARCHY_ERROR: the resource has no replica.
    """
    if rows and keywords.get("destRescName") and "forceFlag" in keywords:
        root = require_root(session, keywords["destRescName"])
        if all(root_id(session, row["resc_id"]) != root["id"] for row in rows):
            raise IrodsError(ErrorCode.HIERARCHY_ERROR, f"no replica on {root['name']}")


def _open_to_read(
    session: Session, path: str, rows: list[sqlite3.Row], keywords: dict[str, str]
) -> OpenReplica:
    by_ticket = require_access(session, rows[0]["id"], READ, ErrorCode.OBJ_PATH_DOES_NOT_EXIST)
    row = choose_replica(session, available_replicas(session, rows), keywords)
    token = keywords.get("replicaToken", "")
    if session.zone.locks.by_token(row["id"], row["repl"], token) is None:
        check_open(row)
    if by_ticket:
        tickets.count_use(session, write=False)
    try:
        fd = open_file(row["path"], os.O_RDONLY)
    except OSError as e:
        raise open_error(session, row, e) from None
    return OpenReplica(
        session, fd, row["path"], row["id"], row["repl"], False, path, by_ticket=by_ticket
    )


def _create_and_open(
    session: Session, path: str, keywords: dict[str, str], mode: int
) -> OpenReplica:
    above = session.catalog.collection(split_path(path)[0])
    by_ticket = above is not None and require_access(session, above["id"], WRITE)
    leaf = target_leaf(session, keywords)
    if by_ticket:
        tickets.count_use(session, write=True)
    with session.catalog.transaction() as db:
        data_id, file = insert_data_object(session, db, path, leaf, INTERMEDIATE, keywords, mode)
        lock = session.zone.locks.acquire(db, data_id, 0)
        lock.dirty = True
    try:
        fd = create_file(file)
    except BaseException:
        with session.catalog.transaction() as db:
            db.execute("DELETE FROM data WHERE id=?", (data_id,))
            delete_dependents(db, data_id)
        session.zone.locks.release(lock)
        raise
    return OpenReplica(session, fd, file, data_id, 0, True, path, lock, by_ticket)


def _open_to_write(
    session: Session, path: str, rows: list[sqlite3.Row], flags: int, keywords: dict[str, str]
) -> OpenReplica:
    data_id = rows[0]["id"]
    by_ticket = require_access(session, data_id, WRITE, ErrorCode.CAT_NO_ACCESS_PERMISSION)
    row = next(iter(matching_replicas(session, available_replicas(session, rows), keywords)), None)
    if row is None and (keywords.get("replNum") or not flags & os.O_CREAT):
        raise IrodsError(ErrorCode.SYS_REPLICA_DOES_NOT_EXIST, "no such replica")
    token = keywords.get("replicaToken", "")
    lock = session.zone.locks.by_token(data_id, row["repl"], token) if row is not None else None
    if row is not None and lock is not None:
        fd = open_file(row["path"], os.O_RDWR)
        return OpenReplica(
            session, fd, row["path"], data_id, row["repl"], True, path, lock, by_ticket, shared=True
        )
    leaf = target_leaf(session, keywords) if row is None else None
    if by_ticket:
        tickets.count_use(session, write=True)
    return _open_locked(session, path, data_id, row, leaf, flags, by_ticket)


def _open_locked(
    session: Session,
    path: str,
    data_id: int,
    row: sqlite3.Row | None,
    leaf: sqlite3.Row | None,
    flags: int,
    by_ticket: bool,
) -> OpenReplica:
    """Lock a data object and open one replica, or a new one on a leaf if there is no row."""
    lock = None
    try:
        with session.catalog.transaction() as db:
            # Inside the transaction nobody else changes it; before, somebody may have.
            fresh = {r["repl"]: r for r in session.catalog.replicas(path) if r["id"] == data_id}
            if not fresh or (row is not None and row["repl"] not in fresh):
                raise IrodsError(ErrorCode.OBJ_PATH_DOES_NOT_EXIST, path)
            if row is None and leaf is not None:  # another client may have made one there
                row = next((r for r in fresh.values() if r["resc_id"] == leaf["id"]), None)
            if row is not None:
                check_open(fresh[row["repl"]])
            repl = row["repl"] if row is not None else max(fresh) + 1
            like = next(iter(fresh.values()))
            lock = session.zone.locks.acquire(db, data_id, repl)
            if row is not None:
                file = row["path"]
            else:
                assert leaf is not None
                file = add_replica(db, like, leaf)[1]
        # After the commit: a file whose row was rolled back would never be deleted.
        fd = _open_vault_file(session, row, file)
    except BaseException:
        if lock is not None:
            _undo_lock(session, lock)
            session.zone.locks.release(lock)
        raise
    handle = OpenReplica(session, fd, file, data_id, repl, True, path, lock, by_ticket)
    lock.dirty = row is None
    try:
        if flags & os.O_TRUNC:
            lock.dirty = True
            os.ftruncate(fd, 0)
        handle.append = bool(flags & os.O_APPEND)
        if handle.append:
            handle.offset = os.fstat(fd).st_size
    except BaseException:
        handle.abandon()
        raise
    return handle


def _undo_lock(session: Session, lock: WriteLock) -> None:
    """Remove a replica that could not be created, and restore the statuses of the others."""
    with session.catalog.transaction() as db:
        if lock.repl not in lock.before:
            db.execute("DELETE FROM data WHERE id=? AND repl=?", (lock.data_id, lock.repl))
        restore(db, lock)


def _open_vault_file(session: Session, row: sqlite3.Row | None, file: str) -> int:
    """Open a vault file and create it if it is missing; one registered in place is not created."""
    if row is None:
        return create_file(file)
    return open_file(file, os.O_RDWR | (os.O_CREAT if is_vault_file(session, row) else 0))


def close_replica(session: Session, number: int, keywords: dict[str, str]) -> None:
    """Close a descriptor; a written replica becomes good, or stale if something fails.

    Parameters
    ----------
    session : Session
        The client's connection.
    number : int
        The descriptor.
    keywords : dict of str
        As of `irods_zone.data_objects.finish_writing`.

    Raises
    ------
    IrodsError, OSError
        The replica could not be finished.
    """
    handle = session.handles.pop(number)
    lock = None if handle.shared else handle.lock
    try:
        if lock is None:
            return
        if lock.dirty:
            finish_writing(session, handle, keywords)
        else:
            with session.catalog.transaction() as db:
                restore(db, lock)
    except BaseException:
        if lock is not None:
            _mark_stale(session, lock)
        raise
    finally:
        os.close(handle.fd)
        if lock is not None:
            session.zone.locks.release(lock)


def _mark_stale(session: Session, lock: WriteLock) -> None:
    """Mark a replica as stale whose writing failed before its status was set."""
    row = session.catalog.one(
        "SELECT status FROM data WHERE id=? AND repl=?", lock.data_id, lock.repl
    )
    if row is not None and row["status"] == INTERMEDIATE:
        with session.catalog.transaction() as db:
            finalize(db, lock, STALE)
