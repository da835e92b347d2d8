"""Replicas: where they lie, how they are written, finished, copied and removed."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from .access_control import require_access
from .catalog import WRITE, split_path, timestamp
from .error_codes import ErrorCode
from .errors import IrodsError
from .logical_locking import GOOD, STALE, WriteLock, finalize, restore
from .resource_hierarchy import named_resource, replicating_siblings, root_id
from .session import Session
from .vault import (
    checksum_fd,
    checksum_scheme,
    copy_bytes,
    create_file,
    delete_files,
    is_vault_path,
    open_file,
    sync_file,
    vault_file,
    verify_expected,
)


@dataclass
class OpenReplica:
    """An opened replica."""

    session: Session
    fd: int
    path: str
    data_id: int
    repl: int
    write: bool
    created: bool
    logical_path: str
    offset: int = 0
    dirty: bool = False
    lock: WriteLock | None = None
    append: bool = False  # whatever is written goes to the end
    shared: bool = False  # writes along under another connection's lock
    transfer: dict[str, str] | None = None  # keywords of a put or get that is complete later
    checksums: dict[str, str] = field(default_factory=dict)  # keywords of the open for the close
    open_keywords: dict[str, str] = field(default_factory=dict)  # keywords of the open
    by_ticket: bool = False  # by a ticket, whose limits count what is written

    def mark_written(self) -> None:
        """Note that bytes changed; raises `IrodsError` if the lock that allowed it is gone."""
        if self.lock is not None:
            if self.lock.released:
                raise IrodsError(
                    ErrorCode.SYS_BAD_FILE_DESCRIPTOR,
                    "the replica was closed by the one who opened it",
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
            with s.catalog.transaction() as db:
                if not held.dirty:
                    restore(db, held)
                    return
                db.execute(
                    "UPDATE data SET size=?, checksum='', mtime=? WHERE id=? AND repl=?",
                    (size, timestamp(), held.data_id, held.repl),
                )
                finalize(db, held, STALE)
        finally:
            s.zone.locks.release(held)


def choose_replica(session: Session, rows: list[Any], keywords: dict[str, str]) -> Any:
    """The replica to read: a good one, on the named resource if there is one."""
    here = matching_replicas(session, rows, keywords)
    if keywords.get("replNum") or keywords.get("resc_hier"):
        if not here:
            raise IrodsError(ErrorCode.SYS_REPLICA_DOES_NOT_EXIST, "no such replica")
        return here[0]
    good = [r for r in rows if r["status"] == GOOD]
    return ([r for r in here if r["status"] == GOOD] or good or here or rows)[0]


def matching_replicas(session: Session, rows: list[Any], keywords: dict[str, str]) -> list[Any]:
    """The replicas that keywords name, good ones first; all if they name none."""
    if keywords.get("replNum"):
        return [r for r in rows if str(r["repl"]) == keywords["replNum"].strip()]
    if keywords.get("resc_hier"):
        return [r for r in rows if session.catalog.hierarchy(r["resc_id"]) == keywords["resc_hier"]]
    root = named_resource(session, keywords, default=False)
    if root is not None:
        rows = [r for r in rows if root_id(session, r["resc_id"]) == root["id"]]
    return sorted(rows, key=lambda r: r["status"] != GOOD)


def insert_data_object(
    session: Session,
    db: Any,
    path: str,
    leaf: Any,
    status: int,
    keywords: dict[str, str],
    mode: int = 0,
) -> tuple[int, str]:
    """A new data object's first row: its id and vault file."""
    parent, name = split_path(path)
    coll = session.catalog.collection(parent)
    if coll is None:
        raise IrodsError(ErrorCode.OBJ_PATH_DOES_NOT_EXIST, parent)
    require_access(session, coll["id"], WRITE, ErrorCode.CAT_NO_ACCESS_PERMISSION)
    if session.catalog.collection(path) is not None:
        raise IrodsError(ErrorCode.CAT_NAME_EXISTS_AS_COLLECTION, path)
    if session.catalog.replicas(path):  # somebody was quicker
        raise IrodsError(ErrorCode.CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME, path)
    data_id, t = session.catalog.new_id(db), timestamp()
    file = vault_file(leaf["vault"], data_id, 0)
    db.execute(
        "INSERT INTO data(id,repl,coll_id,name,size,type,resc_id,path,owner,ozone,status,"
        "mode,ctime,mtime,atime) VALUES(?,0,?,?,0,?,?,?,?,?,?,?,?,?,?)",
        (data_id, coll["id"], name, keywords.get("dataType") or "generic", leaf["id"], file, session.user_name,
         session.user_zone, status, str(mode), t, t, t),
    )  # fmt: skip
    session.catalog.add_initial_access(db, data_id, session.user_id, coll)
    return data_id, file


