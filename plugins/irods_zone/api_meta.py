"""Metadata: AVUs of data objects, collections, resources and users."""

from __future__ import annotations

from typing import Any

from . import codes
from .catalog import READ, WRITE, clean, now
from .objects import need
from .request import Reply, Request, api, json_reply
from .session import Session
from .wire import IrodsError

_KINDS = {"-d": "data_object", "-C": "collection", "-c": "collection", "-R": "resource",
          "-r": "resource", "-u": "user"}  # fmt: skip


def entity(s: Session, kind: str, name: str, level: int) -> int:
    """Id of what carries metadata, if the user may do this to it."""
    if kind in ("data_object", "collection"):
        path = clean(name)
        if kind == "collection":
            row, missing = s.cat.coll(path), codes.CAT_UNKNOWN_COLLECTION
        else:
            row, missing = next(iter(s.cat.replicas(path)), None), codes.CAT_UNKNOWN_COLLECTION
            if s.cat.coll(path.rpartition("/")[0] or "/") is not None:
                missing = codes.CAT_UNKNOWN_FILE
        if row is None:
            raise IrodsError(missing, name)
        need(s, row["id"], level, codes.CAT_NO_ACCESS_PERMISSION)
        return int(row["id"])
    if level > READ and not s.admin:
        raise IrodsError(codes.CAT_INSUFFICIENT_PRIVILEGE_LEVEL, "administrators only")
    if kind == "resource":
        try:
            return int(s.cat.resource(name)["id"])
        except IrodsError:
            raise IrodsError(codes.CAT_INVALID_RESOURCE, name) from None
    user, _, zone = name.partition("#")
    row = s.cat.user(user, zone or s.server.zone)
    if row is None:
        raise IrodsError(codes.CAT_INVALID_USER, name)
    return int(row["id"])


def add(db: Any, s: Session, oid: int, avu: tuple[str, str, str], strict: bool = True) -> None:
    """Attach an AVU."""
    if not avu[0] or not avu[1]:
        raise IrodsError(codes.CAT_INVALID_ARGUMENT, "empty attribute or value")
    row = db.execute("SELECT id FROM meta WHERE attr=? AND value=? AND units=?", avu).fetchone()
    t = now()
    if row is None:
        mid = s.cat.new_id(db)
        db.execute("INSERT INTO meta VALUES(?,?,?,?,?,?)", (mid, *avu, t, t))
    else:
        mid = row["id"]
    cur = db.execute("INSERT OR IGNORE INTO objt VALUES(?,?,?,?)", (oid, mid, t, t))
    if not cur.rowcount and strict:
        raise IrodsError(codes.CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME, "AVU is there already")


def rm(db: Any, oid: int, avu: tuple[str, str, str | None], wild: bool = False) -> int:
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


def replace(db: Any, s: Session, oid: int, avu: tuple[str, str, str]) -> None:
    """Make this the only AVU of its attribute; a single one before it is modified in place."""
    old = db.execute(
        "SELECT o.ctime, o.meta_id FROM objt o JOIN meta m ON m.id=o.meta_id"
        " WHERE o.object_id=? AND m.attr=?", (oid, avu[0]),
    ).fetchall()  # fmt: skip
    db.executemany(
        "DELETE FROM objt WHERE object_id=? AND meta_id=?", [(oid, r["meta_id"]) for r in old]
    )
    add(db, s, oid, avu, strict=False)
    if len(old) == 1:
        db.execute(
            "UPDATE objt SET ctime=? WHERE object_id=? AND meta_id IN"
            " (SELECT id FROM meta WHERE attr=?)", (old[0]["ctime"], oid, avu[0]),
        )  # fmt: skip


def add_to_matching(s: Session, pattern: str, avu: tuple[str, str, str]) -> int:
    """Attach an AVU to all data objects whose paths fit, if the user may; how many they are."""
    with s.cat.tx(durable=True) as db:
        found = db.execute(
            "SELECT DISTINCT d.id FROM data d JOIN coll c ON c.id=d.coll_id"
            " WHERE c.name||'/'||d.name LIKE ? ESCAPE '\\'", (pattern,),
        ).fetchall()  # fmt: skip
        for row in found:
            need(s, row["id"], WRITE)
            add(db, s, row["id"], avu, strict=False)
    if not found:
        raise IrodsError(codes.CAT_NO_ROWS_FOUND, pattern)
    return len(found)


