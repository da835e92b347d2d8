"""Replicas of data objects: chosen, written, copied and removed."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass, field

from .access_control import require_access
from .catalog import WRITE, split_path, timestamp
from .error_codes import ErrorCode
from .errors import IrodsError
from .logical_locking import GOOD, INTERMEDIATE, STALE, WriteLock, finalize, restore
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
    """A replica that a client has open.

    Attributes
    ----------
    session : Session
        The client's connection.
    fd : int
        File descriptor of the vault file.
    path : str
        The vault file, or a file that was registered in place.
    data_id, repl : int
        The replica.
    write : bool
        Whether it is open for writing.
    logical_path : str
        Logical path of the data object.
    lock : WriteLock or None
        The write lock; None for reading.
    by_ticket : bool
        Whether a ticket grants the access, so that its limits count what is written.
    shared : bool
        Whether another connection owns the lock and this one has its token.
    offset : int
        Where the next read or write begins.
    append : bool
        Whether every write goes to the end.
    open_keywords : dict of str
        Keywords of the open, which apply when it is closed.
    transfer : dict of str or None
        Keywords of a put or get that OPR_COMPLETE will end.
    """

    session: Session
    fd: int
    path: str
    data_id: int
    repl: int
    write: bool
    logical_path: str
    lock: WriteLock | None = None
    by_ticket: bool = False
    shared: bool = False
    offset: int = 0
    append: bool = False
    open_keywords: dict[str, str] = field(default_factory=dict)
    transfer: dict[str, str] | None = None

    def mark_written(self) -> None:
        """Note that bytes change; raise SYS_BAD_FILE_DESCRIPTOR if the lock has ended."""
        if self.lock is not None:
            if self.lock.released:
                raise IrodsError(
                    ErrorCode.SYS_BAD_FILE_DESCRIPTOR,
                    "the connection that opened the replica has closed it",
                )
            self.lock.dirty = True

    def write_all(self, data: bytes | bytearray, offset: int) -> None:
        """Write bytes to the file.

        Parameters
        ----------
        data : bytes or bytearray
            What to write.
        offset : int
            Where.
        """
        view, done = memoryview(data), 0
        while done < len(view):
            done += os.pwrite(self.fd, view[done:], offset + done)

    def abandon(self) -> None:
        """Close the replica because the client is gone; if it was written it is stale."""
        os.close(self.fd)
        session, lock = self.session, self.lock
        session.handles = {k: h for k, h in session.handles.items() if h is not self}
        if lock is None:
            return
        if self.shared:
            lock.broken = True
            return
        try:
            size = os.stat(self.path).st_size
            with session.catalog.transaction() as db:
                if not lock.dirty:
                    restore(db, lock)
                    return
                db.execute(
                    "UPDATE data SET size=?, checksum='', mtime=? WHERE id=? AND repl=?",
                    (size, timestamp(), lock.data_id, lock.repl),
                )
                finalize(db, lock, STALE)
        finally:
            session.zone.locks.release(lock)


UNREG_OPR = 26  # oprType of requests that keep the file of what they unregister
_SET_STATUS = "UPDATE data SET status=? WHERE id=? AND repl=?"


def choose_replica(
    session: Session, rows: list[sqlite3.Row], keywords: dict[str, str]
) -> sqlite3.Row:
    """Choose the replica to read: a good one, on the named resource if it holds one.

    Parameters
    ----------
    session : Session
        The client's connection.
    rows : list of sqlite3.Row
        All replicas of the data object.
    keywords : dict of str
        Options of the request: ``replNum``, ``resc_hier`` or a resource.

    Returns
    -------
    sqlite3.Row
        The replica.

    Raises
    ------
    IrodsError
        SYS_REPLICA_DOES_NOT_EXIST: there is none with this number or hierarchy.
    """
    here = matching_replicas(session, rows, keywords)
    if keywords.get("replNum") or keywords.get("resc_hier"):
        if not here:
            raise IrodsError(ErrorCode.SYS_REPLICA_DOES_NOT_EXIST, "no such replica")
        return here[0]
    good = [r for r in rows if r["status"] == GOOD]
    return ([r for r in here if r["status"] == GOOD] or good or here or rows)[0]


def matching_replicas(
    session: Session, rows: list[sqlite3.Row], keywords: dict[str, str]
) -> list[sqlite3.Row]:
    """Return the replicas that keywords name, good ones first; without keywords all.

    Parameters
    ----------
    session : Session
        The client's connection.
    rows : list of sqlite3.Row
        All replicas of the data object.
    keywords : dict of str
        Options of the request: ``replNum``, ``resc_hier`` or a resource.

    Returns
    -------
    list of sqlite3.Row
        The replicas; possibly none.
    """
    if keywords.get("replNum"):
        return [r for r in rows if str(r["repl"]) == keywords["replNum"].strip()]
    if keywords.get("resc_hier"):
        return [r for r in rows if session.catalog.hierarchy(r["resc_id"]) == keywords["resc_hier"]]
    root = named_resource(session, keywords)
    if root is not None:
        rows = [r for r in rows if root_id(session, r["resc_id"]) == root["id"]]
    return sorted(rows, key=lambda r: r["status"] != GOOD)


def insert_data_object(
    session: Session,
    db: sqlite3.Connection,
    path: str,
    leaf: sqlite3.Row,
    status: int,
    keywords: dict[str, str],
    mode: int = 0,
) -> tuple[int, str]:
    """Insert a new data object with its first replica into the catalog.

    Parameters
    ----------
    session : Session
        The client's connection.
    db : sqlite3.Connection
        The open transaction.
    path : str
        Logical path.
    leaf : sqlite3.Row
        Storage resource of the replica.
    status : int
        Status of the replica.
    keywords : dict of str
        Options of the request: ``dataType``.
    mode : int
        Permission bits to record.

    Returns
    -------
    int
        Data id.
    str
        The vault file, not created yet.

    Raises
    ------
    IrodsError
        The path is taken, there is no such collection, or the user may not write to it.
    """
    parent, name = split_path(path)
    coll = session.catalog.collection(parent)
    if coll is None:
        raise IrodsError(ErrorCode.OBJ_PATH_DOES_NOT_EXIST, parent)
    require_access(session, coll["id"], WRITE, ErrorCode.CAT_NO_ACCESS_PERMISSION)
    if session.catalog.collection(path) is not None:
        raise IrodsError(ErrorCode.CAT_NAME_EXISTS_AS_COLLECTION, path)
    if session.catalog.replicas(path):  # another client was faster
        raise IrodsError(ErrorCode.CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME, path)
    data_id, t = session.catalog.new_id(db), timestamp()
    file = vault_file(leaf["vault"], data_id, 0)
    db.execute(
        "INSERT INTO data(id,repl,coll_id,name,size,type,resc_id,path,owner,ozone,status,"
        "mode,ctime,mtime,atime) VALUES(?,0,?,?,0,?,?,?,?,?,?,?,?,?,?)",
        (data_id, coll["id"], name, keywords.get("dataType") or "generic", leaf["id"], file,
         session.user_name, session.user_zone, status, str(mode), t, t, t),
    )  # fmt: skip
    session.catalog.add_initial_access(db, data_id, session.user_id, coll)
    return data_id, file


def add_replica(db: sqlite3.Connection, source: sqlite3.Row, leaf: sqlite3.Row) -> tuple[int, str]:
    """Insert one more replica, to be written, into the catalog.

    Parameters
    ----------
    db : sqlite3.Connection
        The open transaction.
    source : sqlite3.Row
        Another replica of the data object.
    leaf : sqlite3.Row
        Storage resource of the new one.

    Returns
    -------
    int
        Replica number.
    str
        The vault file, not created yet.
    """
    last = db.execute("SELECT max(repl) FROM data WHERE id=?", (source["id"],)).fetchone()[0]
    file, t = vault_file(leaf["vault"], source["id"], last + 1), timestamp()
    db.execute(
        "INSERT INTO data SELECT id,?,coll_id,name,size,type,?,?,owner,ozone,?,"
        "'',expiry,comments,mode,?,?,? FROM data WHERE id=? AND repl=?",
        (last + 1, leaf["id"], file, INTERMEDIATE, t, t, t, source["id"], source["repl"]),
    )
    return last + 1, file


def copy_replica(
    session: Session, source: sqlite3.Row, leaf: sqlite3.Row, target: sqlite3.Row | None = None
) -> None:
    """Make or refresh a replica from a good one.

    Parameters
    ----------
    session : Session
        The client's connection.
    source : sqlite3.Row
        A good replica.
    leaf : sqlite3.Row
        Storage resource of the copy.
    target : sqlite3.Row, optional
        The replica to refresh; by default a new one is made.

    Raises
    ------
    IrodsError, OSError
        As of `copy_to_vault`. A new replica is then removed, an old one is stale.
    """
    with session.catalog.transaction() as db:
        if target is None:
            repl, file = add_replica(db, source, leaf)
        else:
            repl, file = target["repl"], target["path"]
            db.execute(_SET_STATUS, (INTERMEDIATE, source["id"], repl))
    try:
        size = copy_to_vault(source, file)
    except BaseException:
        with session.catalog.transaction() as db:
            if target is None:
                delete_files([file])
                db.execute("DELETE FROM data WHERE id=? AND repl=?", (source["id"], repl))
            else:
                db.execute(_SET_STATUS, (STALE, source["id"], repl))
        raise
    with session.catalog.transaction(durable=True) as db:
        db.execute(
            "UPDATE data SET status=?, size=?, checksum=?, mtime=? WHERE id=? AND repl=?",
            (GOOD, size, source["checksum"], timestamp(), source["id"], repl),
        )


def copy_to_vault(source: sqlite3.Row, file: str) -> int:
    """Copy a replica's bytes to a vault file and sync it.

    Parameters
    ----------
    source : sqlite3.Row
        The replica.
    file : str
        The vault file.

    Returns
    -------
    int
        Number of bytes.

    Raises
    ------
    IrodsError
        USER_CHKSUM_MISMATCH: the bytes do not match the replica's checksum.
    OSError
        A file cannot be read or written.
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
    """Finish a written replica: sync it, compute its checksum, set statuses, replicate it.

    Parameters
    ----------
    session : Session
        The client's connection.
    handle : OpenReplica
        The replica, still open.
    keywords : dict of str
        ``regChksum`` has the checksum computed, ``verifyChksum`` also compared.

    Raises
    ------
    IrodsError
        USER_CHKSUM_MISMATCH, or SYS_COPY_LEN_ERR if a connection that wrote the replica too was
        lost; the replica is then stale.
    """
    assert handle.lock is not None
    size = os.fstat(handle.fd).st_size
    checksum = ""
    bad: IrodsError | None = None
    if "regChksum" in keywords or "verifyChksum" in keywords:
        expected = keywords.get("verifyChksum", "")
        scheme = checksum_scheme(expected or keywords.get("regChksum", ""))
        checksum = checksum_fd(handle.fd, scheme)
        try:
            verify_expected(expected, checksum)
        except IrodsError as e:
            bad = e
    sync_file(handle.fd)
    if handle.lock.broken:
        bad = IrodsError(
            ErrorCode.SYS_COPY_LEN_ERR, "a connection that wrote the same replica was lost"
        )
    status = GOOD if bad is None else STALE
    rows = session.catalog.rows("SELECT repl, resc_id FROM data WHERE id=?", handle.data_id)
    own = next(r["resc_id"] for r in rows if r["repl"] == handle.repl)
    # If siblings follow, the commit of the last of them syncs this one to the disk as well.
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
    """Make a good replica on every branch of a replicating resource.

    Parameters
    ----------
    session : Session
        The client's connection.
    data_id, repl : int
        A good replica.
    """
    rows = session.catalog.rows("SELECT * FROM data WHERE id=? ORDER BY repl", data_id)
    source = next(r for r in rows if r["repl"] == repl)
    for leaf in replicating_siblings(session, source["resc_id"], [r["resc_id"] for r in rows]):
        target = next((r for r in rows if r["resc_id"] == leaf["id"]), None)
        if target is None or target["status"] != GOOD:
            copy_replica(session, source, leaf, target)


