"""What iadmin, ipasswd and igroupadmin ask for."""

from __future__ import annotations

import hashlib
import secrets
import time
from typing import Any

from .. import group_quotas as quota
from .. import resource_administration as resources
from .. import specific_queries as specific
from .. import user_administration as users
from ..access_control import access_level, set_access
from ..api_messages import Reply, Request
from ..api_numbers import Api
from ..api_registry import handles
from ..catalog import timestamp
from ..error_codes import ErrorCode
from ..errors import IrodsError
from ..password_obfuscation import deobfuscate_with_key
from ..session import Session
from ..xml_structures import pack

TEMPORARY = 120  # seconds, as max_temporary_password_lifetime allows at least


def _args(request: Request) -> list[str]:
    return [request.node.get(f"arg{i}") for i in range(10)]


@handles(Api.GENERAL_ADMIN_AN)
def _general_admin(session: Session, request: Request) -> Reply:
    """Whatever iadmin does."""
    if not session.is_admin:
        raise IrodsError(ErrorCode.SYS_NO_API_PRIV, "administrators only")
    a = _args(request)
    if a[:2] == ["modify", "resource"] and a[3] == "rebalance":
        resources.rebalance(session, a[2])
        return Reply()
    with session.catalog.transaction(durable=True) as db:
        try:
            _admin(session, db, a)
        finally:
            if "resc" in a[1] or "resource" in a[1]:
                session.catalog.load_resources()
    session.catalog.load_resources()
    return Reply()


def _admin(session: Session, db: Any, a: list[str]) -> None:
    match a[0], a[1]:
        case "add", "user":
            known = session.catalog.one("SELECT 1 FROM zone WHERE name=?", a[4]) is not None
            users.add_user(session, db, a[2], a[3], a[4] if known and "#" not in a[2] else "")
        case "add", "group":
            users.add_user(session, db, a[2], users.GROUP, "")
        case "rm", "user":
            users.remove_user(session, db, users.require_user(session, a[2], a[3]))
        case "rm", "group":
            users.remove_user(session, db, users.require_group(session, a[2]))
        case "modify", "user":
            users.modify_user(session, db, a)
        case "modify", "group":
            users.modify_group(session, db, a[2], a[3], a[4], a[5])
        case "add", "resource":
            resources.add_resource(session, db, a)
        case "rm", "resource":
            resources.remove_resource(session, db, a[2], a[3] == "--dryrun")
        case "modify", "resource":
            resources.modify_resource(session, db, a)
        case "add", "childtoresc":
            resources.add_child(session, db, a)
        case "rm", "childfromresc":
            resources.remove_child(session, db, a)
        case "add" | "rm" | "modify", "zone":
            _zone(session, db, a)
        case "modify", "zonecollacl":
            _zone_acl(session, db, a)
        case "rm", "unusedAVUs":
            db.execute("DELETE FROM meta WHERE id NOT IN (SELECT meta_id FROM objt)")
        case "add", "specificQuery":
            specific.register(session, db, a[2], a[3])
        case "rm", "specificQuery":
            specific.remove(db, a[2])
        case "set-quota", _:
            quota.set_quota(session, db, a[1], a[2], a[3], a[4])
        case "calculate-usage", _:
            quota.calculate_usage(db)
        case _:
            raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, f"{a[0]} {a[1]}")


def _zone(session: Session, db: Any, a: list[str]) -> None:
    """Zones that this one knows; the local one stays what it is."""
    if a[0] == "add":
        if session.catalog.one("SELECT 1 FROM zone WHERE name=?", a[2]) is not None:
            raise IrodsError(ErrorCode.CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME, a[2])
        if a[3] != "remote":
            raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, a[3])
        zone_id = session.catalog.new_id(db)
        db.execute("INSERT INTO zone VALUES(?,?,'remote',?,?)", (zone_id, a[2], a[4], a[5]))
        return
    if a[0] == "rm":
        sql, args = "DELETE FROM zone WHERE name=? AND type='remote'", [a[2]]
    else:
        column = {"conn": "conn", "comment": "comment"}.get(a[3])
        if column is None:
            raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, a[3])
        sql, args = f"UPDATE zone SET {column}=? WHERE name=?", [a[4], a[2]]
    if not db.execute(sql, args).rowcount:
        raise IrodsError(ErrorCode.CAT_INVALID_ZONE, a[2])


