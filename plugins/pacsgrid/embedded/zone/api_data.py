"""Data object APIs."""

from __future__ import annotations

import json
import os
import secrets
from typing import Any

from .catalog import OWN, READ, WRITE, clean, now, split
from .objects import (
    GOOD,
    INTERMEDIATE,
    Handle,
    checksum_file,
    chosen,
    copy_replica,
    create_file,
    finish,
    forget,
    insert,
    inside_vault,
    leaves,
    lock,
    need,
    pick,
    remove,
    root_of,
    unlink,
)  # fmt: skip
from .server import Reply, Request, Session, api, json_reply
from .wire import IrodsError, pack


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


@api(601, 602)
def data_open(s: Session, r: Request) -> Reply:
    """Open or create."""
    h = open_object(
        s, clean(r.node.get("objPath")), r.node.num("openFlags"), r.node.keywords(), r.api == 601,
        r.node.num("createMode"),
    )  # fmt: skip
    fd = s.free_fd()
    s.handles[fd] = h
    return Reply(fd)


def handle(s: Session, r: Request) -> Handle:
    """The handle a request names."""
    found = s.handles.get(r.node.num("l1descInx"))
    if not isinstance(found, Handle):
        raise IrodsError(-23000, "bad descriptor")
    return found


@api(676)
def data_write(s: Session, r: Request) -> Reply:
    """Write at the handle's offset."""
    h = handle(s, r)
    if not h.write:
        raise IrodsError(-19000, "not open for writing")
    view, done = memoryview(r.bs), 0
    while done < len(view):
        done += os.pwrite(h.fd, view[done:], h.offset + done)
    h.offset += done
    h.dirty = True
    return Reply(done)


@api(675)
def data_read(s: Session, r: Request) -> Reply:
    """Read at the handle's offset."""
    h = handle(s, r)
    size = min(max(r.node.num("len"), 0), 1 << 28)
    data = os.pread(h.fd, size, h.offset)
    h.offset += len(data)
    return Reply(len(data), b"", data)


@api(674)
def data_lseek(s: Session, r: Request) -> Reply:
    """Move the handle's offset."""
    h = handle(s, r)
    base = (0, h.offset, os.fstat(h.fd).st_size if r.node.num("whence") == 2 else 0)
    whence = r.node.num("whence")
    if whence not in (0, 1, 2) or base[whence] + r.node.num("offset") < 0:
        raise IrodsError(-504022, "bad seek")
    h.offset = base[whence] + r.node.num("offset")
    return Reply(0, pack("fileLseekOut_PI", offset=h.offset))


@api(673)
def data_close(s: Session, r: Request) -> Reply:
    """Close; what was written becomes good."""
    h = handle(s, r)
    close(s, r.node.num("l1descInx"), r.node.keywords())
    del h
    return Reply()


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


@api(606)
def data_put(s: Session, r: Request) -> Reply:
    """Put in a single buffer."""
    kw = r.node.keywords()
    if "dataIncluded" not in kw and r.node.num("dataSize") > 0:
        raise IrodsError(-12000, "put through a portal is not offered")
    path = clean(r.node.get("objPath"))
    if s.cat.replicas(path) and "forceFlag" not in kw:
        raise IrodsError(-312000, path)
    h = open_object(s, path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, kw, False,
                    r.node.num("createMode"))  # fmt: skip
    fd = s.free_fd()
    s.handles[fd] = h
    view, done = memoryview(r.bs), 0
    try:
        while done < len(view):
            done += os.pwrite(h.fd, view[done:], done)
    except OSError:
        del s.handles[fd]
        h.abandon()
        raise
    close(s, fd, kw)
    return Reply()


@api(608)
def data_get(s: Session, r: Request) -> Reply:
    """Get in a single buffer."""
    kw = r.node.keywords()
    h = open_object(s, clean(r.node.get("objPath")), 0, kw, False)
    try:
        data = os.pread(h.fd, os.fstat(h.fd).st_size, 0)
        checksum = ""
        if "verifyChksum" in kw:
            row = s.cat.one("SELECT checksum FROM data WHERE id=? AND repl=?", h.data_id, h.repl)
            checksum = row["checksum"] or checksum_file(h.path)
    finally:
        os.close(h.fd)
    return Reply(len(data), pack(
        "PortalOprOut_PI", status=0, l1descInx=0, numThreads=0, chksum=checksum
    ).replace(b"</PortalOprOut_PI>", b"<PortList_PI><portNum>0</portNum><cookie>0</cookie>"
              b"<sock>0</sock><windowSize>0</windowSize><hostAddr></hostAddr></PortList_PI>"
              b"</PortalOprOut_PI>"), data)  # fmt: skip


