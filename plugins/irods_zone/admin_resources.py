"""Administration of resources and their trees."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from . import codes
from .catalog import READ, now
from .locks import GOOD
from .objects import spread
from .opening import exclusive
from .session import Session
from .tree import STORAGE, root_of
from .wire import IrodsError

TREES = ("replication", "random", "passthru", "compound", "deferred")
_COLUMNS = {
    "comment": "comment", "info": "info", "status": "status", "context": "context",
    "free_space": "free", "freespace": "free", "name": "name", "host": "loc", "type": "type",
}  # fmt: skip
# What may happen to an object before its turn comes.
_PASSED_OVER = (
    codes.OBJ_PATH_DOES_NOT_EXIST, codes.CAT_UNKNOWN_FILE, codes.LOCKED_DATA_OBJECT_ACCESS,
)  # fmt: skip


def _vault(s: Session, name: str, asked: str) -> str:
    """The client's path is only a wish: vaults stay inside the zone's own directory."""
    base = s.server.directory.resolve() / "vault"
    wish = Path(asked).resolve() if asked else base / name
    vault = str(wish if base in wish.parents else base / name)
    os.makedirs(vault, mode=0o700, exist_ok=True)
    return vault


def add_resource(s: Session, db: Any, a: list[str]) -> None:
    """A storage or coordinating resource."""
    name, kind, place, context = a[2], a[3], a[4], a[5]
    if not re.fullmatch(r"[\w-]+", name) or name in ("root", "null"):
        raise IrodsError(codes.CAT_INVALID_RESOURCE_NAME, name)
    if any(r["name"] == name for r in s.cat.resources.values()):
        raise IrodsError(codes.CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME, name)
    if not re.fullmatch(r"[\w ]+", kind):
        raise IrodsError(codes.CAT_INVALID_RESOURCE_TYPE, kind)
    kind = kind.replace(" ", "")
    host, _, vault = place.partition(":")
    if kind == STORAGE:
        host, vault = host or s.server.host, _vault(s, name, vault)
    t = now()
    db.execute(
        "INSERT INTO resc(id,name,type,loc,vault,context,ctime,mtime) VALUES(?,?,?,?,?,?,?,?)",
        (s.cat.new_id(db), name, kind, host or "EMPTY_RESC_HOST", vault or "EMPTY_RESC_PATH",
         context, t, t),
    )  # fmt: skip


def rm_resource(s: Session, db: Any, name: str, dry_run: bool) -> None:
    """Remove a resource that holds nothing; a dry run only says whether that would do."""
    row = s.cat.resource(name)
    if s.cat.children(row["id"]) or row["parent"]:
        raise IrodsError(codes.CAT_RESOURCE_NOT_EMPTY, name)
    if s.cat.one("SELECT 1 FROM data WHERE resc_id=?", row["id"]) is not None:
        raise IrodsError(codes.CAT_RESOURCE_NOT_EMPTY, name)
    if dry_run:
        return
    db.execute("DELETE FROM resc WHERE id=?", (row["id"],))
    db.execute("DELETE FROM objt WHERE object_id=?", (row["id"],))


def add_child(s: Session, db: Any, a: list[str]) -> None:
    """Tie a resource into a tree."""
    parent, kid = s.cat.resource(a[2]), s.cat.resource(a[3])
    if kid["parent"]:
        raise IrodsError(codes.CHILD_HAS_PARENT, "child has a parent")
    if s.cat.hier(parent["id"]).split(";")[0] == kid["name"]:
        raise IrodsError(codes.HIERARCHY_ERROR, "a circle")
    if parent["type"] not in TREES:
        raise IrodsError(codes.HIERARCHY_ERROR, "storage takes no children")
    if parent["type"] == "passthru" and s.cat.children(parent["id"]):
        raise IrodsError(codes.HIERARCHY_ERROR, "passthru takes one child")
    db.execute(
        "UPDATE resc SET parent=?, parent_ctx=? WHERE id=?", (str(parent["id"]), a[4], kid["id"])
    )


def rm_child(s: Session, db: Any, a: list[str]) -> None:
    """Take a resource out of a tree."""
    parent, kid = s.cat.resource(a[2]), s.cat.resource(a[3])
    if kid["parent"] != str(parent["id"]):
        raise IrodsError(codes.CHILD_NOT_FOUND, "not a child")
    db.execute("UPDATE resc SET parent='', parent_ctx='' WHERE id=?", (kid["id"],))


def modify_resource(s: Session, db: Any, a: list[str]) -> None:
    """A property of a resource."""
    row = s.cat.resource(a[2])
    column = _COLUMNS.get(a[3])
    if column is None:
        raise IrodsError(codes.CAT_INVALID_ARGUMENT, a[3])
    if column == "name" and any(r["name"] == a[4] for r in s.cat.resources.values()):
        raise IrodsError(codes.CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME, a[4])
    t = now()
    db.execute(f"UPDATE resc SET {column}=?, mtime=? WHERE id=?", (a[4], t, row["id"]))
    if column == "free":
        db.execute("UPDATE resc SET free_time=? WHERE id=?", (t, row["id"]))


def rebalance(s: Session, name: str) -> None:
    """Every object with a good replica below this root gets its full set of good ones.

    Object by object, so that others may work meanwhile; what somebody writes at that moment, or
    has removed, is passed over.
    """
    root = s.cat.resource(name)
    if root["parent"]:
        raise IrodsError(codes.DIRECT_CHILD_ACCESS, name)
    within = {i for i in s.cat.resources if root_of(s, i) == root["id"]}
    marks = ",".join("?" * len(within))
    for row in s.cat.rows(
        "SELECT DISTINCT c.name || '/' || d.name AS path FROM data d JOIN coll c ON c.id=d.coll_id"
        f" WHERE d.status={GOOD} AND d.resc_id IN ({marks})", *within,
    ):  # fmt: skip
        try:
            with exclusive(s, row["path"], READ) as rows:
                good = [r for r in rows if r["status"] == GOOD and r["resc_id"] in within]
                if good:
                    spread(s, good[0]["id"], good[0]["repl"])
        except IrodsError as e:
            if e.code not in _PASSED_OVER:
                raise
