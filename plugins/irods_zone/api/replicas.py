"""Replicas: checksums, replication, trimming, copying, touching, truncating."""

from __future__ import annotations

import errno
import json
import os
from typing import Any

from ..access_control import require_access
from ..api_messages import Reply, Request, json_reply, json_string_reply
from ..api_numbers import Api
from ..api_registry import handles
from ..catalog import OWN, READ, WRITE, canonical_path, split_path, timestamp
from ..data_objects import (
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
    open_error,
    open_replica,
)
from ..resource_hierarchy import leaves_for_create, named_resource, root_id, target_leaf
from ..session import Session
from ..vault import checksum_file, checksum_scheme, vault_file
from ..xml_structures import pack

UNREGISTER = 26  # the operation type of clients that want the file kept


@handles(Api.DATA_OBJ_CHKSUM_AN)
def _data_obj_chksum(session: Session, request: Request) -> Reply:
    """Register or verify checksums, always from the vault's bytes."""
    keywords = request.node.keywords()
    path = canonical_path(request.node.get("objPath"))
    rows = session.catalog.replicas(path)
    if not rows:
        raise IrodsError(
            ErrorCode.OBJ_PATH_DOES_NOT_EXIST
            if session.catalog.collection(path) is None
            else ErrorCode.CAT_UNKNOWN_FILE,
            path,
        )
    require_access(session, rows[0]["id"], READ, ErrorCode.OBJ_PATH_DOES_NOT_EXIST)
    if "replNum" in keywords:
        rows = [x for x in rows if x["repl"] == int(keywords["replNum"])]
        if not rows:
            raise IrodsError(ErrorCode.SYS_REPLICA_DOES_NOT_EXIST, "no such replica")
    elif (
        keywords.get("destRescName")
        or keywords.get("rescName")
        or ("ChksumAll" not in keywords and "verifyChksum" not in keywords)
    ):
        rows = matching_replicas(session, rows, keywords)[:1]
        if not rows:
            raise IrodsError(ErrorCode.SYS_REPLICA_DOES_NOT_EXIST, "no such replica")
    session.zone.locks.check_free(rows[0]["id"])
    if "verifyChksum" in keywords:
        return _verify(session, rows)
    result = ""
    for row in rows:
        if row["status"] != GOOD and len(rows) > 1:
            continue
        value = row["checksum"]
        if not value or "forceChksum" in keywords:
            value = _register_checksum(session, row)
        result = result or value
    return Reply(0, pack("STR_PI", myStr=result))


def _register_checksum(session: Session, row: Any) -> str:
    """Compute a replica's checksum and keep it, unless the bytes changed while they were read."""
    try:
        before = os.lstat(row["path"])
        value = checksum_file(row["path"])
    except (OSError, IrodsError):
        raise open_error(session, row, FileNotFoundError(errno.ENOENT, "no file")) from None
    with session.catalog.transaction(durable=True) as db:
        session.zone.locks.check_free(row["id"])
        try:
            after = os.lstat(row["path"])
        except OSError as e:
            raise open_error(session, row, e) from None
        if (before.st_ino, before.st_mtime_ns) != (after.st_ino, after.st_mtime_ns):
            raise IrodsError(ErrorCode.LOCKED_DATA_OBJECT_ACCESS, "the replica changed meanwhile")
        db.execute(
            "UPDATE data SET checksum=? WHERE id=? AND repl=?", (value, row["id"], row["repl"])
        )
    return value


def _verify(session: Session, rows: list[Any]) -> Reply:
    """Recompute every good replica; say what does not agree."""
    found: list[dict[str, object]] = []
    for row in rows:
        if row["status"] == GOOD:
            _verify_one(row, found)
    if len({row["checksum"] for row in rows if row["status"] == GOOD and row["checksum"]}) > 1:
        _add_finding(
            found,
            ErrorCode.USER_CHKSUM_MISMATCH,
            "WARNING: Data object has replicas with different checksums.",
        )
    if not found:
        return Reply()
    return Reply(ErrorCode.CHECK_VERIFICATION_RESULTS, pack("STR_PI", myStr=json.dumps(found)))


