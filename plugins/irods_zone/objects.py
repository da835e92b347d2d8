"""Replicas: where they lie, how they are written, finished, copied and removed."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from . import codes, tickets
from .catalog import READ, WRITE, now, split
from .locks import (
    GOOD,
    STALE,
    WriteLock,
    check_at_rest,
    give_back,
    publish,
    release,
)
from .session import Session
from .tree import chosen, companions, root_of
from .vault import (
    check_expected,
    checksum_fd,
    copy_bytes,
    create_file,
    in_vault,
    kind_of,
    open_file,
    sync_file,
    unlink,
    vault_file,
)
from .wire import IrodsError


def need(
    s: Session, object_id: int, level: int, hidden: int = codes.CAT_NO_ACCESS_PERMISSION
) -> bool:
    """Refuse unless the user has this right; hidden is the code if he sees nothing at all.

    True if it is a ticket that lends the right.
    """
    if s.admin and (level <= READ or s.elevated):
        return False
    got = s.cat.level(object_id, s.uid)
    if got >= level:
        return False
    if s.ticket and tickets.lends(s, object_id, level):
        return True
    gone = "SELECT 1 FROM data WHERE id=? UNION ALL SELECT 1 FROM coll WHERE id=?"
    if not got and s.cat.one(gone, object_id, object_id) is None:
        raise IrodsError(codes.OBJ_PATH_DOES_NOT_EXIST, "removed meanwhile")
    raise IrodsError(hidden if got < READ else codes.CAT_NO_ACCESS_PERMISSION, "no right")


@dataclass
class Handle:
    """An opened replica."""

    session: Session
    fd: int
    path: str
    data_id: int
    repl: int
    write: bool
    created: bool
    logical: str
    offset: int = 0
    dirty: bool = False
    lock: WriteLock | None = None
    append: bool = False  # whatever is written goes to the end
    shared: bool = False  # writes along under another connection's lock
    transfer: dict[str, str] | None = None  # keywords of a put or get that is complete later
    checksums: dict[str, str] = field(default_factory=dict)  # keywords of the open for the close
    opened_with: dict[str, str] = field(default_factory=dict)  # keywords of the open
    lent: bool = False  # by a ticket, whose limits count what is written

    def written(self) -> None:
        """Note that bytes changed; raises `IrodsError` if the lock that allowed it is gone."""
        if self.lock is not None:
            if self.lock.released:
                raise IrodsError(
                    codes.SYS_BAD_FILE_DESCRIPTOR, "the replica was closed by the one who opened it"
                )
            self.lock.dirty = True

    def abandon(self) -> None:
        """The client went away: what it was writing is not good."""
        os.close(self.fd)
        s, held = self.session, self.lock
        s.handles = {k: h for k, h in s.handles.items() if h is not self}
        if held is None:
            return
        if self.shared:
            held.broken = True
            return
        try:
            size = os.stat(self.path).st_size
            with s.cat.tx() as db:
                if not held.dirty:
                    give_back(db, held)
                    return
                db.execute(
                    "UPDATE data SET size=?, checksum='', mtime=? WHERE id=? AND repl=?",
                    (size, now(), held.data_id, held.repl),
                )
                publish(db, held, STALE)
        finally:
            release(s, held)


def pick(s: Session, rows: list[Any], kw: dict[str, str]) -> Any:
    """The replica to read: a good one, on the named resource if there is one."""
    here = asked(s, rows, kw)
    if kw.get("replNum") or kw.get("resc_hier"):
        if not here:
            raise IrodsError(codes.SYS_REPLICA_DOES_NOT_EXIST, "no such replica")
        return here[0]
    good = [r for r in rows if r["status"] == GOOD]
    return ([r for r in here if r["status"] == GOOD] or good or here or rows)[0]


def asked(s: Session, rows: list[Any], kw: dict[str, str]) -> list[Any]:
    """The replicas that keywords name, good ones first; all if they name none."""
    if kw.get("replNum"):
        return [r for r in rows if str(r["repl"]) == kw["replNum"].strip()]
    if kw.get("resc_hier"):
        return [r for r in rows if s.cat.hier(r["resc_id"]) == kw["resc_hier"]]
    root = chosen(s, kw, default=False)
    if root is not None:
        rows = [r for r in rows if root_of(s, r["resc_id"]) == root["id"]]
    return sorted(rows, key=lambda r: r["status"] != GOOD)


def insert(
    s: Session, db: Any, path: str, leaf: Any, status: int, kw: dict[str, str], mode: int = 0
) -> tuple[int, str]:
    """A new data object's first row: its id and vault file."""
    parent, name = split(path)
    coll = s.cat.coll(parent)
    if coll is None:
        raise IrodsError(codes.OBJ_PATH_DOES_NOT_EXIST, parent)
    need(s, coll["id"], WRITE, codes.CAT_NO_ACCESS_PERMISSION)
    if s.cat.coll(path) is not None:
        raise IrodsError(codes.CAT_NAME_EXISTS_AS_COLLECTION, path)
    if s.cat.replicas(path):  # somebody was quicker
        raise IrodsError(codes.CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME, path)
    data_id, t = s.cat.new_id(db), now()
    file = vault_file(leaf["vault"], data_id, 0)
    db.execute(
        "INSERT INTO data(id,repl,coll_id,name,size,type,resc_id,path,owner,ozone,status,"
        "mode,ctime,mtime,atime) VALUES(?,0,?,?,0,?,?,?,?,?,?,?,?,?,?)",
        (data_id, coll["id"], name, kw.get("dataType") or "generic", leaf["id"], file, s.name,
         s.zone, status, str(mode), t, t, t),
    )  # fmt: skip
    s.cat.grant_new(db, data_id, s.uid, coll)
    return data_id, file