@api(633)
def stat(s: Session, r: Request) -> Reply:
    """Stat of a collection or data object."""
    path = clean(r.node.get("objPath"))
    coll = s.cat.coll(path)
    if coll is not None:
        need(s, coll["id"], READ, -310000)
        kind, size, chk, row = 2, 0, "", coll
    else:
        rows = s.cat.replicas(path)
        if not rows:
            raise IrodsError(-310000, path)
        need(s, rows[0]["id"], READ, -310000)
        row = pick(s, rows, r.node.keywords())
        kind, size, chk = 1, row["size"], row["checksum"]
    return Reply(kind, pack(
        "RodsObjStat_PI", objSize=size, objType=kind, dataMode=0, dataId=row["id"], chksum=chk,
        ownerName=row["owner"], ownerZone=row["ozone"], createTime=row["ctime"],
        modifyTime=row["mtime"],
    ))  # fmt: skip


@api(615)
def data_unlink(s: Session, r: Request) -> Reply:
    """Remove a data object, or unregister it."""
    kw = r.node.keywords()
    path = clean(r.node.get("objPath"))
    rows = existing(s, path, OWN)
    if "forceFlag" not in kw and r.node.num("oprType") != 26:
        from .api_coll import to_trash

        to_trash(s, path)
        return Reply()
    doomed = [x["path"] for x in rows if inside_vault(s, x)]
    with s.cat.tx(durable=True) as db:
        remove(s, db, rows)
    if r.node.num("oprType") != 26:
        unlink(doomed)
    return Reply()


@api(629)
def data_chksum(s: Session, r: Request) -> Reply:
    """Register or verify checksums, always from the vault's bytes."""
    kw = r.node.keywords()
    path = clean(r.node.get("objPath"))
    rows = s.cat.replicas(path)
    if not rows:
        raise IrodsError(-358000 if s.cat.coll(path) is None else -817000, path)
    need(s, rows[0]["id"], READ, -358000)
    if "replNum" in kw:
        rows = [x for x in rows if x["repl"] == int(kw["replNum"])]
        if not rows:
            raise IrodsError(-164000, "no such replica")
    elif (
        kw.get("destRescName")
        or kw.get("rescName")
        or ("ChksumAll" not in kw and "verifyChksum" not in kw)
    ):
        rows = [pick(s, rows, kw)]
    if any(x["status"] == INTERMEDIATE for x in rows):
        raise IrodsError(-406000, "replica is being written")
    if "verifyChksum" in kw:
        return verify(s, rows)
    result = ""
    for row in rows:
        if row["status"] != GOOD and len(rows) > 1:
            continue
        value = row["checksum"]
        if not value or "forceChksum" in kw:
            value = checksum_file(row["path"])
            with s.cat.tx(durable=True) as db:
                db.execute(
                    "UPDATE data SET checksum=? WHERE id=? AND repl=?",
                    (value, row["id"], row["repl"]),
                )
        result = result or value
    return Reply(0, pack("STR_PI", myStr=result))


def verify(s: Session, rows: list[Any]) -> Reply:
    """Recompute every replica; say what does not agree."""
    found = []
    for row in rows:
        if row["status"] != GOOD:
            continue
        note = {"resource_hierarchy": s.cat.hier(row["resc_id"]), "replica_number": row["repl"]}
        if not row["checksum"]:
            found.append({"error_code": -862000, "message": "No checksum available", **note})
            continue
        try:
            kind = "sha2" if row["checksum"].startswith("sha2:") else "md5"
            same = checksum_file(row["path"], kind) == row["checksum"]
            if os.stat(row["path"]).st_size != row["size"]:
                found.append({"error_code": -131000, "message": "Size mismatch", **note})
        except (OSError, IrodsError):
            same = False
        if not same:
            found.append({"error_code": -314000, "message": "Checksum mismatch", **note})
    if not found:
        return Reply()
    return Reply(-407000, pack("STR_PI", myStr=json.dumps(found)))


@api(695)
def data_repl(s: Session, r: Request) -> Reply:
    """Replicate to a resource, or refresh stale replicas."""
    kw = r.node.keywords()
    rows = existing(s, clean(r.node.get("objPath")), READ)
    good = [x for x in rows if x["status"] == GOOD]
    if kw.get("replNum"):
        good = [x for x in good if x["repl"] == int(kw["replNum"])]
    if not good:
        raise IrodsError(-164000, "no good replica")
    source = good[0]
    if "updateRepl" in kw or ("all" in kw and not kw.get("destRescName")):
        for row in rows:
            if row["status"] != GOOD:
                leaf = s.cat.resources[row["resc_id"]]
                copy_replica(s, source, leaf, row)
    else:
        root = chosen(s, kw)
        wanted = leaves(s, root)
        if root["type"] == "random" and any(root_of(s, x["resc_id"]) == root["id"] for x in rows):
            held = {x["resc_id"] for x in rows}
            wanted = [w for c in s.cat.children(root["id"]) for w in leaves(s, c)
                      if w["id"] in held]  # fmt: skip
        fresh = False
        for leaf in wanted:
            target = next((x for x in rows if x["resc_id"] == leaf["id"]), None)
            if target is None or target["status"] != GOOD:
                copy_replica(s, source, leaf, target)
                fresh = True
        if not fresh and len(wanted) == 1 and wanted[0]["id"] == source["resc_id"]:
            raise IrodsError(-46000, "already there")
    return Reply(0, pack(
        "TransferStat_PI", numThreads=0, flags=0, bytesWritten=source["size"]
    ))  # fmt: skip


