"""Administration of resources and their trees."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from .catalog import READ, timestamp
from .data_objects import replicate_to_siblings
from .error_codes import ErrorCode
from .errors import IrodsError
from .logical_locking import GOOD
from .replica_access import locked_replicas
from .resource_hierarchy import STORAGE, root_id
from .session import Session

TREES = ("replication", "random", "passthru", "compound", "deferred")
_COLUMNS = {
    "comment": "comment", "info": "info", "status": "status", "context": "context",
    "free_space": "free", "freespace": "free", "name": "name", "host": "loc", "type": "type",
}  # fmt: skip
# What may happen to an object before its turn comes.
_SKIPPED = (
    ErrorCode.OBJ_PATH_DOES_NOT_EXIST, ErrorCode.CAT_UNKNOWN_FILE, ErrorCode.LOCKED_DATA_OBJECT_ACCESS,
)  # fmt: skip


def _vault_path(session: Session, name: str, asked: str) -> str:
    """The client's path is only a wish: vaults stay inside the zone's own directory."""
    base = session.zone.directory.resolve() / "vault"
    wish = Path(asked).resolve() if asked else base / name
    vault = str(wish if base in wish.parents else base / name)
    os.makedirs(vault, mode=0o700, exist_ok=True)
    return vault


def add_resource(session: Session, db: Any, a: list[str]) -> None:
    """A storage or coordinating resource."""
    name, kind, place, context = a[2], a[3], a[4], a[5]
    if not re.fullmatch(r"[\w-]+", name) or name in ("root", "null"):
        raise IrodsError(ErrorCode.CAT_INVALID_RESOURCE_NAME, name)
    if any(r["name"] == name for r in session.catalog.resources.values()):
        raise IrodsError(ErrorCode.CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME, name)
    if not re.fullmatch(r"[\w ]+", kind):
        raise IrodsError(ErrorCode.CAT_INVALID_RESOURCE_TYPE, kind)
    kind = kind.replace(" ", "")
    host, _, vault = place.partition(":")
    if kind == STORAGE:
        host, vault = host or session.zone.host, _vault_path(session, name, vault)
    t = timestamp()
    db.execute(
        "INSERT INTO resc(id,name,type,loc,vault,context,ctime,mtime) VALUES(?,?,?,?,?,?,?,?)",
        (session.catalog.new_id(db), name, kind, host or "EMPTY_RESC_HOST", vault or "EMPTY_RESC_PATH",
         context, t, t),
    )  # fmt: skip


def remove_resource(session: Session, db: Any, name: str, dry_run: bool) -> None:
    """Remove a resource that holds nothing; a dry run only says whether that would do."""
    row = session.catalog.resource(name)
    if session.catalog.children(row["id"]) or row["parent"]:
        raise IrodsError(ErrorCode.CAT_RESOURCE_NOT_EMPTY, name)
    if session.catalog.one("SELECT 1 FROM data WHERE resc_id=?", row["id"]) is not None:
        raise IrodsError(ErrorCode.CAT_RESOURCE_NOT_EMPTY, name)
    if dry_run:
        return
    db.execute("DELETE FROM resc WHERE id=?", (row["id"],))
    db.execute("DELETE FROM objt WHERE object_id=?", (row["id"],))


def add_child(session: Session, db: Any, a: list[str]) -> None:
    """Tie a resource into a tree."""
    parent, kid = session.catalog.resource(a[2]), session.catalog.resource(a[3])
    if kid["parent"]:
        raise IrodsError(ErrorCode.CHILD_HAS_PARENT, "child has a parent")
    if session.catalog.hierarchy(parent["id"]).split(";")[0] == kid["name"]:
        raise IrodsError(ErrorCode.HIERARCHY_ERROR, "a circle")
    if parent["type"] not in TREES:
        raise IrodsError(ErrorCode.HIERARCHY_ERROR, "storage takes no children")
    if parent["type"] == "passthru" and session.catalog.children(parent["id"]):
        raise IrodsError(ErrorCode.HIERARCHY_ERROR, "passthru takes one child")
    db.execute(
        "UPDATE resc SET parent=?, parent_ctx=? WHERE id=?", (str(parent["id"]), a[4], kid["id"])
    )


def remove_child(session: Session, db: Any, a: list[str]) -> None:
    """Take a resource out of a tree."""
    parent, kid = session.catalog.resource(a[2]), session.catalog.resource(a[3])
    if kid["parent"] != str(parent["id"]):
        raise IrodsError(ErrorCode.CHILD_NOT_FOUND, "not a child")
    db.execute("UPDATE resc SET parent='', parent_ctx='' WHERE id=?", (kid["id"],))


def modify_resource(session: Session, db: Any, a: list[str]) -> None:
    """A property of a resource."""
    row = session.catalog.resource(a[2])
    column = _COLUMNS.get(a[3])
    if column is None:
        raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, a[3])
    if column == "name" and any(r["name"] == a[4] for r in session.catalog.resources.values()):
        raise IrodsError(ErrorCode.CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME, a[4])
    t = timestamp()
    db.execute(f"UPDATE resc SET {column}=?, mtime=? WHERE id=?", (a[4], t, row["id"]))
    if column == "free":
        db.execute("UPDATE resc SET free_time=? WHERE id=?", (t, row["id"]))


def rebalance(session: Session, name: str) -> None:
    """Every object with a good replica below this root gets its full set of good ones.

    Object by object, so that others may work meanwhile; what somebody writes at that moment, or
    has removed, is passed over.
    """
    root = session.catalog.resource(name)
    if root["parent"]:
        raise IrodsError(ErrorCode.DIRECT_CHILD_ACCESS, name)
    within = {i for i in session.catalog.resources if root_id(session, i) == root["id"]}
    marks = ",".join("?" * len(within))
    for row in session.catalog.rows(
        "SELECT DISTINCT c.name || '/' || d.name AS path FROM data d JOIN coll c ON c.id=d.coll_id"
        f" WHERE d.status={GOOD} AND d.resc_id IN ({marks})", *within,
    ):  # fmt: skip
        try:
            with locked_replicas(session, row["path"], READ) as rows:
                good = [r for r in rows if r["status"] == GOOD and r["resc_id"] in within]
                if good:
                    replicate_to_siblings(session, good[0]["id"], good[0]["repl"])
        except IrodsError as e:
            if e.code not in _SKIPPED:
                raise