def add_replica(db: Any, source: Any, leaf: Any) -> tuple[int, str]:
    """The row of one more replica, not yet written: its number and vault file."""
    last = db.execute("SELECT max(repl) FROM data WHERE id=?", (source["id"],)).fetchone()[0]
    file, t = vault_file(leaf["vault"], source["id"], last + 1), timestamp()
    db.execute(
        "INSERT INTO data SELECT id,?,coll_id,name,size,type,?,?,owner,ozone,2,"
        "'',expiry,comments,mode,?,?,? FROM data WHERE id=? AND repl=?",
        (last + 1, leaf["id"], file, t, t, t, source["id"], source["repl"]),
    )
    return last + 1, file


def copy_replica(session: Session, source: Any, leaf: Any, target: Any = None) -> None:
    """Make or refresh a replica on a leaf from a good one."""
    with session.catalog.transaction() as db:
        if target is None:
            repl, file = add_replica(db, source, leaf)
        else:
            repl, file = target["repl"], target["path"]
            db.execute("UPDATE data SET status=2 WHERE id=? AND repl=?", (source["id"], repl))
    try:
        size = copy_to_vault(source, file)
    except BaseException:
        with session.catalog.transaction() as db:
            if target is None:
                delete_files([file])
                db.execute("DELETE FROM data WHERE id=? AND repl=?", (source["id"], repl))
            else:
                db.execute("UPDATE data SET status=0 WHERE id=? AND repl=?", (source["id"], repl))
        raise
    with session.catalog.transaction(durable=True) as db:
        db.execute(
            "UPDATE data SET status=1, size=?, checksum=?, mtime=? WHERE id=? AND repl=?",
            (size, source["checksum"], timestamp(), source["id"], repl),
        )


def copy_to_vault(source: Any, file: str) -> int:
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
        if wanted and checksum_fd(fd, checksum_scheme(wanted)) != wanted:
            raise IrodsError(
                ErrorCode.USER_CHKSUM_MISMATCH, "the source is not what its checksum says"
            )
        return os.fstat(fd).st_size
    finally:
        os.close(fd)


def finish_writing(session: Session, handle: OpenReplica, keywords: dict[str, str]) -> None:
    """A written replica is complete: sync, checksum, commit, and bring the tree along."""
    assert handle.lock is not None
    size = os.fstat(handle.fd).st_size
    checksum, bad = "", None
    if "regChksum" in keywords or "verifyChksum" in keywords:
        expected = keywords.get("verifyChksum", "")
        checksum = checksum_fd(
            handle.fd, checksum_scheme(expected or keywords.get("regChksum", ""))
        )
        try:
            verify_expected(expected, checksum)
        except IrodsError as e:
            bad = e
    sync_file(handle.fd)
    if handle.lock.broken:
        bad = IrodsError(ErrorCode.SYS_COPY_LEN_ERR, "a connection that wrote along was lost")
    status = GOOD if bad is None else STALE
    rows = session.catalog.rows("SELECT repl, resc_id FROM data WHERE id=?", handle.data_id)
    own = next(r["resc_id"] for r in rows if r["repl"] == handle.repl)
    # Where the tree makes more replicas, their commit is what brings this one to the disk too.
    last = bad is not None or not replicating_siblings(session, own, [r["resc_id"] for r in rows])
    with session.catalog.transaction(durable=last) as db:
        t = timestamp()
        db.execute(
            "UPDATE data SET size=?, checksum=?, mtime=? WHERE id=? AND repl=?",
            (size, checksum if bad is None else "", t, handle.data_id, handle.repl),
        )
        finalize(db, handle.lock, status)
    if bad is not None:
        raise bad
    replicate_to_siblings(session, handle.data_id, handle.repl)


def replicate_to_siblings(session: Session, data_id: int, repl: int) -> None:
    """Where a tree replicates, every branch gets a good replica."""
    rows = session.catalog.rows("SELECT * FROM data WHERE id=? ORDER BY repl", data_id)
    source = next(r for r in rows if r["repl"] == repl)
    for leaf in replicating_siblings(session, source["resc_id"], [r["resc_id"] for r in rows]):
        target = next((r for r in rows if r["resc_id"] == leaf["id"]), None)
        if target is None or target["status"] != GOOD:
            copy_replica(session, source, leaf, target)


def delete_data_object(session: Session, db: Any, rows: list[Any]) -> list[str]:
    """Take a data object out of the catalog; the files to delete after the commit."""
    data_id = rows[0]["id"]
    session.zone.locks.check_at_rest(db, data_id)
    db.execute("DELETE FROM data WHERE id=?", (data_id,))
    delete_dependents(db, data_id)
    return [r["path"] for r in rows]


def delete_dependents(db: Any, object_id: int) -> None:
    """Rights and metadata of an object that is gone."""
    db.execute("DELETE FROM access WHERE object_id=?", (object_id,))
    db.execute("DELETE FROM objt WHERE object_id=?", (object_id,))
    db.execute("DELETE FROM ticket WHERE object_id=?", (object_id,))


def is_vault_file(session: Session, row: Any) -> bool:
    """Only vault files are ever deleted, not files that were registered in place."""
    resc = session.catalog.resources.get(row["resc_id"])
    return resc is not None and is_vault_path(row["path"], resc["vault"], row["id"], row["repl"])
