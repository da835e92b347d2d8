"""What iadmin, ipasswd and igroupadmin ask for."""

from __future__ import annotations

import hashlib
import secrets
import time
from typing import Any

from . import admin_resources as resources
from . import admin_users as users
from . import codes, quota, specific
from .api_acl import grant, level_of
from .catalog import now
from .request import Reply, Request, api
from .secretbox import reveal_with_key
from .session import Session
from .wire import IrodsError, pack

TEMPORARY = 120  # seconds, as max_temporary_password_lifetime allows at least


def _args(r: Request) -> list[str]:
    return [r.node.get(f"arg{i}") for i in range(10)]


@api(701)
def general_admin(s: Session, r: Request) -> Reply:
    """Whatever iadmin does."""
    if not s.admin:
        raise IrodsError(codes.SYS_NO_API_PRIV, "administrators only")
    a = _args(r)
    if a[:2] == ["modify", "resource"] and a[3] == "rebalance":
        resources.rebalance(s, a[2])
        return Reply()
    with s.cat.tx(durable=True) as db:
        try:
            _admin(s, db, a)
        finally:
            if "resc" in a[1] or "resource" in a[1]:
                s.cat.load_resources()
    s.cat.load_resources()
    return Reply()


def _admin(s: Session, db: Any, a: list[str]) -> None:
    match a[0], a[1]:
        case "add", "user":
            known = s.cat.one("SELECT 1 FROM zone WHERE name=?", a[4]) is not None
            users.add_user(s, db, a[2], a[3], a[4] if known and "#" not in a[2] else "")
        case "add", "group":
            users.add_user(s, db, a[2], users.GROUP, "")
        case "rm", "user":
            users.rm_user(s, db, users.who(s, a[2], a[3]))
        case "rm", "group":
            users.rm_user(s, db, users.the_group(s, a[2]))
        case "modify", "user":
            users.modify_user(s, db, a)
        case "modify", "group":
            users.modify_group(s, db, a[2], a[3], a[4], a[5])
        case "add", "resource":
            resources.add_resource(s, db, a)
        case "rm", "resource":
            resources.rm_resource(s, db, a[2], a[3] == "--dryrun")
        case "modify", "resource":
            resources.modify_resource(s, db, a)
        case "add", "childtoresc":
            resources.add_child(s, db, a)
        case "rm", "childfromresc":
            resources.rm_child(s, db, a)
        case "add" | "rm" | "modify", "zone":
            _zone(s, db, a)
        case "modify", "zonecollacl":
            _zone_acl(s, db, a)
        case "rm", "unusedAVUs":
            db.execute("DELETE FROM meta WHERE id NOT IN (SELECT meta_id FROM objt)")
        case "add", "specificQuery":
            specific.register(s, db, a[2], a[3])
        case "rm", "specificQuery":
            specific.remove(db, a[2])
        case "set-quota", _:
            quota.set_quota(s, db, a[1], a[2], a[3], a[4])
        case "calculate-usage", _:
            quota.calculate_usage(db)
        case _:
            raise IrodsError(codes.CAT_INVALID_ARGUMENT, f"{a[0]} {a[1]}")


def _zone(s: Session, db: Any, a: list[str]) -> None:
    """Zones that this one knows; the local one stays what it is."""
    if a[0] == "add":
        if s.cat.one("SELECT 1 FROM zone WHERE name=?", a[2]) is not None:
            raise IrodsError(codes.CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME, a[2])
        if a[3] != "remote":
            raise IrodsError(codes.CAT_INVALID_ARGUMENT, a[3])
        zone_id = s.cat.new_id(db)
        db.execute("INSERT INTO zone VALUES(?,?,'remote',?,?)", (zone_id, a[2], a[4], a[5]))
        return
    if a[0] == "rm":
        sql, args = "DELETE FROM zone WHERE name=? AND type='remote'", [a[2]]
    else:
        column = {"conn": "conn", "comment": "comment"}.get(a[3])
        if column is None:
            raise IrodsError(codes.CAT_INVALID_ARGUMENT, a[3])
        sql, args = f"UPDATE zone SET {column}=? WHERE name=?", [a[4], a[2]]
    if not db.execute(sql, args).rowcount:
        raise IrodsError(codes.CAT_INVALID_ZONE, a[2])


def _zone_acl(s: Session, db: Any, a: list[str]) -> None:
    """Rights on / and on the zone's own collection."""
    level, coll = level_of(a[2]), s.cat.coll(a[4])
    if a[4] not in ("/", f"/{s.server.zone}") or coll is None:
        raise IrodsError(codes.CAT_INVALID_ARGUMENT, f"{a[2]} {a[4]}")
    grant(db, coll["id"], users.who(s, a[3])["id"], level)


@api(714)
def user_admin(s: Session, r: Request) -> Reply:
    """A user changes his password; a group administrator makes users, groups and members."""
    a = _args(r)
    with s.cat.tx(durable=True) as db:
        if a[0] == "userpw":
            if a[1] != s.name:
                raise IrodsError(codes.CAT_INSUFFICIENT_PRIVILEGE_LEVEL, "not allowed")
            db.execute(
                "UPDATE user SET password=?, mtime=? WHERE id=?",
                (users.secret(s, a[3]), now(), s.uid),
            )
            return Reply()
        if not s.admin and s.user["type"] != "groupadmin":
            raise IrodsError(codes.CAT_INSUFFICIENT_PRIVILEGE_LEVEL, "group administrators only")
        match a[0], a[1]:
            case "mkuser", _:
                password = ""
                if a[2]:
                    password = reveal_with_key(a[2], s.cat.user(*s.proxy)["password"])
                users.add_user(s, db, a[1], "rodsuser", "", password)
            case "mkgroup", _:
                users.add_user(s, db, a[1], users.GROUP, "")
            case "modify", "group":
                if not s.admin:
                    users.may_modify_group(s, a[2], a[3])
                users.modify_group(s, db, a[2], a[3], a[4], a[5])
            case _:
                raise IrodsError(codes.CAT_INVALID_ARGUMENT, a[0])
    return Reply()


def _temporary(s: Session, user: Any, password: str) -> str:
    """Note a password that works for a short time; what the client must hash to get it."""
    seed = secrets.token_hex(8)
    made = hashlib.md5((seed + password).ljust(100, "\0").encode()).hexdigest()
    with s.cat.tx(durable=True) as db:
        db.execute("DELETE FROM temp_password WHERE expires<?", (int(time.time()),))
        db.execute(
            "INSERT INTO temp_password VALUES(?,?,?)",
            (user["id"], made, int(time.time()) + TEMPORARY),
        )
    return seed


@api(709)
def temp_password(s: Session, r: Request) -> Reply:
    """A temporary password for oneself."""
    seed = _temporary(s, s.user, s.cat.user(*s.proxy)["password"])
    return Reply(0, pack("getTempPasswordOut_PI", stringToHashWith=seed))


@api(724)
def temp_password_for_other(s: Session, r: Request) -> Reply:
    """A temporary password for someone else, made from the administrator's own."""
    if not s.admin:
        raise IrodsError(codes.CAT_INSUFFICIENT_PRIVILEGE_LEVEL, "administrators only")
    user = users.who(s, r.node.get("targetUser"))
    seed = _temporary(s, user, s.cat.user(*s.proxy)["password"])
    return Reply(0, pack("getTempPasswordForOtherOut_PI", stringToHashWith=seed))
