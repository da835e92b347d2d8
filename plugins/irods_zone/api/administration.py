"""Administration: the APIs behind iadmin, igroupadmin and ipasswd, and temporary passwords."""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
import time

from .. import group_quotas, specific_queries
from .. import resource_administration as resources
from .. import user_administration as users
from ..access_control import access_level, require_user, set_access
from ..api_messages import Reply, Request
from ..api_numbers import Api
from ..api_registry import handles
from ..catalog import timestamp
from ..error_codes import ErrorCode
from ..errors import IrodsError
from ..password_obfuscation import deobfuscate_with_key
from ..session import Session
from ..xml_structures import pack

TEMPORARY_PASSWORD_SECONDS = 120  # iRODS's smallest max_temporary_password_lifetime


def _arguments(request: Request) -> list[str]:
    return [request.node.get(f"arg{i}") for i in range(10)]


@handles(Api.GENERAL_ADMIN_AN)
def _general_admin(session: Session, request: Request) -> Reply:
    """Do what iadmin asks for."""
    if not session.is_admin:
        raise IrodsError(ErrorCode.SYS_NO_API_PRIV, "administrators only")
    arguments = _arguments(request)
    if arguments[:2] == ["modify", "resource"] and arguments[3] == "rebalance":
        resources.rebalance(session, arguments[2])
        return Reply()
    with session.catalog.transaction(durable=True) as db:
        try:
            _admin(session, db, arguments)
        finally:
            # Before anybody else may write; and again below if all was rolled back.
            if "resc" in arguments[1] or "resource" in arguments[1]:
                session.catalog.load_resources()
    session.catalog.load_resources()
    return Reply()


def _admin(session: Session, db: sqlite3.Connection, arguments: list[str]) -> None:
    match arguments[0], arguments[1]:
        case "add", "user":
            known = session.catalog.one("SELECT 1 FROM zone WHERE name=?", arguments[4]) is not None
            users.add_user(
                session,
                db,
                arguments[2],
                arguments[3],
                arguments[4] if known and "#" not in arguments[2] else "",
            )
        case "add", "group":
            users.add_user(session, db, arguments[2], users.GROUP, "")
        case "rm", "user":
            users.remove_user(session, db, require_user(session, arguments[2], arguments[3]))
        case "rm", "group":
            users.remove_user(session, db, users.require_group(session, arguments[2]))
        case "modify", "user":
            users.modify_user(session, db, *arguments[2:5])
        case "modify", "group":
            users.modify_group(session, db, arguments[2], arguments[3], arguments[4], arguments[5])
        case "add", "resource":
            resources.add_resource(session, db, *arguments[2:6])
        case "rm", "resource":
            resources.remove_resource(session, db, arguments[2], arguments[3] == "--dryrun")
        case "modify", "resource":
            resources.modify_resource(session, db, *arguments[2:5])
        case "add", "childtoresc":
            resources.add_child(session, db, *arguments[2:5])
        case "rm", "childfromresc":
            resources.remove_child(session, db, *arguments[2:4])
        case "add" | "rm" | "modify", "zone":
            _zone(session, db, arguments)
        case "modify", "zonecollacl":
            _zone_acl(session, db, arguments)
        case "rm", "unusedAVUs":
            db.execute("DELETE FROM meta WHERE id NOT IN (SELECT meta_id FROM objt)")
        case "add", "specificQuery":
            specific_queries.register(session, db, arguments[2], arguments[3])
        case "rm", "specificQuery":
            specific_queries.remove(db, arguments[2])
        case "set-quota", _:
            group_quotas.set_quota(
                session, db, arguments[1], arguments[2], arguments[3], arguments[4]
            )
        case "calculate-usage", _:
            group_quotas.calculate_usage(db)
        case _:
            raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, f"{arguments[0]} {arguments[1]}")


