"""Replicas: replicate, trim, copy, move, touch, truncate."""

from __future__ import annotations

import errno
import json
import os
import sqlite3

from ..access_control import require_access
from ..api_messages import Reply, Request, json_reply, json_string_reply
from ..api_numbers import Api
from ..api_registry import handles
from ..catalog import OWN, READ, WRITE, canonical_path, split_path, timestamp
from ..data_objects import (
    UNREG_OPR,
    choose_replica,
    copy_replica,
    copy_to_vault,
    is_vault_file,
    matching_replicas,
)
from ..deferred_deletion import cancel, delete_scheduled, schedule
from ..error_codes import ErrorCode
from ..errors import IrodsError
from ..logical_locking import GOOD
from ..replica_access import (
    check_overwrite_target,
    close_replica,
    locked_replicas,
    open_replica,
)
from ..resource_hierarchy import leaves_for_create, named_or_default_resource, root_id, target_leaf
from ..session import Session
from ..vault import vault_file
from ..xml_structures import pack


@handles(Api.DATA_OBJ_REPL_AN)
def _data_obj_repl(session: Session, request: Request) -> Reply:
    """Replicate to a resource, or refresh stale replicas."""
    keywords = request.node.keywords()
    path = canonical_path(request.node.get("objPath"))
    with locked_replicas(session, path, READ) as rows:
        done = _replicate(session, rows, keywords)
    return Reply(0, pack("TransferStat_PI", numThreads=0, flags=0, bytesWritten=done))


def _replicate(session: Session, rows: list[sqlite3.Row], keywords: dict[str, str]) -> int:
    """Copy to where the keywords want a good replica; return the size of the object."""
    good = [x for x in rows if x["status"] == GOOD]
    if keywords.get("replNum"):
        good = [x for x in good if x["repl"] == int(keywords["replNum"])]
    if not good:
        raise IrodsError(ErrorCode.SYS_REPLICA_DOES_NOT_EXIST, "no good replica")
    source = good[0]
    if keywords.get("dest_resc_hier"):
        wanted = [target_leaf(session, {"resc_hier": keywords["dest_resc_hier"]})]
    elif "updateRepl" in keywords or ("all" in keywords and not keywords.get("destRescName")):
        wanted = [session.catalog.resources[row["resc_id"]] for row in rows]
    else:
        root = named_or_default_resource(session, keywords)
        there = [
            session.catalog.resources[x["resc_id"]]
            for x in rows
            if root_id(session, x["resc_id"]) == root["id"]
        ]
        # If a branch has a replica the real server makes none in the others, even if it replicates.
        chooses = root["type"] in ("random", "replication")
        wanted = there if chooses and there else leaves_for_create(session, root)
    for leaf in wanted:
        row = next((x for x in rows if x["resc_id"] == leaf["id"]), None)
        if row is None or row["status"] != GOOD:
            copy_replica(session, source, leaf, row)
    return int(source["size"])


@handles(Api.DATA_OBJ_TRIM_AN)
def _data_obj_trim(session: Session, request: Request) -> Reply:
    """Remove replicas, never the last good one; the status is 1 if any was removed."""
    keywords = request.node.keywords()
    path = canonical_path(request.node.get("objPath"))
    with locked_replicas(session, path, OWN) as rows:
        return Reply(_trim(session, rows, keywords, request.node.number("oprType") == UNREG_OPR))


