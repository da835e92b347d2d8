"""Opening and closing replicas: who may, which one, and what a close makes of it."""

from __future__ import annotations

import os
from typing import Any

from .catalog import READ, WRITE
from .objects import (
    INTERMEDIATE,
    Handle,
    chosen,
    create_file,
    finish,
    forget,
    insert,
    leaves,
    lock,
    need,
    pick,
)  # fmt: skip
from .server import Session
from .wire import IrodsError


def existing(s: Session, path: str, level: int, missing: int = -817000) -> list[Any]:
    """Replicas of an object that the user has this right on."""
    rows = s.cat.replicas(path)
    if not rows:
        raise IrodsError(missing, path)
    need(s, rows[0]["id"], level, -818000)
    return rows


def open_object(s: Session, path: str, flags: int, kw: dict[str, str], create: bool,
    mode: int = 0,
) -> Handle:  # fmt: skip
    """Open a replica, creating the object if asked."""
    write = (flags & os.O_ACCMODE) != os.O_RDONLY
    rows = s.cat.replicas(path)
    if rows and not create and not write:
        need(s, rows[0]["id"], READ, -358000)
        row = pick(s, rows, kw)
        fd = os.open(row["path"], os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        return Handle(s, fd, row["path"], row["id"], row["repl"], False, False, path)
    if not rows:
        if (not write and not create) or (not flags & os.O_CREAT and not create):
            raise IrodsError(-358000, path)
        leaf = leaves(s, chosen(s, kw))[0]
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
        return Handle(s, fd, file, data_id, 0, True, True, path, dirty=True)
    if create and "forceFlag" not in kw and not flags & os.O_TRUNC:
        raise IrodsError(-312000, path)
    need(s, rows[0]["id"], WRITE, -818000)
    token = kw.get("replicaToken", "")
    shared = bool(token) and s.server.locks.get(rows[0]["id"]) == token
    row = pick(s, rows, kw, write=True)
    if not shared:
        lock(s, row["id"])
    try:
        fd = os.open(row["path"], os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        h = Handle(s, fd, row["path"], row["id"], row["repl"], True, False, path, shared=shared)
        if not shared:
            with s.cat.tx() as db:
                db.execute(
                    "UPDATE data SET status=2 WHERE id=? AND repl=?", (row["id"], row["repl"])
                )
            if flags & os.O_TRUNC or create:
                os.ftruncate(fd, 0)
                h.dirty = True
        if flags & os.O_APPEND:
            h.offset = os.fstat(fd).st_size
    except BaseException:
        if not shared:
            s.server.locks.pop(row["id"], None)
        raise
    return h


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