def _zone(session: Session, db: sqlite3.Connection, arguments: list[str]) -> None:
    """Add, change or remove a remote zone."""
    if arguments[0] == "add":
        if session.catalog.one("SELECT 1 FROM zone WHERE name=?", arguments[2]) is not None:
            raise IrodsError(ErrorCode.CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME, arguments[2])
        if arguments[3] != "remote":
            raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, arguments[3])
        zone_id = session.catalog.new_id(db)
        db.execute(
            "INSERT INTO zone VALUES(?,?,'remote',?,?)",
            (zone_id, arguments[2], arguments[4], arguments[5]),
        )
        return
    if arguments[0] == "rm":
        sql, args = "DELETE FROM zone WHERE name=? AND type='remote'", [arguments[2]]
    else:
        column = {"conn": "conn", "comment": "comment"}.get(arguments[3])
        if column is None:
            raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, arguments[3])
        sql, args = f"UPDATE zone SET {column}=? WHERE name=?", [arguments[4], arguments[2]]
    if not db.execute(sql, args).rowcount:
        raise IrodsError(ErrorCode.CAT_INVALID_ZONE, arguments[2])


def _zone_acl(session: Session, db: sqlite3.Connection, arguments: list[str]) -> None:
    """Set access to the root or to the zone's collection."""
    level, coll = access_level(arguments[2]), session.catalog.collection(arguments[4])
    if arguments[4] not in ("/", f"/{session.zone.name}") or coll is None:
        raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, f"{arguments[2]} {arguments[4]}")
    set_access(db, coll["id"], require_user(session, arguments[3])["id"], level)


@handles(Api.USER_ADMIN_AN)
def _user_admin(session: Session, request: Request) -> Reply:
    """Change the user's password; make users, groups and members for group administrators."""
    arguments = _arguments(request)
    with session.catalog.transaction(durable=True) as db:
        if arguments[0] == "userpw":
            if arguments[1] != session.user_name:
                raise IrodsError(
                    ErrorCode.CAT_INSUFFICIENT_PRIVILEGE_LEVEL,
                    "a user changes the own password only",
                )
            db.execute(
                "UPDATE user SET password=?, mtime=? WHERE id=?",
                (users.decode_new_password(session, arguments[3]), timestamp(), session.user_id),
            )
            return Reply()
        if not session.is_admin and session.user["type"] != "groupadmin":
            raise IrodsError(
                ErrorCode.CAT_INSUFFICIENT_PRIVILEGE_LEVEL, "group administrators only"
            )
        match arguments[0], arguments[1]:
            case "mkuser", _:
                password = ""
                if arguments[2]:
                    password = deobfuscate_with_key(arguments[2], session.proxy_password)
                users.add_user(session, db, arguments[1], "rodsuser", "", password)
            case "mkgroup", _:
                users.add_user(session, db, arguments[1], users.GROUP, "")
            case "modify", "group":
                if not session.is_admin:
                    users.check_group_admin(session, arguments[2], arguments[3])
                users.modify_group(
                    session, db, arguments[2], arguments[3], arguments[4], arguments[5]
                )
            case _:
                raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, arguments[0])
    return Reply()


def _make_temporary_password(session: Session, user: sqlite3.Row, password: str) -> str:
    """Make a password for a short time; return what the client must hash to get it."""
    seed = secrets.token_hex(8)
    made = hashlib.md5((seed + password).ljust(100, "\0").encode()).hexdigest()
    with session.catalog.transaction(durable=True) as db:
        db.execute("DELETE FROM temp_password WHERE expires<?", (int(time.time()),))
        db.execute(
            "INSERT INTO temp_password VALUES(?,?,?)",
            (user["id"], made, int(time.time()) + TEMPORARY_PASSWORD_SECONDS),
        )
    return seed


@handles(Api.GET_TEMP_PASSWORD_AN)
def _get_temp_password(session: Session, request: Request) -> Reply:
    """Make a temporary password for the user."""
    seed = _make_temporary_password(session, session.user, session.proxy_password)
    return Reply(0, pack("getTempPasswordOut_PI", stringToHashWith=seed))


@handles(Api.GET_TEMP_PASSWORD_FOR_OTHER_AN)
def _get_temp_password_for_other(session: Session, request: Request) -> Reply:
    """Make a temporary password for another user; administrators only."""
    if not session.is_admin:
        raise IrodsError(ErrorCode.CAT_INSUFFICIENT_PRIVILEGE_LEVEL, "administrators only")
    user = require_user(session, request.node.get("targetUser"))
    seed = _make_temporary_password(session, user, session.proxy_password)
    return Reply(0, pack("getTempPasswordForOtherOut_PI", stringToHashWith=seed))
