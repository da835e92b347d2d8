"""Replicas: checksums, replication, trimming, copying, touching, truncating."""

from __future__ import annotations

import errno
import json
import os
from typing import Any

from . import codes
from .catalog import OWN, READ, WRITE, clean, now, split
from .doomed import bury, doom, spare
from .locks import GOOD, check_free
from .objects import asked, copy_file, copy_replica, inside_vault, need, pick
from .opening import close, exclusive, open_object, overwritten_where_it_is, unreadable
from .request import Reply, Request, api, json_reply, json_string
from .session import Session
from .tree import chosen, leaves, root_of, target
from .vault import checksum_file, kind_of, vault_file
from .wire import IrodsError, pack

UNREGISTER = 26  # the operation type of clients that want the file kept


@api(629)
def data_chksum(s: Session, r: Request) -> Reply:
    """Register or verify checksums, always from the vault's bytes."""
    kw = r.node.keywords()
    path = clean(r.node.get("objPath"))
    rows = s.cat.replicas(path)
    if not rows:
        raise IrodsError(
            codes.OBJ_PATH_DOES_NOT_EXIST if s.cat.coll(path) is None else codes.CAT_UNKNOWN_FILE,
            path,
        )
    need(s, rows[0]["id"], READ, codes.OBJ_PATH_DOES_NOT_EXIST)
    if "replNum" in kw:
        rows = [x for x in rows if x["repl"] == int(kw["replNum"])]
        if not rows:
            raise IrodsError(codes.SYS_REPLICA_DOES_NOT_EXIST, "no such replica")
    elif (
        kw.get("destRescName")
        or kw.get("rescName")
        or ("ChksumAll" not in kw and "verifyChksum" not in kw)
    ):
        rows = asked(s, rows, kw)[:1]
        if not rows:
            raise IrodsError(codes.SYS_REPLICA_DOES_NOT_EXIST, "no such replica")
    check_free(s, rows[0]["id"])
    if "verifyChksum" in kw:
        return verify(s, rows)
    result = ""
    for row in rows:
        if row["status"] != GOOD and len(rows) > 1:
            continue
        value = row["checksum"]
        if not value or "forceChksum" in kw:
            value = _register_checksum(s, row)
        result = result or value
    return Reply(0, pack("STR_PI", myStr=result))


def _register_checksum(s: Session, row: Any) -> str:
    """Compute a replica's checksum and keep it, unless the bytes changed while they were read."""
    try:
        before = os.lstat(row["path"])
        value = checksum_file(row["path"])
    except (OSError, IrodsError):
        raise unreadable(s, row, FileNotFoundError(errno.ENOENT, "no file")) from None
    with s.cat.tx(durable=True) as db:
        check_free(s, row["id"])
        try:
            after = os.lstat(row["path"])
        except OSError as e:
            raise unreadable(s, row, e) from None
        if (before.st_ino, before.st_mtime_ns) != (after.st_ino, after.st_mtime_ns):
            raise IrodsError(codes.LOCKED_DATA_OBJECT_ACCESS, "the replica changed meanwhile")
        db.execute(
            "UPDATE data SET checksum=? WHERE id=? AND repl=?", (value, row["id"], row["repl"])
        )
    return value


def verify(s: Session, rows: list[Any]) -> Reply:
    """Recompute every good replica; say what does not agree."""
    found: list[dict[str, object]] = []
    for row in rows:
        if row["status"] == GOOD:
            _verify_one(row, found)
    if len({row["checksum"] for row in rows if row["status"] == GOOD and row["checksum"]}) > 1:
        _note(
            found,
            codes.USER_CHKSUM_MISMATCH,
            "WARNING: Data object has replicas with different checksums.",
        )
    if not found:
        return Reply()
    return Reply(codes.CHECK_VERIFICATION_RESULTS, pack("STR_PI", myStr=json.dumps(found)))


def _note(found: list[dict[str, object]], code: int, message: str) -> None:
    severity = message.partition(":")[0].lower()
    found.append({"error_code": code, "message": message, "severity": severity})


def _verify_one(row: Any, found: list[dict[str, object]]) -> None:
    which = f"replica [{row['repl']}]."
    try:
        size = os.lstat(row["path"]).st_size
    except OSError as e:
        _note(
            found,
            codes.UNIX_FILE_STAT_ERR - (e.errno or 0),
            f"ERROR: Could not stat file of {which}",
        )
        return
    if size != row["size"]:
        _note(
            found,
            codes.USER_FILE_SIZE_MISMATCH,
            f"ERROR: Physical size does not match size in catalog for {which}",
        )
    elif not row["checksum"]:
        _note(
            found, codes.CAT_NO_CHECKSUM_FOR_REPLICA, f"WARNING: No checksum available for {which}"
        )
    elif checksum_file(row["path"], kind_of(row["checksum"])) != row["checksum"]:
        said = "Computed checksum does not match what is in the catalog for"
        _note(found, codes.USER_CHKSUM_MISMATCH, f"ERROR: {said} {which}")