@api(632)
def data_trim(s: Session, r: Request) -> Reply:
    """Trim replicas, never the last good one; the number trimmed is the status."""
    kw = r.node.keywords()
    rows = list(existing(s, clean(r.node.get("objPath")), OWN))
    keep = int(kw.get("copies") or 2)
    pool = rows
    if kw.get("replNum"):
        pool = [x for x in rows if x["repl"] == int(kw["replNum"])]
        if not pool:
            raise IrodsError(-164000, "no such replica")
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
        with s.cat.tx(durable=True) as db:
            for row in gone:
                db.execute("DELETE FROM data WHERE id=? AND repl=?", (row["id"], row["repl"]))
        unlink(doomed)
    return Reply(1 if gone else 0)


@api(696)
def data_copy(s: Session, r: Request) -> Reply:
    """Copy a data object inside the zone."""
    a, b = r.node.children[0], r.node.children[1]
    target, kw = clean(b.get("objPath")), b.keywords()
    if s.cat.replicas(target) and "forceFlag" not in kw:
        raise IrodsError(-312000, target)
    src = open_object(s, clean(a.get("objPath")), 0, a.keywords(), False)
    try:
        row = s.cat.one("SELECT * FROM data WHERE id=? AND repl=?", src.data_id, src.repl)
        if row["checksum"]:
            kw.setdefault("regChksum", "")
        h = open_object(s, target, os.O_RDWR | os.O_CREAT | os.O_TRUNC, kw, False)
        fd = s.free_fd()
        s.handles[fd] = h
        at = 0
        while block := os.pread(src.fd, 1 << 20, at):
            at += os.pwrite(h.fd, block, at)
        close(s, fd, kw)
    finally:
        os.close(src.fd)
    return Reply(0, pack("TransferStat_PI", numThreads=0, flags=0, bytesWritten=at))


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
            raise IrodsError(-358000, path)
        kw = {"destRescName": str(opt.get("leaf_resource_name") or "")}
        number = s.free_fd()
        s.handles[number] = open_object(s, path, os.O_RDWR | os.O_CREAT, kw, False, 0o644)
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
    """Cut or extend a replica."""
    path, kw = clean(r.node.get("objPath")), r.node.keywords()
    size = r.node.num("dataSize")
    if size < 0:
        raise IrodsError(-130000, "negative size")
    number = s.free_fd()
    h = s.handles[number] = open_object(s, path, os.O_RDWR, kw, False)
    row = s.cat.one("SELECT * FROM data WHERE id=? AND repl=?", h.data_id, h.repl)
    os.ftruncate(h.fd, size)
    h.dirty = True
    close(s, number, {})
    if r.api == 652:
        return Reply()
    note = {"replica_number": row["repl"], "resource_hierarchy": s.cat.hier(row["resc_id"]),
            "message": ""}  # fmt: skip
    return Reply(0, pack("STR_PI", myStr=json.dumps(note)))


@api(20000)
def descriptor_info(s: Session, r: Request) -> Reply:
    """What a parallel writer must know to open the same replica again."""
    number = int(r.json().get("fd", -1))
    h = s.handles.get(number)
    if h is None:
        raise IrodsError(-23000, "bad descriptor")
    if h.write and not h.shared:
        h.token = h.token or secrets.token_hex(16)
        s.server.locks[h.data_id] = h.token
    row = s.cat.one("SELECT * FROM data WHERE id=? AND repl=?", h.data_id, h.repl)
    return json_reply({
        "fd": number, "replica_token": h.token, "in_use": True,
        "data_object_info": {
            "replica_number": h.repl, "data_id": h.data_id, "object_path": h.logical,
            "resource_hierarchy": s.cat.hier(row["resc_id"]), "data_size": row["size"],
            "replica_status": row["status"], "file_path": h.path, "checksum": row["checksum"],
        },
    })  # fmt: skip


@api(20004)
def replica_close(s: Session, r: Request) -> Reply:
    """Close as parallel writers do, with or without telling the catalog."""
    data = r.json()
    number = int(data.get("fd", -1))
    h = s.handles.get(number)
    if h is None:
        raise IrodsError(-23000, "bad descriptor")
    kw = {"regChksum": ""} if data.get("compute_checksum") else {}
    close(s, number, kw)
    return Reply()