def add_replica(db: Any, source: Any, leaf: Any) -> tuple[int, str]:
    """The row of one more replica, not yet written: its number and vault file."""
    last = db.execute("SELECT max(repl) FROM data WHERE id=?", (source["id"],)).fetchone()[0]
    file, t = vault_file(leaf["vault"], source["id"], last + 1), now()
    db.execute(
        "INSERT INTO data SELECT id,?,coll_id,name,size,type,?,?,owner,ozone,2,"
        "'',expiry,comments,mode,?,?,? FROM data WHERE id=? AND repl=?",
        (last + 1, leaf["id"], file, t, t, t, source["id"], source["repl"]),
    )
    return last + 1, file


def copy_replica(s: Session, source: Any, leaf: Any, target: Any = None) -> None:
    """Make or refresh a replica on a leaf from a good one."""
    with s.cat.tx() as db:
        if target is None:
            repl, file = add_replica(db, source, leaf)
        else:
            repl, file = target["repl"], target["path"]
            db.execute("UPDATE data SET status=2 WHERE id=? AND repl=?", (source["id"], repl))
    try:
        size = copy_file(source, file)
    except BaseException:
        with s.cat.tx() as db:
            if target is None:
                unlink([file])
                db.execute("DELETE FROM data WHERE id=? AND repl=?", (source["id"], repl))
            else:
                db.execute("UPDATE data SET status=0 WHERE id=? AND repl=?", (source["id"], repl))
        raise
    with s.cat.tx(durable=True) as db:
        db.execute(
            "UPDATE data SET status=1, size=?, checksum=?, mtime=? WHERE id=? AND repl=?",
            (size, source["checksum"], now(), source["id"], repl),
        )


def copy_file(source: Any, file: str) -> int:
    """Copy a replica's bytes to a vault file, onto the disk; returns how many there are.

    Raises `IrodsError` (USER_CHKSUM_MISMATCH) if they are not what the replica's checksum says.
    """
    fd = create_file(file)
    try:
        src = open_file(source["path"], os.O_RDONLY)
        try:
            copy_bytes(src, fd)
        finally:
            os.close(src)
        sync_file(fd)
        wanted = source["checksum"]
        if wanted and checksum_fd(fd, kind_of(wanted)) != wanted:
            raise IrodsError(codes.USER_CHKSUM_MISMATCH, "the source is not what its checksum says")
        return os.fstat(fd).st_size
    finally:
        os.close(fd)


def finish(s: Session, h: Handle, kw: dict[str, str]) -> None:
    """A written replica is complete: sync, checksum, commit, and bring the tree along."""
    assert h.lock is not None
    size = os.fstat(h.fd).st_size
    checksum, bad = "", None
    if "regChksum" in kw or "verifyChksum" in kw:
        expected = kw.get("verifyChksum", "")
        checksum = checksum_fd(h.fd, kind_of(expected or kw.get("regChksum", "")))
        try:
            check_expected(expected, checksum)
        except IrodsError as e:
            bad = e
    sync_file(h.fd)
    if h.lock.broken:
        bad = IrodsError(codes.SYS_COPY_LEN_ERR, "a connection that wrote along was lost")
    status = GOOD if bad is None else STALE
    rows = s.cat.rows("SELECT repl, resc_id FROM data WHERE id=?", h.data_id)
    own = next(r["resc_id"] for r in rows if r["repl"] == h.repl)
    # Where the tree makes more replicas, their commit is what brings this one to the disk too.
    last = bad is not None or not companions(s, own, [r["resc_id"] for r in rows])
    with s.cat.tx(durable=last) as db:
        t = now()
        db.execute(
            "UPDATE data SET size=?, checksum=?, mtime=? WHERE id=? AND repl=?",
            (size, checksum if bad is None else "", t, h.data_id, h.repl),
        )
        publish(db, h.lock, status)
    if bad is not None:
        raise bad
    spread(s, h.data_id, h.repl)


def spread(s: Session, data_id: int, repl: int) -> None:
    """Where a tree replicates, every branch gets a good replica."""
    rows = s.cat.rows("SELECT * FROM data WHERE id=? ORDER BY repl", data_id)
    source = next(r for r in rows if r["repl"] == repl)
    for leaf in companions(s, source["resc_id"], [r["resc_id"] for r in rows]):
        target = next((r for r in rows if r["resc_id"] == leaf["id"]), None)
        if target is None or target["status"] != GOOD:
            copy_replica(s, source, leaf, target)


def remove(s: Session, db: Any, rows: list[Any]) -> list[str]:
    """Take a data object out of the catalog; the files to delete after the commit."""
    data_id = rows[0]["id"]
    check_at_rest(s, data_id)
    db.execute("DELETE FROM data WHERE id=?", (data_id,))
    forget(db, data_id)
    return [r["path"] for r in rows]


def forget(db: Any, object_id: int) -> None:
    """Rights and metadata of an object that is gone."""
    db.execute("DELETE FROM access WHERE object_id=?", (object_id,))
    db.execute("DELETE FROM objt WHERE object_id=?", (object_id,))
    db.execute("DELETE FROM ticket WHERE object_id=?", (object_id,))


def inside_vault(s: Session, row: Any) -> bool:
    """Only vault files are ever deleted, not files that were registered in place."""
    resc = s.cat.resources.get(row["resc_id"])
    return resc is not None and in_vault(row["path"], resc["vault"], row["id"], row["repl"])