@api(695)
def data_repl(s: Session, r: Request) -> Reply:
    """Replicate to a resource, or refresh stale replicas."""
    kw = r.node.keywords()
    path = clean(r.node.get("objPath"))
    with exclusive(s, path, READ) as rows:
        done = _replicate(s, rows, kw)
    return Reply(0, pack("TransferStat_PI", numThreads=0, flags=0, bytesWritten=done))


def _replicate(s: Session, rows: list[Any], kw: dict[str, str]) -> int:
    """Copy to wherever the keywords say a good replica is missing; the size of the object."""
    good = [x for x in rows if x["status"] == GOOD]
    if kw.get("replNum"):
        good = [x for x in good if x["repl"] == int(kw["replNum"])]
    if not good:
        raise IrodsError(codes.SYS_REPLICA_DOES_NOT_EXIST, "no good replica")
    source = good[0]
    if kw.get("dest_resc_hier"):
        wanted = [target(s, {"resc_hier": kw["dest_resc_hier"]})]
    elif "updateRepl" in kw or ("all" in kw and not kw.get("destRescName")):
        wanted = [s.cat.resources[row["resc_id"]] for row in rows]
    else:
        root = chosen(s, kw)
        there = [
            s.cat.resources[x["resc_id"]] for x in rows if root_of(s, x["resc_id"]) == root["id"]
        ]
        # Where a branch holds a replica the others get none, not even below a replicating root.
        chooses = root["type"] in ("random", "replication")
        wanted = there if chooses and there else leaves(s, root)
    for leaf in wanted:
        row = next((x for x in rows if x["resc_id"] == leaf["id"]), None)
        # A good one that is there already is no error.
        if row is None or row["status"] != GOOD:
            copy_replica(s, source, leaf, row)
    return int(source["size"])


@api(632)
def data_trim(s: Session, r: Request) -> Reply:
    """Trim replicas, never the last good one; the number trimmed is the status."""
    kw = r.node.keywords()
    path = clean(r.node.get("objPath"))
    with exclusive(s, path, OWN) as rows:
        return Reply(_trim(s, rows, kw, r.node.num("oprType") == UNREGISTER))


def _trim(s: Session, rows: list[Any], kw: dict[str, str], keep_files: bool) -> int:
    """Take replicas away as the keywords say; 1 if any went."""
    keep = int(kw.get("copies") or 2)
    pool = rows
    if kw.get("replNum"):
        pool = [x for x in rows if x["repl"] == int(kw["replNum"])]
        if not pool:
            raise IrodsError(codes.SYS_REPLICA_DOES_NOT_EXIST, "no such replica")
        keep = max(1, int(kw["copies"])) if kw.get("copies") else 1
    elif kw.get("rescName"):
        root = chosen(s, kw)
        pool = [x for x in rows if root_of(s, x["resc_id"]) == root["id"]]
    # Stale ones go first: they are not needed to keep the wanted number of good ones.
    pool = sorted(pool, key=lambda x: (x["status"] == GOOD, -x["repl"]))
    gone: list[Any] = []
    for row in pool:
        left = [x for x in rows if x not in gone and x is not row]
        good = sum(x["status"] == GOOD for x in left)
        if row["status"] == GOOD and (len(left) < keep or not good):
            continue
        if not left:
            continue
        gone.append(row)
    if gone and "dryrun" not in kw:
        doomed = [x["path"] for x in gone if inside_vault(s, x)]
        if keep_files or kw.get("oprType") == str(UNREGISTER):
            doomed = []
        with s.cat.tx(durable=True) as db:
            for row in gone:
                db.execute("DELETE FROM data WHERE id=? AND repl=?", (row["id"], row["repl"]))
            doom(db, doomed)
        bury(s.cat, doomed)
    return 1 if gone else 0


@api(696)
def data_copy(s: Session, r: Request) -> Reply:
    """Copy a data object inside the zone."""
    a, b = r.node.children[0], r.node.children[1]
    target, kw = clean(b.get("objPath")), b.keywords()
    for path in (target, a.get("objPath")):
        if s.cat.one("SELECT 1 FROM zone WHERE name=?", clean(path).split("/")[1]) is None:
            raise IrodsError(codes.USER_INPUT_PATH_ERR, path)
    rows = s.cat.replicas(target)
    if rows and "forceFlag" not in kw:
        raise IrodsError(codes.OVERWRITE_WITHOUT_FORCE_FLAG, target)
    overwritten_where_it_is(s, rows, kw)
    src = open_object(s, clean(a.get("objPath")), 0, a.keywords())
    try:
        row = s.cat.one("SELECT * FROM data WHERE id=? AND repl=?", src.data_id, src.repl)
        if row["checksum"]:
            kw.setdefault("regChksum", "")
        h = open_object(s, target, os.O_RDWR | os.O_CREAT | os.O_TRUNC, kw)
        fd = s.free_fd()
        s.handles[fd] = h
        at = 0
        while block := os.pread(src.fd, 1 << 20, at):
            at += os.pwrite(h.fd, block, at)
        close(s, fd, kw)
    finally:
        os.close(src.fd)
    return Reply(0, pack("TransferStat_PI", numThreads=0, flags=0, bytesWritten=at))