def _trim(
    session: Session, rows: list[sqlite3.Row], keywords: dict[str, str], keep_files: bool
) -> int:
    """Remove the replicas that the keywords name; return 1 if there were any."""
    keep = int(keywords.get("copies") or 2)
    pool = rows
    if keywords.get("replNum"):
        pool = [x for x in rows if x["repl"] == int(keywords["replNum"])]
        if not pool:
            raise IrodsError(ErrorCode.SYS_REPLICA_DOES_NOT_EXIST, "no such replica")
        keep = max(1, int(keywords["copies"])) if keywords.get("copies") else 1
    elif keywords.get("rescName"):
        root = named_or_default_resource(session, keywords)
        pool = [x for x in rows if root_id(session, x["resc_id"]) == root["id"]]
    # Stale ones first, because only good ones count towards the number to keep.
    pool = sorted(pool, key=lambda x: (x["status"] == GOOD, -x["repl"]))
    gone: list[sqlite3.Row] = []
    for row in pool:
        left = [x for x in rows if x not in gone and x is not row]
        good = sum(x["status"] == GOOD for x in left)
        if row["status"] == GOOD and (len(left) < keep or not good):
            continue
        if not left:
            continue
        gone.append(row)
    if gone and "dryrun" not in keywords:
        keep_files = keep_files or keywords.get("oprType") == str(UNREG_OPR)
        files = [] if keep_files else [x["path"] for x in gone if is_vault_file(session, x)]
        with session.catalog.transaction(durable=True) as db:
            for row in gone:
                db.execute("DELETE FROM data WHERE id=? AND repl=?", (row["id"], row["repl"]))
            schedule(db, files)
        delete_scheduled(session.catalog, files)
    return 1 if gone else 0


@handles(Api.DATA_OBJ_COPY_AN)
def _data_obj_copy(session: Session, request: Request) -> Reply:
    """Copy a data object within the zone."""
    source, destination = request.node.children[0], request.node.children[1]
    target, keywords = canonical_path(destination.get("objPath")), destination.keywords()
    source_path = canonical_path(source.get("objPath"))
    for path in (target, source_path):
        zone = path.split("/")[1]
        if session.catalog.one("SELECT 1 FROM zone WHERE name=?", zone) is None:
            raise IrodsError(ErrorCode.USER_INPUT_PATH_ERR, path)
    rows = session.catalog.replicas(target)
    if rows and "forceFlag" not in keywords:
        raise IrodsError(ErrorCode.OVERWRITE_WITHOUT_FORCE_FLAG, target)
    check_overwrite_target(session, rows, keywords)
    src = open_replica(session, source_path, 0, source.keywords())
    try:
        row = session.catalog.one("SELECT * FROM data WHERE id=? AND repl=?", src.data_id, src.repl)
        if row is not None and row["checksum"]:
            keywords.setdefault("regChksum", "")
        handle = open_replica(session, target, os.O_RDWR | os.O_CREAT | os.O_TRUNC, keywords)
        fd = session.free_descriptor()
        session.handles[fd] = handle
        at = 0
        while block := os.pread(src.fd, 1 << 20, at):
            at += os.pwrite(handle.fd, block, at)
        close_replica(session, fd, keywords)
    finally:
        os.close(src.fd)
    return Reply(0, pack("TransferStat_PI", numThreads=0, flags=0, bytesWritten=at))


@handles(Api.DATA_OBJ_PHYMV_AN)
def _data_obj_phymv(session: Session, request: Request) -> Reply:
    """Move a replica, which keeps its number, to another resource."""
    keywords = request.node.keywords()
    with locked_replicas(session, canonical_path(request.node.get("objPath")), OWN) as rows:
        size = _move(session, rows, keywords)
    return Reply(0, pack("TransferStat_PI", numThreads=0, flags=0, bytesWritten=size))


def _move(session: Session, rows: list[sqlite3.Row], keywords: dict[str, str]) -> int:
    """Copy the replica's file, change the catalog, delete the old file; return the size."""
    if not any(keywords.get(key) for key in ("rescName", "replNum", "resc_hier")):
        said = "Source hierarchy or leaf resource or replica number required - none provided."
        raise IrodsError(ErrorCode.USER_NULL_INPUT_ERR, said, to_client=True)
    named = {k: v for k, v in keywords.items() if k in ("rescName", "replNum", "resc_hier")}
    source = choose_replica(session, rows, named)
    root = named_or_default_resource(session, {"destRescName": keywords.get("destRescName", "")})
    leaf = leaves_for_create(session, root)[0]
    if source["resc_id"] == leaf["id"]:
        return 0
    if any(x["resc_id"] == leaf["id"] for x in rows):
        raise IrodsError(ErrorCode.SYS_COPY_ALREADY_IN_RESC, "the resource has a replica already")
    file = vault_file(leaf["vault"], source["id"], source["repl"])
    with session.catalog.transaction(durable=True) as db:
        schedule(db, [file])  # in case the server ends while it is copied
    try:
        size = copy_to_vault(source, file)
    except BaseException:
        delete_scheduled(session.catalog, [file])
        raise
    with session.catalog.transaction(durable=True) as db:
        cancel(db, file)
        db.execute(
            "UPDATE data SET resc_id=?, path=?, mtime=? WHERE id=? AND repl=?",
            (leaf["id"], file, timestamp(), source["id"], source["repl"]),
        )
        files = [source["path"]] if is_vault_file(session, source) else []
        schedule(db, files)
    delete_scheduled(session.catalog, files)
    return size


