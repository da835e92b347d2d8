"""AVUs of data objects, collections, resources and users."""

from __future__ import annotations

from typing import Any

from .access_control import require_access
from .catalog import READ, WRITE, canonical_path, timestamp
from .error_codes import ErrorCode
from .errors import IrodsError
from .session import Session

ENTITY_TYPES = {"-d": "data_object", "-C": "collection", "-c": "collection", "-R": "resource",
          "-r": "resource", "-u": "user"}  # fmt: skip


def entity_id(session: Session, kind: str, name: str, level: int) -> int:
    """Id of what carries metadata, if the user may do this to it."""
    if kind in ("data_object", "collection"):
        path = canonical_path(name)
        if kind == "collection":
            row, missing = session.catalog.collection(path), ErrorCode.CAT_UNKNOWN_COLLECTION
        else:
            row, missing = (
                next(iter(session.catalog.replicas(path)), None),
                ErrorCode.CAT_UNKNOWN_COLLECTION,
            )
            if session.catalog.collection(path.rpartition("/")[0] or "/") is not None:
                missing = ErrorCode.CAT_UNKNOWN_FILE
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
    db: Any, session: Session, oid: int, avu: tuple[str, str, str], strict: bool = True
) -> None:
    """Attach an AVU."""
    if not avu[0] or not avu[1]:
        raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, "empty attribute or value")
    row = db.execute("SELECT id FROM meta WHERE attr=? AND value=? AND units=?", avu).fetchone()
    t = timestamp()
    if row is None:
        mid = session.catalog.new_id(db)
        db.execute("INSERT INTO meta VALUES(?,?,?,?,?,?)", (mid, *avu, t, t))
    else:
        mid = row["id"]
    cur = db.execute("INSERT OR IGNORE INTO objt VALUES(?,?,?,?)", (oid, mid, t, t))
    if not cur.rowcount and strict:
        raise IrodsError(ErrorCode.CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME, "AVU is there already")


def remove_avus(db: Any, oid: int, avu: tuple[str, str, str | None], wild: bool = False) -> int:
    """Detach AVUs; units None means any."""
    op = "LIKE" if wild else "="
    sql = f"m.attr {op} ? AND m.value {op} ?"
    args: list[Any] = [oid, avu[0], avu[1]]
    if avu[2] is not None:
        sql += f" AND m.units {op} ?"
        args.append(avu[2])
    cur = db.execute(
        "DELETE FROM objt WHERE object_id=? AND meta_id IN (SELECT m.id FROM meta m WHERE "
        + sql + ")", args,
    )  # fmt: skip
    return int(cur.rowcount)


def set_avu(db: Any, session: Session, oid: int, avu: tuple[str, str, str]) -> None:
    """Make this the only AVU of its attribute; a single one before it is modified in place."""
    old = db.execute(
        "SELECT o.ctime, o.meta_id FROM objt o JOIN meta m ON m.id=o.meta_id"
        " WHERE o.object_id=? AND m.attr=?", (oid, avu[0]),
    ).fetchall()  # fmt: skip
    db.executemany(
        "DELETE FROM objt WHERE object_id=? AND meta_id=?", [(oid, r["meta_id"]) for r in old]
    )
    add_avu(db, session, oid, avu, strict=False)
    if len(old) == 1:
        db.execute(
            "UPDATE objt SET ctime=? WHERE object_id=? AND meta_id IN"
            " (SELECT id FROM meta WHERE attr=?)", (old[0]["ctime"], oid, avu[0]),
        )  # fmt: skip


def add_avu_to_matching(session: Session, pattern: str, avu: tuple[str, str, str]) -> int:
    """Attach an AVU to all data objects whose paths fit, if the user may; how many they are."""
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
