"""Administration of users and groups."""

from __future__ import annotations

import re
import sqlite3

from .access_control import require_user
from .catalog import OWN, timestamp
from .error_codes import ErrorCode
from .errors import IrodsError
from .password_obfuscation import deobfuscate, deobfuscate_padded
from .session import Session

USER_TYPES = ("rodsuser", "rodsadmin", "groupadmin")
GROUP = "rodsgroup"


def require_group(session: Session, name: str) -> sqlite3.Row:
    """Return the row of a group of this zone.

    Parameters
    ----------
    session : Session
        The client's connection.
    name : str
        Name of the group.

    Returns
    -------
    sqlite3.Row
        The group.

    Raises
    ------
    IrodsError
        CAT_INVALID_GROUP: there is none.
    """
    row = session.catalog.user(name, session.zone.name)
    if row is None or row["type"] != GROUP:
        raise IrodsError(ErrorCode.CAT_INVALID_GROUP, name)
    return row


def add_user(
    session: Session,
    db: sqlite3.Connection,
    qualified_name: str,
    kind: str,
    zone: str,
    password: str = "",
) -> None:
    """Add a user or group with home and trash collections.

    Parameters
    ----------
    session : Session
        The client's connection.
    db : sqlite3.Connection
        The open transaction.
    qualified_name : str
        Name, or name and zone as in ``rods#tempZone``.
    kind : str
        ``rodsuser``, ``rodsadmin``, ``groupadmin`` or ``rodsgroup``.
    zone : str
        Zone if the name has none; by default this zone.
    password : str
        Password; without one the user cannot log in.

    Raises
    ------
    IrodsError
        The name is taken or malformed, or type or zone is unknown.
    """
    name, _, own = qualified_name.partition("#")
    zone = own or zone or session.zone.name
    if not re.fullmatch(r"[\w.@-]+", name) or name in (".", ".."):
        raise IrodsError(ErrorCode.USER_INVALID_USERNAME_FORMAT, name)
    if kind not in (*USER_TYPES, GROUP):
        raise IrodsError(ErrorCode.CAT_INVALID_USER_TYPE, kind)
    if session.catalog.one("SELECT 1 FROM zone WHERE name=?", zone) is None:
        raise IrodsError(ErrorCode.CAT_INVALID_ZONE, zone)
    if session.catalog.user(name, zone) is not None:
        raise IrodsError(ErrorCode.CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME, qualified_name)
    user_id, t = session.catalog.new_id(db), timestamp()
    db.execute(
        "INSERT INTO user(id,name,zone,type,password,ctime,mtime) VALUES(?,?,?,?,?,?,?)",
        (user_id, name, zone, kind, password, t, t),
    )
    db.execute("INSERT INTO member VALUES(?,?)", (user_id, user_id))
    if kind != GROUP:
        public = require_group(session, "public")
        db.execute("INSERT INTO member VALUES(?,?)", (public["id"], user_id))
    home = name if zone == session.zone.name else f"{name}#{zone}"
    admin = require_user(session, session.zone.admin)
    for top in ("home", "trash/home"):
        path = f"/{session.zone.name}/{top}/{home}"
        if session.catalog.collection(path) is None:
            coll_id = session.catalog.add_collection(db, path, name, zone, user_id)
            db.execute("INSERT OR REPLACE INTO access VALUES(?,?,?)", (coll_id, admin["id"], OWN))


def remove_user(session: Session, db: sqlite3.Connection, row: sqlite3.Row) -> None:
    """Remove a user or group with home and trash collections.

    Parameters
    ----------
    session : Session
        The client's connection.
    db : sqlite3.Connection
        The open transaction.
    row : sqlite3.Row
        The user or group.

    Raises
    ------
    IrodsError
        CAT_COLLECTION_NOT_EMPTY if home or trash holds something; CAT_NO_ACCESS_PERMISSION for the
        first administrator and the group of all users.
    """
    name, is_local = row["name"], row["zone"] == session.zone.name
    if is_local and name in (session.zone.admin, "public", "rodsadmin"):
        raise IrodsError(ErrorCode.CAT_NO_ACCESS_PERMISSION, name)
    home = name if is_local else f"{name}#{row['zone']}"
    for top in ("home", "trash/home"):
        coll = session.catalog.collection(f"/{session.zone.name}/{top}/{home}")
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


