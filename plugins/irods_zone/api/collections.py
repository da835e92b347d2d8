"""Collections: create, remove, rename, trash."""

from __future__ import annotations

from typing import Any

from ..access_control import require_access
from ..api_messages import Reply, Request
from ..api_numbers import Api
from ..api_registry import handles
from ..catalog import OWN, WRITE, canonical_path, timestamp
from ..data_objects import delete_data_object, delete_dependents, is_vault_file
from ..deferred_deletion import delete_scheduled, schedule
from ..error_codes import ErrorCode
from ..errors import Disconnected, IrodsError
from ..framing import PROGRESS, PROGRESS_SEEN, read_exact
from ..namespace import (
    create_collection,
    descendant_range,
    is_home,
    is_protected,
    is_trash_home,
    move_to_trash,
    rename,
)
from ..session import Session
from ..xml_structures import pack

FILES_PER_REPORT = 10  # a client that removes much hears of it this often, and must answer


@handles(Api.COLL_CREATE_AN)
def _coll_create(session: Session, request: Request) -> Reply:
    """Create a collection."""
    create_collection(
        session,
        canonical_path(request.node.get("collName")),
        "recursiveOpr" in request.node.keywords(),
    )
    return Reply()


@handles(Api.RM_COLL_AN)
def _rm_coll(session: Session, request: Request) -> Reply:
    """Remove a collection."""
    path, keywords = canonical_path(request.node.get("collName")), request.node.keywords()
    with session.catalog.transaction(durable=True) as db:
        coll = session.catalog.collection(path)
        if coll is None:
            raise IrodsError(ErrorCode.CAT_UNKNOWN_COLLECTION, path)
        if is_protected(session, path):
            raise IrodsError(ErrorCode.CAT_NO_ACCESS_PERMISSION, path)
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
        trash = f"/{session.zone.name}/trash/"
        if (
            "forceFlag" not in keywords
            and not path.startswith(trash)
            and request.node.number("oprType") != 26
        ):
            move_to_trash(session, path)
            return Reply()
        objects: dict[int, list[Any]] = {}
        for row in rows:
            objects.setdefault(row["id"], []).append(row)
        doomed: list[str] = []
        for replicas in objects.values():
            require_access(session, replicas[0]["id"], OWN)
            keep = {x["path"] for x in replicas if not is_vault_file(session, x)}
            doomed += [p for p in delete_data_object(session, db, replicas) if p not in keep]
        if is_trash_home(session, path):
            ids.remove(coll["id"])  # emptied, not removed
        for cid in ids:
            delete_dependents(db, cid)
        db.executemany("DELETE FROM coll WHERE id=?", [(cid,) for cid in ids])
        if request.node.number("oprType") == 26:
            doomed = []
        schedule(db, doomed)
    delete_scheduled(session.catalog, doomed)
    names = {c["id"]: c["name"] for c in (coll, *inner)}
    gone = [f"{names[x[0]['coll_id']]}/{x[0]['name']}" for x in objects.values()]
    while len(gone) >= FILES_PER_REPORT:
        session.send_reply(
            Reply(PROGRESS, _operation_stat(FILES_PER_REPORT, gone[FILES_PER_REPORT - 1]))
        )
        if read_exact(session.sock, 4) != PROGRESS_SEEN:
            raise Disconnected("no answer to a progress report")
        gone = gone[FILES_PER_REPORT:]
    return Reply(0, _operation_stat(len(gone), ""))


def _operation_stat(files: int, last: str) -> bytes:
    """How much of a collection operation is done."""
    return pack("CollOprStat_PI", filesCnt=files, totalFileCnt=0, bytesWritten=0, lastObjPath=last)


@handles(Api.DATA_OBJ_RENAME_AN)
def _data_obj_rename(session: Session, request: Request) -> Reply:
    """Rename a data object or collection."""
    a, b = request.node.children[0], request.node.children[1]
    old, new = canonical_path(a.get("objPath")), canonical_path(b.get("objPath"))
    if new.split("/")[1] != session.zone.name:
        raise IrodsError(ErrorCode.SYS_CROSS_ZONE_MV_NOT_SUPPORTED, "across zones")
    rename(session, old, new)
    return Reply()


@handles(Api.MOD_COLL_AN)
def _mod_coll(session: Session, request: Request) -> Reply:
    """Change a collection's comment."""
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
