"""Metadata: AVUs of data objects, collections, resources and users."""

from __future__ import annotations

import sqlite3
from typing import Any

from .access_control import require_access
from .catalog import READ, WRITE, canonical_path, split_path, timestamp
from .error_codes import ErrorCode
from .errors import IrodsError
from .session import Session

# Options of imeta, and the entity types of ATOMIC_APPLY_METADATA_OPERATIONS.
ENTITY_TYPES = {
    "-d": "data_object",
    "-C": "collection",
    "-c": "collection",
    "-R": "resource",
    "-r": "resource",
    "-u": "user",
}


def entity_id(session: Session, kind: str, name: str, level: int) -> int:
    """Look up what carries metadata and check access to it.

    Parameters
    ----------
    session : Session
        The client's connection.
    kind : str
        ``data_object``, ``collection``, ``resource`` or ``user``.
    name : str
        Logical path or name.
    level : int
        The access level needed; administrators alone change metadata of resources and users.

    Returns
    -------
    int
        Its id in the catalog.

    Raises
    ------
    IrodsError
        It does not exist, or the user lacks the access level.
    """
    if kind in ("data_object", "collection"):
        path = canonical_path(name)
        if kind == "collection":
            row, missing = session.catalog.collection(path), ErrorCode.CAT_UNKNOWN_COLLECTION
        else:
            row = next(iter(session.catalog.replicas(path)), None)
            parent = session.catalog.collection(split_path(path)[0])
            missing = (
                ErrorCode.CAT_UNKNOWN_COLLECTION if parent is None else ErrorCode.CAT_UNKNOWN_FILE
            )
        if row is None:
            raise IrodsError(missing, name)
        require_access(session, row["id"], level, ErrorCode.CAT_NO_ACCESS_PERMISSION)
        return int(row["id"])
    if level > READ and not session.is_admin:
        raise IrodsError(ErrorCode.CAT_INSUFFICIENT_PRIVILEGE_LEVEL, "administrators only")
    if kind == "resource":
        try:
            return int(session.catalog.resource(name)["id"])
        except IrodsError:
            raise IrodsError(ErrorCode.CAT_INVALID_RESOURCE, name) from None
    user, _, zone = name.partition("#")
    row = session.catalog.user(user, zone or session.zone.name)
    if row is None:
        raise IrodsError(ErrorCode.CAT_INVALID_USER, name)
    return int(row["id"])


def add_avu(
    db: sqlite3.Connection,
    session: Session,
    object_id: int,
    avu: tuple[str, str, str],
    strict: bool = True,
) -> None:
    """Attach an AVU.

    Parameters
    ----------
    db : sqlite3.Connection
        The open transaction.
    session : Session
        The client's connection.
    object_id : int
        Id of what the AVU is attached to.
    avu : tuple of str
        Attribute, value and units.
    strict : bool
        Raise CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME if it is attached already.

    Raises
    ------
    IrodsError
        Attribute or value is empty, or see ``strict``.
    """
    if not avu[0] or not avu[1]:
        raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, "empty attribute or value")
    row = db.execute("SELECT id FROM meta WHERE attr=? AND value=? AND units=?", avu).fetchone()
    t = timestamp()
    if row is None:
        avu_id = session.catalog.new_id(db)
        db.execute("INSERT INTO meta VALUES(?,?,?,?,?,?)", (avu_id, *avu, t, t))
    else:
        avu_id = row["id"]
    cur = db.execute("INSERT OR IGNORE INTO objt VALUES(?,?,?,?)", (object_id, avu_id, t, t))
    if not cur.rowcount and strict:
        raise IrodsError(
            ErrorCode.CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME, "the AVU is attached already"
        )


def remove_avus(
    db: sqlite3.Connection, object_id: int, avu: tuple[str, str, str | None], wild: bool = False
) -> int:
    """Detach AVUs.

    Parameters
    ----------
    db : sqlite3.Connection
        The open transaction.
    object_id : int
        Id of what they are attached to.
    avu : tuple of str
        Attribute, value and units; None as units stands for any.
    wild : bool
        Whether these are patterns of SQL's LIKE.

    Returns
    -------
    int
        How many were detached.
    """
    op = "LIKE" if wild else "="
    sql = f"m.attr {op} ? AND m.value {op} ?"
    args: list[Any] = [object_id, avu[0], avu[1]]
    if avu[2] is not None:
        sql += f" AND m.units {op} ?"
        args.append(avu[2])
    cur = db.execute(
        "DELETE FROM objt WHERE object_id=? AND meta_id IN (SELECT m.id FROM meta m WHERE "
        + sql + ")", args,
    )  # fmt: skip
    return int(cur.rowcount)


def set_avu(
    db: sqlite3.Connection, session: Session, object_id: int, avu: tuple[str, str, str]
) -> None:
    """Make an AVU the only one of its attribute; a single one before it is changed in place.

    Parameters
    ----------
    db : sqlite3.Connection
        The open transaction.
    session : Session
        The client's connection.
    object_id : int
        Id of what the AVU is attached to.
    avu : tuple of str
        Attribute, value and units.
    """
    old = db.execute(
        "SELECT o.ctime, o.meta_id FROM objt o JOIN meta m ON m.id=o.meta_id"
        " WHERE o.object_id=? AND m.attr=?", (object_id, avu[0]),
    ).fetchall()  # fmt: skip
    db.executemany(
        "DELETE FROM objt WHERE object_id=? AND meta_id=?", [(object_id, r["meta_id"]) for r in old]
    )
    add_avu(db, session, object_id, avu, strict=False)
    if len(old) == 1:
        db.execute(
            "UPDATE objt SET ctime=? WHERE object_id=? AND meta_id IN"
            " (SELECT id FROM meta WHERE attr=?)", (old[0]["ctime"], object_id, avu[0]),
        )  # fmt: skip


def add_avu_to_matching(session: Session, pattern: str, avu: tuple[str, str, str]) -> int:
    """Attach an AVU to all data objects whose paths match a pattern.

    Parameters
    ----------
    session : Session
        The client's connection.
    pattern : str
        Pattern of SQL's LIKE.
    avu : tuple of str
        Attribute, value and units.

    Returns
    -------
    int
        Number of data objects that match.

    Raises
    ------
    IrodsError
        CAT_NO_ROWS_FOUND if none matches; CAT_NO_ACCESS_PERMISSION if the user may not write one.
    """
    with session.catalog.transaction(durable=True) as db:
        found = db.execute(
            "SELECT DISTINCT d.id FROM data d JOIN coll c ON c.id=d.coll_id"
            " WHERE c.name||'/'||d.name LIKE ? ESCAPE '\\'", (pattern,),
        ).fetchall()  # fmt: skip
        for row in found:
            require_access(session, row["id"], WRITE)
            add_avu(db, session, row["id"], avu, strict=False)
    if not found:
        raise IrodsError(ErrorCode.CAT_NO_ROWS_FOUND, pattern)
    return len(found)
