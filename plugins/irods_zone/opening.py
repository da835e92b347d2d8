"""Opening and closing replicas: who may, which one, and what a close makes of it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from . import codes, tickets
from .catalog import READ, WRITE, split
from .locks import (
    INTERMEDIATE,
    STALE,
    WriteLock,
    acquire,
    check_open,
    give_back,
    hold,
    joined,
    publish,
    release,
)
from .objects import Handle, add_replica, asked, finish, forget, insert, inside_vault, need, pick
from .session import Session
from .tree import available, named_root, root_of, target
from .vault import create_file, open_file
from .wire import IrodsError


def existing(s: Session, path: str, level: int, missing: int = codes.CAT_UNKNOWN_FILE) -> list[Any]:
    """Replicas of an object that the user has this right on."""
    rows = s.cat.replicas(path)
    if not rows:
        raise IrodsError(missing, path)
    need(s, rows[0]["id"], level, codes.CAT_NO_ACCESS_PERMISSION)
    return rows


@contextmanager
def exclusive(s: Session, path: str, level: int) -> Iterator[list[Any]]:
    """The replicas of an object that nobody else writes, moves or removes meanwhile."""
    with s.cat.tx():
        rows = existing(s, path, level)
        held = hold(s, rows[0]["id"])
    try:
        yield rows
    finally:
        release(s, held)


def unreadable(s: Session, row: Any, error: OSError) -> IrodsError:
    """Why a replica's file cannot be opened: it was just removed, or the vault is damaged."""
    now = s.cat.one("SELECT * FROM data WHERE id=? AND repl=?", row["id"], row["repl"])
    if now is None or tuple(now) != tuple(row):  # replica numbers are used again
        return IrodsError(codes.OBJ_PATH_DOES_NOT_EXIST, "removed meanwhile")
    return IrodsError(codes.UNIX_FILE_OPEN_ERR - (error.errno or 0), "vault file cannot be opened")


def open_object(s: Session, path: str, flags: int, kw: dict[str, str], mode: int = 0) -> Handle:
    """Open a replica with the flags of open(2); O_CREAT makes object or replica if need be."""
    rows = s.cat.replicas(path)
    if rows and (flags & os.O_ACCMODE) == os.O_RDONLY:
        return _read(s, path, rows, kw)
    if rows and flags & os.O_CREAT and flags & os.O_EXCL:
        raise IrodsError(codes.UNIX_FILE_OPEN_ERR - errno.EEXIST, path)
    if rows:
        return _write(s, path, rows, flags, kw)
    if flags & os.O_CREAT:
        return _create(s, path, kw, mode)
    raise IrodsError(codes.OBJ_PATH_DOES_NOT_EXIST, path)


def overwritten_where_it_is(s: Session, rows: list[Any], kw: dict[str, str]) -> None:
    """Refuse to overwrite an object on a resource where it has no replica.

    Putting and copying by force replace what is there; more replicas come by replication alone.
    """
    if rows and kw.get("destRescName") and "forceFlag" in kw:
        root = named_root(s, kw["destRescName"])
        if all(root_of(s, row["resc_id"]) != root["id"] for row in rows):
            raise IrodsError(codes.HIERARCHY_ERROR, f"no replica on {root['name']}")


def _read(s: Session, path: str, rows: list[Any], kw: dict[str, str]) -> Handle:
    lent = need(s, rows[0]["id"], READ, codes.OBJ_PATH_DOES_NOT_EXIST)
    row = pick(s, available(s, rows), kw)
    if joined(s, row["id"], row["repl"], kw.get("replicaToken", "")) is None:
        check_open(row)
    if lent:
        tickets.spend(s, write=False)
    try:
        fd = open_file(row["path"], os.O_RDONLY)
    except OSError as e:
        raise unreadable(s, row, e) from None
    return Handle(s, fd, row["path"], row["id"], row["repl"], False, False, path, lent=lent)


def _create(s: Session, path: str, kw: dict[str, str], mode: int) -> Handle:
    above = s.cat.coll(split(path)[0])
    lent = above is not None and need(s, above["id"], WRITE)
    leaf = target(s, kw)
    if lent:
        tickets.spend(s, write=True)
    with s.cat.tx() as db:
        data_id, file = insert(s, db, path, leaf, INTERMEDIATE, kw, mode)
        held = acquire(s, db, data_id, 0)
        held.dirty = True
    try:
        fd = create_file(file)
    except BaseException:
        with s.cat.tx() as db:
            db.execute("DELETE FROM data WHERE id=?", (data_id,))
            forget(db, data_id)
        release(s, held)
        raise
    return Handle(s, fd, file, data_id, 0, True, True, path, lock=held, lent=lent)