@api(697)
def data_move(s: Session, r: Request) -> Reply:
    """Move a replica, which keeps its number, to another resource: the file, then the catalog."""
    kw = r.node.keywords()
    with exclusive(s, clean(r.node.get("objPath")), OWN) as rows:
        size = _move(s, rows, kw)
    return Reply(0, pack("TransferStat_PI", numThreads=0, flags=0, bytesWritten=size))


def _move(s: Session, rows: list[Any], kw: dict[str, str]) -> int:
    if not any(kw.get(key) for key in ("rescName", "replNum", "resc_hier")):
        said = "Source hierarchy or leaf resource or replica number required - none provided."
        raise IrodsError(codes.USER_NULL_INPUT_ERR, said, tell=True)
    source = pick(s, rows, {k: kw[k] for k in ("rescName", "replNum", "resc_hier") if k in kw})
    leaf = leaves(s, chosen(s, {"destRescName": kw.get("destRescName", "")}))[0]
    if source["resc_id"] == leaf["id"]:
        return 0
    if any(x["resc_id"] == leaf["id"] for x in rows):
        raise IrodsError(codes.SYS_COPY_ALREADY_IN_RESC, "a replica is there already")
    file = vault_file(leaf["vault"], source["id"], source["repl"])
    with s.cat.tx(durable=True) as db:
        doom(db, [file])  # unless all of it gets there
    try:
        size = copy_file(source, file)
    except BaseException:
        bury(s.cat, [file])
        raise
    with s.cat.tx(durable=True) as db:
        spare(db, file)
        db.execute(
            "UPDATE data SET resc_id=?, path=?, mtime=? WHERE id=? AND repl=?",
            (leaf["id"], file, now(), source["id"], source["repl"]),
        )
        doomed = [source["path"]] if inside_vault(s, source) else []
        doom(db, doomed)
    bury(s.cat, doomed)
    return size


@api(20007)
def touch(s: Session, r: Request) -> Reply:
    """Create an empty object or set a time."""
    data = r.json()
    path, opt = clean(str(data.get("logical_path", ""))), data.get("options") or {}
    t = f"{int(opt.get('seconds_since_epoch') or now()):011d}"
    coll, rows = s.cat.coll(path), s.cat.replicas(path)
    if coll is None and not rows:
        if opt.get("no_create"):
            return json_reply({})
        if s.cat.coll(split(path)[0]) is None:
            raise IrodsError(codes.OBJ_PATH_DOES_NOT_EXIST, path)
        kw = {"destRescName": str(opt.get("leaf_resource_name") or "")}
        number = s.free_fd()
        s.handles[number] = open_object(s, path, os.O_RDWR | os.O_CREAT, kw, 0o644)
        close(s, number, {})
        rows = s.cat.replicas(path)
        if "seconds_since_epoch" not in opt:
            return json_reply({})
    with s.cat.tx() as db:
        if coll is not None:
            need(s, coll["id"], WRITE)
            db.execute("UPDATE coll SET mtime=? WHERE id=?", (t, coll["id"]))
        else:
            need(s, rows[0]["id"], WRITE)
            repl = opt.get("replica_number", pick(s, rows, {})["repl"])
            db.execute("UPDATE data SET mtime=? WHERE id=? AND repl=?", (t, rows[0]["id"], repl))
    return json_reply({})


@api(652, 802)
def truncate(s: Session, r: Request) -> Reply:
    """Cut or extend a replica; the others of the object become stale."""
    path, kw = clean(r.node.get("objPath")), r.node.keywords()
    size = r.node.num("dataSize")
    rows = s.cat.replicas(path)
    if not rows:
        raise _refused(codes.OBJ_PATH_DOES_NOT_EXIST, "Data object does not exist.")
    need(s, rows[0]["id"], WRITE, codes.OBJ_PATH_DOES_NOT_EXIST)
    row = next(iter(asked(s, rows, kw)), None)
    if row is None:
        raise _refused(codes.SYS_REPLICA_INACCESSIBLE, "No replica on the named resource.")
    note = {"replica_number": row["repl"], "resource_hierarchy": s.cat.hier(row["resc_id"]),
            "message": ""}  # fmt: skip
    if size < 0:
        raise _refused(codes.UNIX_FILE_TRUNCATE_ERR - errno.EINVAL, "Size is negative.", note)
    number = s.free_fd()
    h = s.handles[number] = open_object(s, path, os.O_RDWR, {"replNum": str(row["repl"])})
    h.written()
    os.ftruncate(h.fd, size)
    close(s, number, {})
    return Reply() if r.api == 652 else json_string(note)


def _refused(code: int, message: str, note: dict[str, Any] | None = None) -> IrodsError:
    """An error that says in JSON what is the matter."""
    body = json.dumps({"replica_number": -1, "resource_hierarchy": "", **(note or {}),
                       "message": message})  # fmt: skip
    return IrodsError(code, message, body=pack("STR_PI", myStr=body))
