"""Opening and closing replicas: who may, which one, and what a close makes of it."""

from __future__ import annotations

import os
from typing import Any

from . import tickets
from .catalog import READ, WRITE, split
from .objects import (
    INTERMEDIATE,
    Handle,
    add_replica,
    asked,
    create_file,
    finish,
    forget,
    insert,
    inside_vault,
    lock,
    need,
    pick,
)
from .session import Session
from .tree import target
from .wire import IrodsError


def existing(s: Session, path: str, level: int, missing: int = -817000) -> list[Any]:
    """Replicas of an object that the user has this right on."""
    rows = s.cat.replicas(path)
    if not rows:
        raise IrodsError(missing, path)
    need(s, rows[0]["id"], level, -818000)
    return rows


def open_object(s: Session, path: str, flags: int, kw: dict[str, str], mode: int = 0) -> Handle:
    """Open a replica with the flags of open(2); O_CREAT makes object or replica if need be."""
    rows = s.cat.replicas(path)
    if rows and (flags & os.O_ACCMODE) == os.O_RDONLY:
        return _read(s, path, rows, kw)
    if rows:
        return _write(s, path, rows, flags, kw)
    if flags & os.O_CREAT:
        return _create(s, path, kw, mode)
    raise IrodsError(-358000, path)


def _read(s: Session, path: str, rows: list[Any], kw: dict[str, str]) -> Handle:
    lent = need(s, rows[0]["id"], READ, -358000)
    row = pick(s, rows, kw)
    if lent:
        tickets.spend(s, write=False)
    fd = os.open(row["path"], os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    return Handle(s, fd, row["path"], row["id"], row["repl"], False, False, path, lent=lent)


def _create(s: Session, path: str, kw: dict[str, str], mode: int) -> Handle:
    above = s.cat.coll(split(path)[0])
    lent = above is not None and need(s, above["id"], WRITE)
    leaf = target(s, kw)
    if lent:
        tickets.spend(s, write=True)
    with s.cat.tx() as db:
        data_id, file = insert(s, db, path, leaf, INTERMEDIATE, kw, mode)
        lock(s, data_id)
    try:
        fd = create_file(file)
    except BaseException:
        s.server.locks.pop(data_id, None)
        with s.cat.tx() as db:
            db.execute("DELETE FROM data WHERE id=?", (data_id,))
            forget(db, data_id)
        raise
    return Handle(s, fd, file, data_id, 0, True, True, path, dirty=True, lent=lent)


def _write(s: Session, path: str, rows: list[Any], flags: int, kw: dict[str, str]) -> Handle:
    data_id = rows[0]["id"]
    lent = need(s, data_id, WRITE, -818000)
    token = kw.get("replicaToken", "")
    shared = bool(token) and s.server.locks.get(data_id) == token
    row = next(iter(asked(s, rows, kw)), None)
    if row is None and (kw.get("replNum") or not flags & os.O_CREAT):
        raise IrodsError(-164000, "no such replica")
    leaf = target(s, kw) if row is None else None
    if lent:
        tickets.spend(s, write=True)
    if not shared:
        lock(s, data_id)
    try:
        with s.cat.tx() as db:
            if row is None:
                repl, file = add_replica(db, rows[0], leaf)
            else:
                repl, file = row["repl"], row["path"]
            if not shared:
                db.execute("UPDATE data SET status=2 WHERE id=? AND repl=?", (data_id, repl))
        h = Handle(
            s, _open_file(s, row, file), file, data_id, repl, True, row is None, path,
            shared=shared, lent=lent, dirty=row is None,
        )  # fmt: skip
        if flags & os.O_TRUNC and not shared:
            os.ftruncate(h.fd, 0)
            h.dirty = True
        if flags & os.O_APPEND:
            h.offset = os.fstat(h.fd).st_size
    except BaseException:
        if not shared:
            s.server.locks.pop(data_id, None)
        raise
    return h


def _open_file(s: Session, row: Any, file: str) -> int:
    """A vault file that is gone is made again; one that was registered in place is not."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    if row is None:
        return create_file(file)
    return os.open(file, flags | (os.O_CREAT if inside_vault(s, row) else 0), 0o600)


def close(s: Session, number: int, kw: dict[str, str]) -> None:
    """Finish a handle and forget it."""
    h = s.handles[number]
    try:
        if (
            h.write
            and not h.shared
            and (
                h.dirty
                or s.cat.one(
                    "SELECT 1 FROM data WHERE id=? AND repl=? AND status=2", h.data_id, h.repl
                )
            )
        ):
            finish(s, h, kw)
    except BaseException:
        with s.cat.tx() as db:
            db.execute(
                "UPDATE data SET status=0 WHERE id=? AND repl=? AND status=2", (h.data_id, h.repl)
            )
        raise
    finally:
        del s.handles[number]
        os.close(h.fd)
        h.unlock()
