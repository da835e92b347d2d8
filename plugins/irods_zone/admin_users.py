"""Administration of users and groups."""

from __future__ import annotations

import re
from typing import Any

from . import codes
from .catalog import OWN, now
from .secretbox import reveal, reveal_padded
from .session import Session
from .wire import IrodsError

USER_TYPES = ("rodsuser", "rodsadmin", "groupadmin")
GROUP = "rodsgroup"


def who(s: Session, name: str, zone: str = "") -> Any:
    """A user or group by name or name#zone."""
    base, _, own = name.partition("#")
    row = s.cat.user(base, own or zone or s.server.zone)
    if row is None:
        raise IrodsError(codes.CAT_INVALID_USER, name)
    return row


def the_group(s: Session, name: str) -> Any:
    """A group by name."""
    row = s.cat.user(name, s.server.zone)
    if row is None or row["type"] != GROUP:
        raise IrodsError(codes.CAT_INVALID_GROUP, name)
    return row


def add_user(s: Session, db: Any, full: str, kind: str, zone: str, password: str = "") -> None:
    """A user or group with home and trash."""
    name, _, own = full.partition("#")
    zone = own or zone or s.server.zone
    if not re.fullmatch(r"[\w.@-]+", name) or name in (".", ".."):
        raise IrodsError(codes.USER_INVALID_USERNAME_FORMAT, name)
    if kind not in (*USER_TYPES, GROUP):
        raise IrodsError(codes.CAT_INVALID_USER_TYPE, kind)
    if s.cat.one("SELECT 1 FROM zone WHERE name=?", zone) is None:
        raise IrodsError(codes.CAT_INVALID_ZONE, zone)
    if s.cat.user(name, zone) is not None:
        raise IrodsError(codes.CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME, full)
    uid, t = s.cat.new_id(db), now()
    db.execute(
        "INSERT INTO user(id,name,zone,type,password,ctime,mtime) VALUES(?,?,?,?,?,?,?)",
        (uid, name, zone, kind, password, t, t),
    )
    db.execute("INSERT INTO member VALUES(?,?)", (uid, uid))
    if kind != GROUP:
        public = s.cat.user("public", s.server.zone)
        db.execute("INSERT INTO member VALUES(?,?)", (public["id"], uid))
    here = name if zone == s.server.zone else f"{name}#{zone}"
    admin = s.cat.user(s.server.admin, s.server.zone)
    for top in ("home", "trash/home"):
        path = f"/{s.server.zone}/{top}/{here}"
        if s.cat.coll(path) is None:
            cid = s.cat.add_coll(db, path, name, zone, uid)
            db.execute("INSERT OR REPLACE INTO access VALUES(?,?,?)", (cid, admin["id"], OWN))


def rm_user(s: Session, db: Any, row: Any) -> None:
    """Remove a user or group and, if empty, home and trash."""
    if row["name"] in (s.server.admin, "public", "rodsadmin") and row["zone"] == s.server.zone:
        raise IrodsError(codes.CAT_NO_ACCESS_PERMISSION, row["name"])
    here = row["name"] if row["zone"] == s.server.zone else f"{row['name']}#{row['zone']}"
    for top in ("home", "trash/home"):
        coll = s.cat.coll(f"/{s.server.zone}/{top}/{here}")
        if coll is None:
            continue
        full = s.cat.one(
            "SELECT 1 FROM coll WHERE parent=? UNION SELECT 1 FROM data WHERE coll_id=?",
            coll["name"], coll["id"],
        )  # fmt: skip
        if full is not None:
            raise IrodsError(codes.CAT_COLLECTION_NOT_EMPTY, coll["name"])
        db.execute("DELETE FROM coll WHERE id=?", (coll["id"],))
        db.execute("DELETE FROM access WHERE object_id=?", (coll["id"],))
    for table, column in (
        ("user", "id"), ("member", "user_id"), ("member", "group_id"), ("access", "user_id"),
        ("objt", "object_id"), ("user_auth", "user_id"), ("ticket", "user_id"),
        ("quota", "user_id"), ("quota_usage", "user_id"), ("temp_password", "user_id"),
    ):  # fmt: skip
        db.execute(f"DELETE FROM {table} WHERE {column}=?", (row["id"],))


def modify_user(s: Session, db: Any, a: list[str]) -> None:
    """Type, password, comment, info or certificate names of a user."""
    row, what, value = who(s, a[2]), a[3], a[4]
    if what == "addAuth":
        if s.cat.one("SELECT 1 FROM user_auth WHERE user_id=? AND dn=?", row["id"], value):
            raise IrodsError(codes.CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME, value)
        db.execute("INSERT INTO user_auth VALUES(?,?,?)", (row["id"], value, now()))
        return
    if what == "rmAuth":
        cur = db.execute("DELETE FROM user_auth WHERE user_id=? AND dn=?", (row["id"], value))
        if not cur.rowcount:
            raise IrodsError(codes.CAT_SUCCESS_BUT_WITH_NO_INFO, value)
        return
    if what not in ("type", "comment", "info", "password"):
        raise IrodsError(codes.CAT_INVALID_ARGUMENT, what)
    if what == "password":
        value = secret(s, value)
    if what == "type" and value not in USER_TYPES:
        raise IrodsError(codes.CAT_INVALID_USER_TYPE, value)
    db.execute(f"UPDATE user SET {what}=?, mtime=? WHERE id=?", (value, now(), row["id"]))


def secret(s: Session, text: str) -> str:
    """A new password as the client sent it."""
    current = s.cat.user(*s.proxy)["password"]
    found = reveal(text, current, s.signature) or reveal_padded(text, current)
    if not found:
        raise IrodsError(codes.CAT_INVALID_AUTHENTICATION, "password not readable")
    return found


def modify_group(s: Session, db: Any, name: str, verb: str, user: str, zone: str) -> None:
    """Add a member to a group or take one out; ``verb`` is add or remove."""
    group, member = the_group(s, name), who(s, user, zone)
    pair = (group["id"], member["id"])
    if verb == "add":
        if s.cat.one("SELECT 1 FROM member WHERE group_id=? AND user_id=?", *pair):
            raise IrodsError(codes.CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME, user)
        db.execute("INSERT INTO member VALUES(?,?)", pair)
    elif verb == "remove":
        cur = db.execute("DELETE FROM member WHERE group_id=? AND user_id=?", pair)
        if not cur.rowcount:
            raise IrodsError(
                codes.CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME
                if member["type"] == GROUP
                else codes.CAT_SUCCESS_BUT_WITH_NO_INFO,
                user,
            )
    else:
        raise IrodsError(codes.CAT_INVALID_ARGUMENT, verb)


def may_modify_group(s: Session, name: str, verb: str) -> None:
    """A group administrator changes groups that he is in, and starts empty ones."""
    group = the_group(s, name)
    members = {
        r["user_id"]
        for r in s.cat.rows("SELECT user_id FROM member WHERE group_id=?", group["id"])
        if r["user_id"] != group["id"]
    }
    if s.uid in members or (verb == "add" and not members):
        return
    raise IrodsError(codes.CAT_INSUFFICIENT_PRIVILEGE_LEVEL, name)