def delete_data_object(session: Session, db: sqlite3.Connection, rows: list[sqlite3.Row]) -> None:
    """Delete a data object from the catalog, but not its files.

    Parameters
    ----------
    session : Session
        The client's connection.
    db : sqlite3.Connection
        The open transaction.
    rows : list of sqlite3.Row
        All its replicas.

    Raises
    ------
    IrodsError
        LOCKED_DATA_OBJECT_ACCESS: it is being written.
    """
    data_id = rows[0]["id"]
    session.zone.locks.check_at_rest(db, data_id)
    db.execute("DELETE FROM data WHERE id=?", (data_id,))
    delete_dependents(db, data_id)


def delete_dependents(db: sqlite3.Connection, object_id: int) -> None:
    """Delete access, metadata and tickets of an object that is gone.

    Parameters
    ----------
    db : sqlite3.Connection
        The open transaction.
    object_id : int
        Id of a data object or collection.
    """
    db.execute("DELETE FROM access WHERE object_id=?", (object_id,))
    db.execute("DELETE FROM objt WHERE object_id=?", (object_id,))
    db.execute("DELETE FROM ticket WHERE object_id=?", (object_id,))


def is_vault_file(session: Session, row: sqlite3.Row) -> bool:
    """Return whether a replica's file lies in a vault; files registered in place are never deleted.

    Parameters
    ----------
    session : Session
        The client's connection.
    row : sqlite3.Row
        The replica.

    Returns
    -------
    bool
        Whether it lies in the vault of its resource.
    """
    resc = session.catalog.resources.get(row["resc_id"])
    return resc is not None and is_vault_path(row["path"], resc["vault"], row["id"], row["repl"])
