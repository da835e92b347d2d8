"""Opening and closing replicas: who may, which one, and what a close makes of it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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
) -> list[Any]:
    """Replicas of an object that the user has this right on."""
    rows = session.catalog.replicas(path)
    if not rows:
        raise IrodsError(missing, path)
    require_access(session, rows[0]["id"], level, ErrorCode.CAT_NO_ACCESS_PERMISSION)
    return rows


@contextmanager
def locked_replicas(session: Session, path: str, level: int) -> Iterator[list[Any]]:
    """The replicas of an object that nobody else writes, moves or removes meanwhile."""
    with session.catalog.transaction():
        rows = require_replicas(session, path, level)
        held = session.zone.locks.acquire_for_copying(rows[0]["id"])
    try:
        yield rows
    finally:
        session.zone.locks.release(held)


def open_error(session: Session, row: Any, error: OSError) -> IrodsError:
    """Why a replica's file cannot be opened: it was just removed, or the vault is damaged."""
    now = session.catalog.one("SELECT * FROM data WHERE id=? AND repl=?", row["id"], row["repl"])
    if now is None or tuple(now) != tuple(row):  # replica numbers are used again
        return IrodsError(ErrorCode.OBJ_PATH_DOES_NOT_EXIST, "removed meanwhile")
    return IrodsError(
        ErrorCode.UNIX_FILE_OPEN_ERR - (error.errno or 0), "vault file cannot be opened"
    )


def open_replica(
    session: Session, path: str, flags: int, keywords: dict[str, str], mode: int = 0
) -> OpenReplica:
    """Open a replica with the flags of open(2); O_CREAT makes object or replica if need be."""
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


def check_overwrite_target(session: Session, rows: list[Any], keywords: dict[str, str]) -> None:
    """Refuse to overwrite an object on a resource where it has no replica.

    Putting and copying by force replace what is there; more replicas come by replication alone.
    """
    if rows and keywords.get("destRescName") and "forceFlag" in keywords:
        root = require_root(session, keywords["destRescName"])
        if all(root_id(session, row["resc_id"]) != root["id"] for row in rows):
            raise IrodsError(ErrorCode.HIERARCHY_ERROR, f"no replica on {root['name']}")