def _add_finding(found: list[dict[str, object]], code: int, message: str) -> None:
    severity = message.partition(":")[0].lower()
    found.append({"error_code": code, "message": message, "severity": severity})


def _verify_one(row: Any, found: list[dict[str, object]]) -> None:
    which = f"replica [{row['repl']}]."
    try:
        size = os.lstat(row["path"]).st_size
    except OSError as e:
        _add_finding(
            found,
            ErrorCode.UNIX_FILE_STAT_ERR - (e.errno or 0),
            f"ERROR: Could not stat file of {which}",
        )
        return
    if size != row["size"]:
        _add_finding(
            found,
            ErrorCode.USER_FILE_SIZE_MISMATCH,
            f"ERROR: Physical size does not match size in catalog for {which}",
        )
    elif not row["checksum"]:
        _add_finding(
            found,
            ErrorCode.CAT_NO_CHECKSUM_FOR_REPLICA,
            f"WARNING: No checksum available for {which}",
        )
    elif checksum_file(row["path"], checksum_scheme(row["checksum"])) != row["checksum"]:
        said = "Computed checksum does not match what is in the catalog for"
        _add_finding(found, ErrorCode.USER_CHKSUM_MISMATCH, f"ERROR: {said} {which}")


@handles(Api.DATA_OBJ_REPL_AN)
def _data_obj_repl(session: Session, request: Request) -> Reply:
    """Replicate to a resource, or refresh stale replicas."""
    keywords = request.node.keywords()
    path = canonical_path(request.node.get("objPath"))
    with locked_replicas(session, path, READ) as rows:
        done = _replicate(session, rows, keywords)
    return Reply(0, pack("TransferStat_PI", numThreads=0, flags=0, bytesWritten=done))


def _replicate(session: Session, rows: list[Any], keywords: dict[str, str]) -> int:
    """Copy to wherever the keywords say a good replica is missing; the size of the object."""
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
        root = named_resource(session, keywords)
        there = [
            session.catalog.resources[x["resc_id"]]
            for x in rows
            if root_id(session, x["resc_id"]) == root["id"]
        ]
        # Where a branch holds a replica the others get none, not even below a replicating root.
        chooses = root["type"] in ("random", "replication")
        wanted = there if chooses and there else leaves_for_create(session, root)
    for leaf in wanted:
        row = next((x for x in rows if x["resc_id"] == leaf["id"]), None)
        # A good one that is there already is no error.
        if row is None or row["status"] != GOOD:
            copy_replica(session, source, leaf, row)
    return int(source["size"])


@handles(Api.DATA_OBJ_TRIM_AN)
def _data_obj_trim(session: Session, request: Request) -> Reply:
    """Trim replicas, never the last good one; the number trimmed is the status."""
    keywords = request.node.keywords()
    path = canonical_path(request.node.get("objPath"))
    with locked_replicas(session, path, OWN) as rows:
        return Reply(_trim(session, rows, keywords, request.node.number("oprType") == UNREGISTER))


def _trim(session: Session, rows: list[Any], keywords: dict[str, str], keep_files: bool) -> int:
    """Take replicas away as the keywords say; 1 if any went."""
    keep = int(keywords.get("copies") or 2)
    pool = rows
    if keywords.get("replNum"):
        pool = [x for x in rows if x["repl"] == int(keywords["replNum"])]
        if not pool:
            raise IrodsError(ErrorCode.SYS_REPLICA_DOES_NOT_EXIST, "no such replica")
        keep = max(1, int(keywords["copies"])) if keywords.get("copies") else 1
    elif keywords.get("rescName"):
        root = named_resource(session, keywords)
        pool = [x for x in rows if root_id(session, x["resc_id"]) == root["id"]]
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
    if gone and "dryrun" not in keywords:
        doomed = [x["path"] for x in gone if is_vault_file(session, x)]
        if keep_files or keywords.get("oprType") == str(UNREGISTER):
            doomed = []
        with session.catalog.transaction(durable=True) as db:
            for row in gone:
                db.execute("DELETE FROM data WHERE id=? AND repl=?", (row["id"], row["repl"]))
            schedule(db, doomed)
        delete_scheduled(session.catalog, doomed)
    return 1 if gone else 0


