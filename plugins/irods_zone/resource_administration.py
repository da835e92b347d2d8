"""Administration of resources and their hierarchies."""

from __future__ import annotations

import os
import re
import sqlite3
from pathlib import Path

from .catalog import READ, timestamp
from .data_objects import replicate_to_siblings
from .error_codes import ErrorCode
from .errors import IrodsError
from .logical_locking import GOOD
from .replica_access import locked_replicas
from .resource_hierarchy import STORAGE, root_id
from .session import Session

COORDINATING = ("replication", "random", "passthru", "compound", "deferred")
_COLUMNS = {
    "comment": "comment", "info": "info", "status": "status", "context": "context",
    "free_space": "free", "freespace": "free", "name": "name", "host": "loc", "type": "type",
}  # fmt: skip
# Errors of objects that others remove or write during a rebalance.
_SKIPPED = (
    ErrorCode.OBJ_PATH_DOES_NOT_EXIST,
    ErrorCode.CAT_UNKNOWN_FILE,
    ErrorCode.LOCKED_DATA_OBJECT_ACCESS,
)


def _vault_path(session: Session, name: str, path: str) -> str:
    """Create a vault and return its path, which is always below the zone's directory."""
    base = session.zone.directory.resolve() / "vault"
    wanted = Path(path).resolve() if path else base / name
    vault = str(wanted if base in wanted.parents else base / name)
    os.makedirs(vault, mode=0o700, exist_ok=True)
    return vault


def add_resource(
    session: Session, db: sqlite3.Connection, name: str, kind: str, location: str, context: str
) -> None:
    """Add a storage or coordinating resource.

    Parameters
    ----------
    session : Session
        The client's connection.
    db : sqlite3.Connection
        The open transaction.
    name : str
        Name of the resource.
    kind : str
        Its type, such as ``unixfilesystem`` or ``replication``.
    location : str
        Host and vault path, separated by a colon. A path outside the zone's directory is replaced.
    context : str
        Context string.

    Raises
    ------
    IrodsError
        The name is taken or malformed, or the type is malformed.
    """
    if not re.fullmatch(r"[\w-]+", name) or name in ("root", "null"):
        raise IrodsError(ErrorCode.CAT_INVALID_RESOURCE_NAME, name)
    if any(r["name"] == name for r in session.catalog.resources.values()):
        raise IrodsError(ErrorCode.CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME, name)
    if not re.fullmatch(r"[\w ]+", kind):
        raise IrodsError(ErrorCode.CAT_INVALID_RESOURCE_TYPE, kind)
    kind = kind.replace(" ", "")
    host, _, vault = location.partition(":")
    if kind == STORAGE:
        host, vault = host or session.zone.host, _vault_path(session, name, vault)
    t = timestamp()
    db.execute(
        "INSERT INTO resc(id,name,type,loc,vault,context,ctime,mtime) VALUES(?,?,?,?,?,?,?,?)",
        (session.catalog.new_id(db), name, kind, host or "EMPTY_RESC_HOST",
         vault or "EMPTY_RESC_PATH", context, t, t),
    )  # fmt: skip


def remove_resource(session: Session, db: sqlite3.Connection, name: str, dry_run: bool) -> None:
    """Remove a resource that holds no data and is in no hierarchy.

    Parameters
    ----------
    session : Session
        The client's connection.
    db : sqlite3.Connection
        The open transaction.
    name : str
        The resource.
    dry_run : bool
        Only check whether it can be removed.

    Raises
    ------
    IrodsError
        CAT_RESOURCE_NOT_EMPTY, or SYS_RESC_DOES_NOT_EXIST.
    """
    row = session.catalog.resource(name)
    if session.catalog.children(row["id"]) or row["parent"]:
        raise IrodsError(ErrorCode.CAT_RESOURCE_NOT_EMPTY, name)
    if session.catalog.one("SELECT 1 FROM data WHERE resc_id=?", row["id"]) is not None:
        raise IrodsError(ErrorCode.CAT_RESOURCE_NOT_EMPTY, name)
    if dry_run:
        return
    db.execute("DELETE FROM resc WHERE id=?", (row["id"],))
    db.execute("DELETE FROM objt WHERE object_id=?", (row["id"],))


