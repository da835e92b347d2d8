"""Rights: given, taken and passed on."""

from __future__ import annotations

from typing import Any

from . import codes
from .api_coll import under
from .catalog import LEVELS, OWN, clean
from .objects import need
from .request import Reply, Request, api, json_body, json_reply
from .session import Session
from .wire import IrodsError

_BELOW = (
    "SELECT id FROM coll WHERE name=?1 OR (name>=?2 AND name<?3) UNION SELECT d.id FROM data d"
    " JOIN coll c ON c.id=d.coll_id WHERE c.name=?1 OR (c.name>=?2 AND c.name<?3)"
)


def owned(s: Session, path: str) -> tuple[int, bool]:
    """Id of what a path names, and whether it is a collection; for its owner."""
    coll = s.cat.coll(path)
    row = coll or next(iter(s.cat.replicas(path)), None)
    if row is None:
        raise IrodsError(codes.CAT_UNKNOWN_COLLECTION, path)
    need(s, row["id"], OWN)
    return int(row["id"]), coll is not None


def level_of(word: str) -> int:
    """The number of a right by its name."""
    if word not in LEVELS:
        raise IrodsError(codes.CAT_INVALID_ARGUMENT, f"right {word}")
    return LEVELS[word]


def grantee(s: Session, name: str, zone: str) -> int:
    """Id of a user or group that a right is about."""
    base, _, own = name.partition("#")
    row = s.cat.user(base, own or zone or s.server.zone)
    if row is None:
        raise IrodsError(codes.CAT_INVALID_USER, name)
    return int(row["id"])


def grant(db: Any, object_id: int, user_id: int, level: int) -> None:
    """Give a right on one object in place of any other; the lowest takes it away."""
    db.execute("DELETE FROM access WHERE object_id=? AND user_id=?", (object_id, user_id))
    if level > LEVELS["null"]:
        db.execute("INSERT INTO access VALUES(?,?,?)", (object_id, user_id, level))


@api(707)
def mod_access(s: Session, r: Request) -> Reply:
    """Give or take a right, or have a collection pass its rights on; recursively if asked."""
    word = r.node.get("accessLevel")
    path, recursive = clean(r.node.get("path")), bool(r.node.num("recursiveFlag"))
    if word.startswith("admin:"):
        s.elevate()
    oid, is_coll = owned(s, path)
    word, bounds = word.removeprefix("admin:"), (path, *under(path))
    with s.cat.tx(durable=True) as db:
        if word in ("inherit", "noinherit"):
            if not is_coll:
                raise IrodsError(codes.CAT_UNKNOWN_COLLECTION, path)
            where = "name=?1 OR (name>=?2 AND name<?3)" if recursive else "name=?1"
            args = bounds if recursive else bounds[:1]
            db.execute(f"UPDATE coll SET inherit={int(word == 'inherit')} WHERE {where}", args)
            return Reply()
        level, user = level_of(word), grantee(s, r.node.get("userName"), r.node.get("zone"))
        if recursive and is_coll:
            db.executemany(
                "DELETE FROM access WHERE object_id=? AND user_id=?",
                [(row["id"], user) for row in db.execute(_BELOW, bounds).fetchall()],
            )
            if level > LEVELS["null"]:
                db.execute(f"INSERT INTO access SELECT id, ?4, ?5 FROM ({_BELOW})",
                           (*bounds, user, level))  # fmt: skip
        else:
            grant(db, oid, user, level)
    return Reply()


@api(20005)
def atomic_access(s: Session, r: Request) -> Reply:
    """Several rights on one object or collection, all or none."""
    data = r.json()
    try:
        path = clean(str(data.get("logical_path", "")))
        if data.get("admin_mode"):
            s.elevate()
        oid, _ = owned(s, path)
    except IrodsError as e:
        raise _refused(e.code, "User not allowed to modify ACLs") from None
    with s.cat.tx(durable=True) as db:
        for number, op in enumerate(data.get("operations") or []):
            try:
                user = grantee(s, str(op["entity_name"]), str(op.get("zone") or ""))
                grant(db, oid, user, level_of(str(op["acl"])))
            except (KeyError, TypeError):
                raise _refused(
                    codes.SYS_INTERNAL_ERR, "Operation is not complete.", op, number
                ) from None
            except IrodsError as e:
                raise _refused(e.code, f"Not possible: {e.message}", op, number) from None
    return json_reply({})


def _refused(code: int, message: str, operation: object = None, number: int = 0) -> IrodsError:
    """An error that says in JSON which operation failed and why."""
    note = {"operation": operation or {}, "operation_index": number, "error_message": message}
    return IrodsError(code, message, body=json_body(note))