@handles(Api.DATA_OBJ_COPY_AN)
def _data_obj_copy(session: Session, request: Request) -> Reply:
    """Copy a data object inside the zone."""
    a, b = request.node.children[0], request.node.children[1]
    target, keywords = canonical_path(b.get("objPath")), b.keywords()
    for path in (target, a.get("objPath")):
        if (
            session.catalog.one(
                "SELECT 1 FROM zone WHERE name=?", canonical_path(path).split("/")[1]
            )
            is None
        ):
            raise IrodsError(ErrorCode.USER_INPUT_PATH_ERR, path)
    rows = session.catalog.replicas(target)
    if rows and "forceFlag" not in keywords:
        raise IrodsError(ErrorCode.OVERWRITE_WITHOUT_FORCE_FLAG, target)
    check_overwrite_target(session, rows, keywords)
    src = open_replica(session, canonical_path(a.get("objPath")), 0, a.keywords())
    try:
        row = session.catalog.one("SELECT * FROM data WHERE id=? AND repl=?", src.data_id, src.repl)
        if row["checksum"]:
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
    """Move a replica, which keeps its number, to another resource: the file, then the catalog."""
    keywords = request.node.keywords()
    with locked_replicas(session, canonical_path(request.node.get("objPath")), OWN) as rows:
        size = _move(session, rows, keywords)
    return Reply(0, pack("TransferStat_PI", numThreads=0, flags=0, bytesWritten=size))


def _move(session: Session, rows: list[Any], keywords: dict[str, str]) -> int:
    if not any(keywords.get(key) for key in ("rescName", "replNum", "resc_hier")):
        said = "Source hierarchy or leaf resource or replica number required - none provided."
        raise IrodsError(ErrorCode.USER_NULL_INPUT_ERR, said, to_client=True)
    source = choose_replica(
        session,
        rows,
        {k: keywords[k] for k in ("rescName", "replNum", "resc_hier") if k in keywords},
    )
    leaf = leaves_for_create(
        session, named_resource(session, {"destRescName": keywords.get("destRescName", "")})
    )[0]
    if source["resc_id"] == leaf["id"]:
        return 0
    if any(x["resc_id"] == leaf["id"] for x in rows):
        raise IrodsError(ErrorCode.SYS_COPY_ALREADY_IN_RESC, "a replica is there already")
    file = vault_file(leaf["vault"], source["id"], source["repl"])
    with session.catalog.transaction(durable=True) as db:
        schedule(db, [file])  # unless all of it gets there
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
        doomed = [source["path"]] if is_vault_file(session, source) else []
        schedule(db, doomed)
    delete_scheduled(session.catalog, doomed)
    return size


@handles(Api.TOUCH_APN)
def _touch(session: Session, request: Request) -> Reply:
    """Create an empty object or set a time."""
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
    """Cut or extend a replica; the others of the object become stale."""
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
    note = {"replica_number": row["repl"], "resource_hierarchy": session.catalog.hierarchy(row["resc_id"]),
            "message": ""}  # fmt: skip
    if size < 0:
        raise _truncate_error(
            ErrorCode.UNIX_FILE_TRUNCATE_ERR - errno.EINVAL, "Size is negative.", note
        )
    number = session.free_descriptor()
    handle = session.handles[number] = open_replica(
        session, path, os.O_RDWR, {"replNum": str(row["repl"])}
    )
    handle.mark_written()
    os.ftruncate(handle.fd, size)
    close_replica(session, number, {})
    return Reply() if request.api == Api.DATA_OBJ_TRUNCATE_AN else json_string_reply(note)


def _truncate_error(code: int, message: str, note: dict[str, Any] | None = None) -> IrodsError:
    """An error that says in JSON what is the matter."""
    body = json.dumps({"replica_number": -1, "resource_hierarchy": "", **(note or {}),
                       "message": message})  # fmt: skip
    return IrodsError(code, message, body=pack("STR_PI", myStr=body))