@api(706)
def mod_avu(s: Session, r: Request) -> Reply:
    """Single AVU operations."""
    a = [r.node.get(f"arg{i}") for i in range(10)]
    op, kind = a[0], _KINDS.get(a[1])
    if kind is None:
        raise IrodsError(codes.CAT_INVALID_ARGUMENT, f"type {a[1]}")
    if op == "cp":
        other = _KINDS.get(a[2])
        if other is None:
            raise IrodsError(codes.CAT_INVALID_ARGUMENT, f"type {a[2]}")
        source = entity(s, kind, a[3], READ)
        target = entity(s, other, a[4], WRITE)
        with s.cat.tx(durable=True) as db:
            db.execute(
                "INSERT OR IGNORE INTO objt SELECT ?,meta_id,?,? FROM objt WHERE object_id=?",
                (target, now(), now(), source),
            )
        return Reply()
    if op == "addw":
        return Reply(add_to_matching(s, a[2], (a[3], a[4], a[5])))
    oid = entity(s, kind, a[2], WRITE)
    with s.cat.tx(durable=True) as db:
        if op in ("add", "adda"):
            add(db, s, oid, (a[3], a[4], a[5]))
        elif op == "set":
            replace(db, s, oid, (a[3], a[4], a[5]))
        elif op in ("rm", "rmw"):
            units = a[5] if a[5] or op == "rm" else None
            if not rm(db, oid, (a[3], a[4], units), op == "rmw"):
                raise IrodsError(codes.CAT_SUCCESS_BUT_WITH_NO_INFO, "no such AVU")
        elif op == "rmi":
            db.execute("DELETE FROM objt WHERE object_id=? AND meta_id=?", (oid, a[3]))
        elif op == "mod":
            news = dict(x.split(":", 1) for x in a[5:9] if x[:2] in ("n:", "v:", "u:"))
            units = "" if a[5][:2] in ("n:", "v:", "u:") else a[5]
            if not rm(db, oid, (a[3], a[4], units)):
                raise IrodsError(codes.CAT_SUCCESS_BUT_WITH_NO_INFO, "no such AVU")
            add(db, s, oid, (news.get("n", a[3]), news.get("v", a[4]), news.get("u", units)))
        else:
            raise IrodsError(codes.CAT_INVALID_ARGUMENT, f"operation {op}")
    return Reply()


@api(20002)
def atomic(s: Session, r: Request) -> Reply:
    """Several AVU operations, all or none."""
    data = r.json()
    name = str(data.get("entity_name"))
    try:
        if data.get("admin_mode"):
            s.elevate()
        oid = entity(s, str(data.get("entity_type")), name, WRITE)
    except IrodsError as e:
        if e.code in (codes.CAT_NO_ACCESS_PERMISSION, codes.CAT_INSUFFICIENT_PRIVILEGE_LEVEL):
            raise _refused(e.code, "User not allowed to modify metadata") from None
        raise _refused(
            codes.SYS_INVALID_INPUT_PARAM, f"Entity does not exist [entity_name={name}]"
        ) from None
    with s.cat.tx(durable=True) as db:
        for number, op in enumerate(data.get("operations") or []):
            try:
                avu = (str(op["attribute"]), str(op["value"]), str(op.get("units") or ""))
            except (KeyError, TypeError):
                raise _refused(
                    codes.SYS_INTERNAL_ERR, "Operation is not complete.", op, number
                ) from None
            if not avu[0] or not avu[1]:
                said = (
                    f"Empty metadata attribute name or value [attribute={avu[0]}, value={avu[1]}]"
                )
                raise _refused(codes.SYS_INVALID_INPUT_PARAM, said, op, number)
            if op.get("operation") == "add":
                add(db, s, oid, avu, strict=False)
            elif op.get("operation") == "remove":
                rm(db, oid, avu)
            else:
                raise _refused(codes.INVALID_OPERATION, "Invalid metadata operation.", op, number)
    return json_reply({})


def _refused(code: int, message: str, operation: object = None, number: int = 0) -> IrodsError:
    """An error that says in JSON which operation failed and why."""
    note = {"operation": operation or {}, "operation_index": number, "error_message": message}
    return IrodsError(code, message, body=json_reply(note).body)