def _write(s: Session, path: str, rows: list[Any], flags: int, kw: dict[str, str]) -> Handle:
    data_id = rows[0]["id"]
    lent = need(s, data_id, WRITE, codes.CAT_NO_ACCESS_PERMISSION)
    row = next(iter(asked(s, available(s, rows), kw)), None)
    if row is None and (kw.get("replNum") or not flags & os.O_CREAT):
        raise IrodsError(codes.SYS_REPLICA_DOES_NOT_EXIST, "no such replica")
    token = kw.get("replicaToken", "")
    held = joined(s, data_id, row["repl"], token) if row is not None else None
    if row is not None and held is not None:
        fd = open_file(row["path"], os.O_RDWR)
        return Handle(s, fd, row["path"], data_id, row["repl"], True, False, path, lock=held,
                      shared=True, lent=lent)  # fmt: skip
    leaf = target(s, kw) if row is None else None
    if lent:
        tickets.spend(s, write=True)
    return _open_locked(s, path, data_id, row, leaf, flags, lent)


def _open_locked(
    s: Session, path: str, data_id: int, row: Any, leaf: Any, flags: int, lent: bool
) -> Handle:
    """Lock the object and open one replica, or a new one on a leaf if there is no row."""
    held = None
    try:
        with s.cat.tx() as db:
            # Only now nobody else changes it: it may have been removed, moved or opened meanwhile.
            fresh = {r["repl"]: r for r in s.cat.replicas(path) if r["id"] == data_id}
            if not fresh or (row is not None and row["repl"] not in fresh):
                raise IrodsError(codes.OBJ_PATH_DOES_NOT_EXIST, path)
            if row is None:  # unless somebody has put one on this leaf meanwhile
                row = next((r for r in fresh.values() if r["resc_id"] == leaf["id"]), None)
            if row is not None:
                check_open(fresh[row["repl"]])
            repl = row["repl"] if row is not None else max(fresh) + 1
            like = next(iter(fresh.values()))
            held = acquire(s, db, data_id, repl)
            file = row["path"] if row is not None else add_replica(db, like, leaf)[1]
        fd = _open_file(s, row, file)  # after the commit: a new file without a row would stay
    except BaseException:
        if held is not None:
            _undo(s, held)
            release(s, held)
        raise
    h = Handle(s, fd, file, data_id, repl, True, row is None, path, lock=held, lent=lent)
    held.dirty = row is None
    try:
        if flags & os.O_TRUNC:
            held.dirty = True
            os.ftruncate(fd, 0)
        h.append = bool(flags & os.O_APPEND)
        if h.append:
            h.offset = os.fstat(fd).st_size
    except BaseException:
        h.abandon()
        raise
    return h


def _undo(s: Session, held: WriteLock) -> None:
    """The replica could not be opened: a new one goes, the others are what they were."""
    with s.cat.tx() as db:
        if held.repl not in held.before:
            db.execute("DELETE FROM data WHERE id=? AND repl=?", (held.data_id, held.repl))
        give_back(db, held)


def _open_file(s: Session, row: Any, file: str) -> int:
    """A vault file that is gone is made again; one that was registered in place is not."""
    if row is None:
        return create_file(file)
    return open_file(file, os.O_RDWR | (os.O_CREAT if inside_vault(s, row) else 0))


def close(s: Session, number: int, kw: dict[str, str]) -> None:
    """Finish a handle and forget it; what was written becomes good, or stale if that fails."""
    h = s.handles.pop(number)
    held = None if h.shared else h.lock
    try:
        if held is None:
            return
        if held.dirty:
            finish(s, h, kw)
        else:
            with s.cat.tx() as db:
                give_back(db, held)
    except BaseException:
        if held is not None:
            _fail(s, held)
        raise
    finally:
        os.close(h.fd)
        if held is not None:
            release(s, held)


def _fail(s: Session, held: WriteLock) -> None:
    """The replica is not good if nobody said so before the error."""
    row = s.cat.one("SELECT status FROM data WHERE id=? AND repl=?", held.data_id, held.repl)
    if row is not None and row["status"] == INTERMEDIATE:
        with s.cat.tx() as db:
            publish(db, held, STALE)
