"""Replicas: checksums, replication, trimming, copying, touching, truncating."""

from __future__ import annotations

import json
import os
from typing import Any

from .catalog import OWN, READ, WRITE, clean, now, split
from .objects import (
    GOOD,
    INTERMEDIATE,
    checksum_file,
    chosen,
    copy_replica,
    inside_vault,
    leaves,
    need,
    pick,
    root_of,
    unlink,
)  # fmt: skip
from .opening import close, existing, open_object
from .server import Reply, Request, Session, api, json_reply
from .wire import IrodsError, pack


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