def _open_to_read(
    session: Session, path: str, rows: list[Any], keywords: dict[str, str]
) -> OpenReplica:
    by_ticket = require_access(session, rows[0]["id"], READ, ErrorCode.OBJ_PATH_DOES_NOT_EXIST)
    row = choose_replica(session, available_replicas(session, rows), keywords)
    if (
        session.zone.locks.by_token(row["id"], row["repl"], keywords.get("replicaToken", ""))
        is None
    ):
        check_open(row)
    if by_ticket:
        tickets.count_use(session, write=False)
    try:
        fd = open_file(row["path"], os.O_RDONLY)
    except OSError as e:
        raise open_error(session, row, e) from None
    return OpenReplica(
        session, fd, row["path"], row["id"], row["repl"], False, False, path, by_ticket=by_ticket
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
        held = session.zone.locks.acquire(db, data_id, 0)
        held.dirty = True
    try:
        fd = create_file(file)
    except BaseException:
        with session.catalog.transaction() as db:
            db.execute("DELETE FROM data WHERE id=?", (data_id,))
            delete_dependents(db, data_id)
        session.zone.locks.release(held)
        raise
    return OpenReplica(
        session, fd, file, data_id, 0, True, True, path, lock=held, by_ticket=by_ticket
    )


def _open_to_write(
    session: Session, path: str, rows: list[Any], flags: int, keywords: dict[str, str]
) -> OpenReplica:
    data_id = rows[0]["id"]
    by_ticket = require_access(session, data_id, WRITE, ErrorCode.CAT_NO_ACCESS_PERMISSION)
    row = next(iter(matching_replicas(session, available_replicas(session, rows), keywords)), None)
    if row is None and (keywords.get("replNum") or not flags & os.O_CREAT):
        raise IrodsError(ErrorCode.SYS_REPLICA_DOES_NOT_EXIST, "no such replica")
    token = keywords.get("replicaToken", "")
    held = session.zone.locks.by_token(data_id, row["repl"], token) if row is not None else None
    if row is not None and held is not None:
        fd = open_file(row["path"], os.O_RDWR)
        return OpenReplica(session, fd, row["path"], data_id, row["repl"], True, False, path, lock=held,
                      shared=True, by_ticket=by_ticket)  # fmt: skip
    leaf = target_leaf(session, keywords) if row is None else None
    if by_ticket:
        tickets.count_use(session, write=True)
    return _open_locked(session, path, data_id, row, leaf, flags, by_ticket)


def _open_locked(
    session: Session, path: str, data_id: int, row: Any, leaf: Any, flags: int, by_ticket: bool
) -> OpenReplica:
    """Lock the object and open one replica, or a new one on a leaf if there is no row."""
    held = None
    try:
        with session.catalog.transaction() as db:
            # Only now nobody else changes it: it may have been removed, moved or opened meanwhile.
            fresh = {r["repl"]: r for r in session.catalog.replicas(path) if r["id"] == data_id}
            if not fresh or (row is not None and row["repl"] not in fresh):
                raise IrodsError(ErrorCode.OBJ_PATH_DOES_NOT_EXIST, path)
            if row is None:  # unless somebody has put one on this leaf meanwhile
                row = next((r for r in fresh.values() if r["resc_id"] == leaf["id"]), None)
            if row is not None:
                check_open(fresh[row["repl"]])
            repl = row["repl"] if row is not None else max(fresh) + 1
            like = next(iter(fresh.values()))
            held = session.zone.locks.acquire(db, data_id, repl)
            file = row["path"] if row is not None else add_replica(db, like, leaf)[1]
        fd = _open_vault_file(
            session, row, file
        )  # after the commit: a new file without a row would stay
    except BaseException:
        if held is not None:
            _undo_lock(session, held)
            session.zone.locks.release(held)
        raise
    handle = OpenReplica(
        session, fd, file, data_id, repl, True, row is None, path, lock=held, by_ticket=by_ticket
    )
    held.dirty = row is None
    try:
        if flags & os.O_TRUNC:
            held.dirty = True
            os.ftruncate(fd, 0)
        handle.append = bool(flags & os.O_APPEND)
        if handle.append:
            handle.offset = os.fstat(fd).st_size
    except BaseException:
        handle.abandon()
        raise
    return handle


def _undo_lock(session: Session, held: WriteLock) -> None:
    """The replica could not be opened: a new one goes, the others are what they were."""
    with session.catalog.transaction() as db:
        if held.repl not in held.before:
            db.execute("DELETE FROM data WHERE id=? AND repl=?", (held.data_id, held.repl))
        restore(db, held)


def _open_vault_file(session: Session, row: Any, file: str) -> int:
    """A vault file that is gone is made again; one that was registered in place is not."""
    if row is None:
        return create_file(file)
    return open_file(file, os.O_RDWR | (os.O_CREAT if is_vault_file(session, row) else 0))


def close_replica(session: Session, number: int, keywords: dict[str, str]) -> None:
    """Finish a handle and forget it; what was written becomes good, or stale if that fails."""
    handle = session.handles.pop(number)
    held = None if handle.shared else handle.lock
    try:
        if held is None:
            return
        if held.dirty:
            finish_writing(session, handle, keywords)
        else:
            with session.catalog.transaction() as db:
                restore(db, held)
    except BaseException:
        if held is not None:
            _mark_stale(session, held)
        raise
    finally:
        os.close(handle.fd)
        if held is not None:
            session.zone.locks.release(held)


def _mark_stale(session: Session, held: WriteLock) -> None:
    """The replica is not good if nobody said so before the error."""
    row = session.catalog.one(
        "SELECT status FROM data WHERE id=? AND repl=?", held.data_id, held.repl
    )
    if row is not None and row["status"] == INTERMEDIATE:
        with session.catalog.transaction() as db:
            finalize(db, held, STALE)