def _zone_acl(session: Session, db: Any, a: list[str]) -> None:
    """Rights on / and on the zone's own collection."""
    level, coll = access_level(a[2]), session.catalog.collection(a[4])
    if a[4] not in ("/", f"/{session.zone.name}") or coll is None:
        raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, f"{a[2]} {a[4]}")
    set_access(db, coll["id"], users.require_user(session, a[3])["id"], level)


@handles(Api.USER_ADMIN_AN)
def _user_admin(session: Session, request: Request) -> Reply:
    """A user changes his password; a group administrator makes users, groups and members."""
    a = _args(request)
    with session.catalog.transaction(durable=True) as db:
        if a[0] == "userpw":
            if a[1] != session.user_name:
                raise IrodsError(ErrorCode.CAT_INSUFFICIENT_PRIVILEGE_LEVEL, "not allowed")
            db.execute(
                "UPDATE user SET password=?, mtime=? WHERE id=?",
                (users.decode_new_password(session, a[3]), timestamp(), session.user_id),
            )
            return Reply()
        if not session.is_admin and session.user["type"] != "groupadmin":
            raise IrodsError(
                ErrorCode.CAT_INSUFFICIENT_PRIVILEGE_LEVEL, "group administrators only"
            )
        match a[0], a[1]:
            case "mkuser", _:
                password = ""
                if a[2]:
                    password = deobfuscate_with_key(
                        a[2], session.catalog.user(*session.proxy)["password"]
                    )
                users.add_user(session, db, a[1], "rodsuser", "", password)
            case "mkgroup", _:
                users.add_user(session, db, a[1], users.GROUP, "")
            case "modify", "group":
                if not session.is_admin:
                    users.check_group_admin(session, a[2], a[3])
                users.modify_group(session, db, a[2], a[3], a[4], a[5])
            case _:
                raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, a[0])
    return Reply()


def _temporary(session: Session, user: Any, password: str) -> str:
    """Note a password that works for a short time; what the client must hash to get it."""
    seed = secrets.token_hex(8)
    made = hashlib.md5((seed + password).ljust(100, "\0").encode()).hexdigest()
    with session.catalog.transaction(durable=True) as db:
        db.execute("DELETE FROM temp_password WHERE expires<?", (int(time.time()),))
        db.execute(
            "INSERT INTO temp_password VALUES(?,?,?)",
            (user["id"], made, int(time.time()) + TEMPORARY),
        )
    return seed


@handles(Api.GET_TEMP_PASSWORD_AN)
def _get_temp_password(session: Session, request: Request) -> Reply:
    """A temporary password for oneself."""
    seed = _temporary(session, session.user, session.catalog.user(*session.proxy)["password"])
    return Reply(0, pack("getTempPasswordOut_PI", stringToHashWith=seed))


@handles(Api.GET_TEMP_PASSWORD_FOR_OTHER_AN)
def _get_temp_password_for_other(session: Session, request: Request) -> Reply:
    """A temporary password for someone else, made from the administrator's own."""
    if not session.is_admin:
        raise IrodsError(ErrorCode.CAT_INSUFFICIENT_PRIVILEGE_LEVEL, "administrators only")
    user = users.require_user(session, request.node.get("targetUser"))
    seed = _temporary(session, user, session.catalog.user(*session.proxy)["password"])
    return Reply(0, pack("getTempPasswordForOtherOut_PI", stringToHashWith=seed))
