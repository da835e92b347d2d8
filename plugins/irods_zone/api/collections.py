"""Collections: create, remove, rename, comment."""

from __future__ import annotations

import sqlite3

from ..access_control import require_access
from ..api_messages import Reply, Request
from ..api_numbers import Api
from ..api_registry import handles
from ..catalog import OWN, WRITE, canonical_path, timestamp
from ..data_objects import UNREG_OPR, delete_data_object, delete_dependents, is_vault_file
from ..deferred_deletion import delete_scheduled, schedule
from ..error_codes import ErrorCode
from ..errors import DisconnectedError, IrodsError
from ..framing import PROGRESS, PROGRESS_SEEN, read_exact
from ..namespace import (
    create_collection,
    descendant_range,
    elevate_for_trash,
    is_home,
    is_protected,
    is_trash_home,
    move_to_trash,
    rename,
)
from ..session import Session
from ..xml_structures import pack

FILES_PER_REPORT = 10  # removed objects per progress report, which the client must answer


@handles(Api.COLL_CREATE_AN)
def _coll_create(session: Session, request: Request) -> Reply:
    """Create a collection."""
    path = canonical_path(request.node.get("collName"))
    create_collection(session, path, "recursiveOpr" in request.node.keywords())
    return Reply()


@handles(Api.RM_COLL_AN)
def _rm_coll(session: Session, request: Request) -> Reply:
    """Remove a collection, or move it to the trash."""
    path, keywords = canonical_path(request.node.get("collName")), request.node.keywords()
    unregister = request.node.number("oprType") == UNREG_OPR
    with session.catalog.transaction(durable=True) as db:
        coll = session.catalog.collection(path)
        if coll is None:
            raise IrodsError(ErrorCode.CAT_UNKNOWN_COLLECTION, path)
        if is_protected(session, path):
            raise IrodsError(ErrorCode.CAT_NO_ACCESS_PERMISSION, path)
        elevate_for_trash(session, path, keywords)
        require_access(session, coll["id"], OWN)
        inner = session.catalog.rows(
            "SELECT id, name FROM coll WHERE name>=? AND name<?", *descendant_range(path)
        )
        ids = [coll["id"], *(c["id"] for c in inner)]
        marks = ",".join("?" * len(ids))
        rows = session.catalog.rows(
            f"SELECT * FROM data WHERE coll_id IN ({marks}) ORDER BY id, repl", *ids
        )
        if (rows or inner) and "recursiveOpr" not in keywords:
            raise IrodsError(ErrorCode.SYS_COLLECTION_NOT_EMPTY, path)
        if (rows or inner) and "forceFlag" in keywords and is_home(session, path):
            raise IrodsError(ErrorCode.CANT_RM_NON_EMPTY_HOME_COLL, path)
        in_trash = path.startswith(f"/{session.zone.name}/trash/")
        if "forceFlag" not in keywords and not in_trash and not unregister:
            move_to_trash(session, path)
            return Reply()
        files = _delete_data_objects(session, db, rows)
        if is_trash_home(session, path):
            ids.remove(coll["id"])  # it is emptied, but not removed
        for coll_id in ids:
            delete_dependents(db, coll_id)
        db.executemany("DELETE FROM coll WHERE id=?", [(coll_id,) for coll_id in ids])
        schedule(db, [] if unregister else files)
    if not unregister:
        delete_scheduled(session.catalog, files)
    names = {c["id"]: c["name"] for c in (coll, *inner)}
    removed = list(dict.fromkeys(f"{names[row['coll_id']]}/{row['name']}" for row in rows))
    return Reply(0, _operation_stat(_report_progress(session, removed), ""))


def _delete_data_objects(
    session: Session, db: sqlite3.Connection, rows: list[sqlite3.Row]
) -> list[str]:
    """Delete the data objects of these replicas from the catalog; return their vault files."""
    objects: dict[int, list[sqlite3.Row]] = {}
    for row in rows:
        objects.setdefault(row["id"], []).append(row)
    for replicas in objects.values():
        require_access(session, replicas[0]["id"], OWN)
        delete_data_object(session, db, replicas)
    return [row["path"] for row in rows if is_vault_file(session, row)]


def _report_progress(session: Session, removed: list[str]) -> int:
    """Report removed objects, some at a time; return how many are left for the reply."""
    while len(removed) >= FILES_PER_REPORT:
        last = removed[FILES_PER_REPORT - 1]
        session.send_reply(Reply(PROGRESS, _operation_stat(FILES_PER_REPORT, last)))
        if read_exact(session.sock, 4) != PROGRESS_SEEN:
            raise DisconnectedError("no answer to a progress report")
        removed = removed[FILES_PER_REPORT:]
    return len(removed)


def _operation_stat(files: int, last: str) -> bytes:
    """Return the CollOprStat_PI: how much of an operation on a collection is done."""
    return pack("CollOprStat_PI", filesCnt=files, totalFileCnt=0, bytesWritten=0, lastObjPath=last)


@handles(Api.DATA_OBJ_RENAME_AN)
def _data_obj_rename(session: Session, request: Request) -> Reply:
    """Rename a data object or collection."""
    old, new = (canonical_path(node.get("objPath")) for node in request.node.children[:2])
    if new.split("/")[1] != session.zone.name:
        raise IrodsError(
            ErrorCode.SYS_CROSS_ZONE_MV_NOT_SUPPORTED, "objects do not move across zones"
        )
    rename(session, old, new)
    return Reply()


@handles(Api.MOD_COLL_AN)
def _mod_coll(session: Session, request: Request) -> Reply:
    """Change the comment of a collection."""
    coll = session.catalog.collection(canonical_path(request.node.get("collName")))
    if coll is None:
        raise IrodsError(ErrorCode.CAT_UNKNOWN_COLLECTION, request.node.get("collName"))
    require_access(session, coll["id"], WRITE)
    comment = request.node.keywords().get("collComments")
    if comment is None:
        raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, "only collComments can be changed")
    with session.catalog.transaction(durable=True) as db:
        db.execute(
            "UPDATE coll SET comments=?, mtime=? WHERE id=?", (comment, timestamp(), coll["id"])
        )
    return Reply()