def modify_user(
    session: Session, db: sqlite3.Connection, name: str, attribute: str, value: str
) -> None:
    """Change a user.

    Parameters
    ----------
    session : Session
        The client's connection.
    db : sqlite3.Connection
        The open transaction.
    name : str
        The user.
    attribute : str
        ``type``, ``password``, ``comment`` or ``info``; ``addAuth`` and ``rmAuth`` add and remove a
        certificate's name.
    value : str
        The new value; passwords obfuscated.

    Raises
    ------
    IrodsError
        User, attribute or value is unknown.
    """
    row = require_user(session, name)
    if attribute == "addAuth":
        if session.catalog.one(
            "SELECT 1 FROM user_auth WHERE user_id=? AND dn=?", row["id"], value
        ):
            raise IrodsError(ErrorCode.CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME, value)
        db.execute("INSERT INTO user_auth VALUES(?,?,?)", (row["id"], value, timestamp()))
        return
    if attribute == "rmAuth":
        cur = db.execute("DELETE FROM user_auth WHERE user_id=? AND dn=?", (row["id"], value))
        if not cur.rowcount:
            raise IrodsError(ErrorCode.CAT_SUCCESS_BUT_WITH_NO_INFO, value)
        return
    if attribute not in ("type", "comment", "info", "password"):
        raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, attribute)
    if attribute == "password":
        value = decode_new_password(session, value)
    if attribute == "type" and value not in USER_TYPES:
        raise IrodsError(ErrorCode.CAT_INVALID_USER_TYPE, value)
    db.execute(
        f"UPDATE user SET {attribute}=?, mtime=? WHERE id=?", (value, timestamp(), row["id"])
    )


def decode_new_password(session: Session, text: str) -> str:
    """Return the new password that a client sent obfuscated.

    Parameters
    ----------
    session : Session
        The client's connection; its proxy user's password is the key.
    text : str
        The obfuscated password.

    Returns
    -------
    str
        The password.

    Raises
    ------
    IrodsError
        CAT_INVALID_AUTHENTICATION: it was obfuscated with another key.
    """
    current = session.proxy_password
    found = deobfuscate(text, current, session.signature) or deobfuscate_padded(text, current)
    if not found:
        raise IrodsError(
            ErrorCode.CAT_INVALID_AUTHENTICATION, "the new password was obfuscated with another key"
        )
    return found


def modify_group(
    session: Session, db: sqlite3.Connection, name: str, verb: str, user: str, zone: str
) -> None:
    """Add a member to a group or remove one.

    Parameters
    ----------
    session : Session
        The client's connection.
    db : sqlite3.Connection
        The open transaction.
    name : str
        The group.
    verb : str
        ``add`` or ``remove``.
    user, zone : str
        The member and its zone; this zone if empty.

    Raises
    ------
    IrodsError
        Group or user is unknown, or the member is there already or not there.
    """
    group, member = require_group(session, name), require_user(session, user, zone)
    pair = (group["id"], member["id"])
    if verb == "add":
        if session.catalog.one("SELECT 1 FROM member WHERE group_id=? AND user_id=?", *pair):
            raise IrodsError(ErrorCode.CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME, user)
        db.execute("INSERT INTO member VALUES(?,?)", pair)
    elif verb == "remove":
        cur = db.execute("DELETE FROM member WHERE group_id=? AND user_id=?", pair)
        if not cur.rowcount:
            if member["type"] == GROUP:  # what the real server answers
                raise IrodsError(ErrorCode.CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME, user)
            raise IrodsError(ErrorCode.CAT_SUCCESS_BUT_WITH_NO_INFO, user)
    else:
        raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, verb)


def check_group_admin(session: Session, name: str, verb: str) -> None:
    """Check that a group administrator may change a group: as its member, or to start it.

    Parameters
    ----------
    session : Session
        The client's connection.
    name : str
        The group.
    verb : str
        ``add`` or ``remove``.

    Raises
    ------
    IrodsError
        CAT_INSUFFICIENT_PRIVILEGE_LEVEL.
    """
    group = require_group(session, name)
    members = {
        r["user_id"]
        for r in session.catalog.rows("SELECT user_id FROM member WHERE group_id=?", group["id"])
        if r["user_id"] != group["id"]
    }
    if session.user_id in members or (verb == "add" and not members):
        return
    raise IrodsError(ErrorCode.CAT_INSUFFICIENT_PRIVILEGE_LEVEL, name)