def add_child(
    session: Session, db: sqlite3.Connection, parent_name: str, child_name: str, context: str
) -> None:
    """Add a resource to a hierarchy.

    Parameters
    ----------
    session : Session
        The client's connection.
    db : sqlite3.Connection
        The open transaction.
    parent_name, child_name : str
        The resources.
    context : str
        Context string of the parent for this child.

    Raises
    ------
    IrodsError
        The child has a parent already, or the parent takes no more children.
    """
    parent, child = session.catalog.resource(parent_name), session.catalog.resource(child_name)
    if child["parent"]:
        raise IrodsError(ErrorCode.CHILD_HAS_PARENT, "the resource has a parent")
    if session.catalog.hierarchy(parent["id"]).split(";")[0] == child["name"]:
        raise IrodsError(ErrorCode.HIERARCHY_ERROR, "the resource would be its own ancestor")
    if parent["type"] not in COORDINATING:
        raise IrodsError(ErrorCode.HIERARCHY_ERROR, "storage resources have no children")
    if parent["type"] == "passthru" and session.catalog.children(parent["id"]):
        raise IrodsError(ErrorCode.HIERARCHY_ERROR, "a passthru resource has one child only")
    db.execute(
        "UPDATE resc SET parent=?, parent_ctx=? WHERE id=?",
        (str(parent["id"]), context, child["id"]),
    )


def remove_child(
    session: Session, db: sqlite3.Connection, parent_name: str, child_name: str
) -> None:
    """Remove a resource from a hierarchy.

    Parameters
    ----------
    session : Session
        The client's connection.
    db : sqlite3.Connection
        The open transaction.
    parent_name, child_name : str
        The resources.

    Raises
    ------
    IrodsError
        CHILD_NOT_FOUND: it is not a child of this parent.
    """
    parent, child = session.catalog.resource(parent_name), session.catalog.resource(child_name)
    if child["parent"] != str(parent["id"]):
        raise IrodsError(ErrorCode.CHILD_NOT_FOUND, "not a child")
    db.execute("UPDATE resc SET parent='', parent_ctx='' WHERE id=?", (child["id"],))


def modify_resource(
    session: Session, db: sqlite3.Connection, name: str, attribute: str, value: str
) -> None:
    """Change an attribute of a resource.

    Parameters
    ----------
    session : Session
        The client's connection.
    db : sqlite3.Connection
        The open transaction.
    name : str
        The resource.
    attribute : str
        As iadmin names it: ``comment``, ``info``, ``status``, ``context``, ``free_space``,
        ``name``, ``host`` or ``type``.
    value : str
        The new value.

    Raises
    ------
    IrodsError
        The attribute is unknown, or the new name is taken.
    """
    row = session.catalog.resource(name)
    column = _COLUMNS.get(attribute)
    if column is None:
        raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, attribute)
    if column == "name" and any(r["name"] == value for r in session.catalog.resources.values()):
        raise IrodsError(ErrorCode.CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME, value)
    t = timestamp()
    db.execute(f"UPDATE resc SET {column}=?, mtime=? WHERE id=?", (value, t, row["id"]))
    if column == "free":
        db.execute("UPDATE resc SET free_time=? WHERE id=?", (t, row["id"]))


def rebalance(session: Session, name: str) -> None:
    """Replicate every data object below a root resource where replicas are missing or stale.

    Objects are locked one by one, so that others can be used meanwhile. Objects that somebody
    writes or removes at this moment are skipped.

    Parameters
    ----------
    session : Session
        The client's connection.
    name : str
        The root resource.

    Raises
    ------
    IrodsError
        DIRECT_CHILD_ACCESS if it is not a root, or a copy failed.
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
