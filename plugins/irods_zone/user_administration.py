"""Administration of users and groups."""

from __future__ import annotations

import re
from typing import Any

from .catalog import OWN, timestamp
from .error_codes import ErrorCode
from .errors import IrodsError
from .password_obfuscation import deobfuscate, deobfuscate_padded
from .session import Session

USER_TYPES = ("rodsuser", "rodsadmin", "groupadmin")
GROUP = "rodsgroup"


def require_user(session: Session, name: str, zone: str = "") -> Any:
    """A user or group by name or name#zone."""
    base, _, own = name.partition("#")
    row = session.catalog.user(base, own or zone or session.zone.name)
    if row is None:
        raise IrodsError(ErrorCode.CAT_INVALID_USER, name)
    return row


def require_group(session: Session, name: str) -> Any:
    """A group by name."""
    row = session.catalog.user(name, session.zone.name)
    if row is None or row["type"] != GROUP:
        raise IrodsError(ErrorCode.CAT_INVALID_GROUP, name)
    return row


def add_user(
    session: Session, db: Any, full: str, kind: str, zone: str, password: str = ""
) -> None:
    """A user or group with home and trash."""
    name, _, own = full.partition("#")
    zone = own or zone or session.zone.name
    if not re.fullmatch(r"[\w.@-]+", name) or name in (".", ".."):
        raise IrodsError(ErrorCode.USER_INVALID_USERNAME_FORMAT, name)
    if kind not in (*USER_TYPES, GROUP):
        raise IrodsError(ErrorCode.CAT_INVALID_USER_TYPE, kind)
    if session.catalog.one("SELECT 1 FROM zone WHERE name=?", zone) is None:
        raise IrodsError(ErrorCode.CAT_INVALID_ZONE, zone)
    if session.catalog.user(name, zone) is not None:
        raise IrodsError(ErrorCode.CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME, full)
    uid, t = session.catalog.new_id(db), timestamp()
    db.execute(
        "INSERT INTO user(id,name,zone,type,password,ctime,mtime) VALUES(?,?,?,?,?,?,?)",
        (uid, name, zone, kind, password, t, t),
    )
    db.execute("INSERT INTO member VALUES(?,?)", (uid, uid))
    if kind != GROUP:
        public = session.catalog.user("public", session.zone.name)
        db.execute("INSERT INTO member VALUES(?,?)", (public["id"], uid))
    here = name if zone == session.zone.name else f"{name}#{zone}"
    admin = session.catalog.user(session.zone.admin, session.zone.name)
    for top in ("home", "trash/home"):
        path = f"/{session.zone.name}/{top}/{here}"
        if session.catalog.collection(path) is None:
            cid = session.catalog.add_collection(db, path, name, zone, uid)
            db.execute("INSERT OR REPLACE INTO access VALUES(?,?,?)", (cid, admin["id"], OWN))


def remove_user(session: Session, db: Any, row: Any) -> None:
    """Remove a user or group and, if empty, home and trash."""
    if (
        row["name"] in (session.zone.admin, "public", "rodsadmin")
        and row["zone"] == session.zone.name
    ):
        raise IrodsError(ErrorCode.CAT_NO_ACCESS_PERMISSION, row["name"])
    here = row["name"] if row["zone"] == session.zone.name else f"{row['name']}#{row['zone']}"
    for top in ("home", "trash/home"):
        coll = session.catalog.collection(f"/{session.zone.name}/{top}/{here}")
        if coll is None:
            continue
        full = session.catalog.one(
            "SELECT 1 FROM coll WHERE parent=? UNION SELECT 1 FROM data WHERE coll_id=?",
            coll["name"], coll["id"],
        )  # fmt: skip
        if full is not None:
            raise IrodsError(ErrorCode.CAT_COLLECTION_NOT_EMPTY, coll["name"])
        db.execute("DELETE FROM coll WHERE id=?", (coll["id"],))
        db.execute("DELETE FROM access WHERE object_id=?", (coll["id"],))
    for table, column in (
        ("user", "id"), ("member", "user_id"), ("member", "group_id"), ("access", "user_id"),
        ("objt", "object_id"), ("user_auth", "user_id"), ("ticket", "user_id"),
        ("quota", "user_id"), ("quota_usage", "user_id"), ("temp_password", "user_id"),
    ):  # fmt: skip
        db.execute(f"DELETE FROM {table} WHERE {column}=?", (row["id"],))


def modify_user(session: Session, db: Any, a: list[str]) -> None:
    """Type, password, comment, info or certificate names of a user."""
    row, what, value = require_user(session, a[2]), a[3], a[4]
    if what == "addAuth":
        if session.catalog.one(
            "SELECT 1 FROM user_auth WHERE user_id=? AND dn=?", row["id"], value
        ):
            raise IrodsError(ErrorCode.CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME, value)
        db.execute("INSERT INTO user_auth VALUES(?,?,?)", (row["id"], value, timestamp()))
        return
    if what == "rmAuth":
        cur = db.execute("DELETE FROM user_auth WHERE user_id=? AND dn=?", (row["id"], value))
        if not cur.rowcount:
            raise IrodsError(ErrorCode.CAT_SUCCESS_BUT_WITH_NO_INFO, value)
        return
    if what not in ("type", "comment", "info", "password"):
        raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, what)
    if what == "password":
        value = decode_new_password(session, value)
    if what == "type" and value not in USER_TYPES:
        raise IrodsError(ErrorCode.CAT_INVALID_USER_TYPE, value)
    db.execute(f"UPDATE user SET {what}=?, mtime=? WHERE id=?", (value, timestamp(), row["id"]))


def decode_new_password(session: Session, text: str) -> str:
    """A new password as the client sent it."""
    current = session.catalog.user(*session.proxy)["password"]
    found = deobfuscate(text, current, session.signature) or deobfuscate_padded(text, current)
    if not found:
        raise IrodsError(ErrorCode.CAT_INVALID_AUTHENTICATION, "password not readable")
    return found


def modify_group(session: Session, db: Any, name: str, verb: str, user: str, zone: str) -> None:
    """Add a member to a group or take one out; ``verb`` is add or remove."""
    group, member = require_group(session, name), require_user(session, user, zone)
    pair = (group["id"], member["id"])
    if verb == "add":
        if session.catalog.one("SELECT 1 FROM member WHERE group_id=? AND user_id=?", *pair):
            raise IrodsError(ErrorCode.CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME, user)
        db.execute("INSERT INTO member VALUES(?,?)", pair)
    elif verb == "remove":
        cur = db.execute("DELETE FROM member WHERE group_id=? AND user_id=?", pair)
        if not cur.rowcount:
            raise IrodsError(
                ErrorCode.CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME
                if member["type"] == GROUP
                else ErrorCode.CAT_SUCCESS_BUT_WITH_NO_INFO,
                user,
            )
    else:
        raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, verb)


def check_group_admin(session: Session, name: str, verb: str) -> None:
    """A group administrator changes groups that he is in, and starts empty ones."""
    group = require_group(session, name)
    members = {
        r["user_id"]
        for r in session.catalog.rows("SELECT user_id FROM member WHERE group_id=?", group["id"])
        if r["user_id"] != group["id"]
    }
    if session.user_id in members or (verb == "add" and not members):
        return
    raise IrodsError(ErrorCode.CAT_INSUFFICIENT_PRIVILEGE_LEVEL, name)