@handles(Api.TOUCH_APN)
def _touch(session: Session, request: Request) -> Reply:
    """Set the modification time, or create an empty object."""
    data = request.json()
    path, opt = canonical_path(str(data.get("logical_path", ""))), data.get("options") or {}
    t = f"{int(opt.get('seconds_since_epoch') or timestamp()):011d}"
    coll, rows = session.catalog.collection(path), session.catalog.replicas(path)
    if coll is None and not rows:
        if opt.get("no_create"):
            return json_reply({})
        if session.catalog.collection(split_path(path)[0]) is None:
            raise IrodsError(ErrorCode.OBJ_PATH_DOES_NOT_EXIST, path)
        keywords = {"destRescName": str(opt.get("leaf_resource_name") or "")}
        number = session.free_descriptor()
        session.handles[number] = open_replica(
            session, path, os.O_RDWR | os.O_CREAT, keywords, 0o644
        )
        close_replica(session, number, {})
        rows = session.catalog.replicas(path)
        if "seconds_since_epoch" not in opt:
            return json_reply({})
    with session.catalog.transaction() as db:
        if coll is not None:
            require_access(session, coll["id"], WRITE)
            db.execute("UPDATE coll SET mtime=? WHERE id=?", (t, coll["id"]))
        else:
            require_access(session, rows[0]["id"], WRITE)
            repl = opt.get("replica_number", choose_replica(session, rows, {})["repl"])
            db.execute("UPDATE data SET mtime=? WHERE id=? AND repl=?", (t, rows[0]["id"], repl))
    return json_reply({})


@handles(Api.DATA_OBJ_TRUNCATE_AN, Api.REPLICA_TRUNCATE_AN)
def _data_obj_truncate(session: Session, request: Request) -> Reply:
    """Change the size of a replica; the other replicas of the object become stale."""
    path, keywords = canonical_path(request.node.get("objPath")), request.node.keywords()
    size = request.node.number("dataSize")
    rows = session.catalog.replicas(path)
    if not rows:
        raise _truncate_error(ErrorCode.OBJ_PATH_DOES_NOT_EXIST, "Data object does not exist.")
    require_access(session, rows[0]["id"], WRITE, ErrorCode.OBJ_PATH_DOES_NOT_EXIST)
    row = next(iter(matching_replicas(session, rows, keywords)), None)
    if row is None:
        raise _truncate_error(
            ErrorCode.SYS_REPLICA_INACCESSIBLE, "No replica on the named resource."
        )
    note = {
        "replica_number": row["repl"],
        "resource_hierarchy": session.catalog.hierarchy(row["resc_id"]),
        "message": "",
    }
    if size < 0:
        raise _truncate_error(
            ErrorCode.UNIX_FILE_TRUNCATE_ERR - errno.EINVAL, "Size is negative.", note
        )
    number = session.free_descriptor()
    handle = open_replica(session, path, os.O_RDWR, {"replNum": str(row["repl"])})
    session.handles[number] = handle
    handle.mark_written()
    os.ftruncate(handle.fd, size)
    close_replica(session, number, {})
    return Reply() if request.api == Api.DATA_OBJ_TRUNCATE_AN else json_string_reply(note)


def _truncate_error(code: int, message: str, note: dict[str, object] | None = None) -> IrodsError:
    """Return an error with the JSON that replica_truncate answers."""
    body = json.dumps({"replica_number": -1, "resource_hierarchy": "", **(note or {}),
                       "message": message})  # fmt: skip
    return IrodsError(code, message, body=pack("STR_PI", myStr=body))
