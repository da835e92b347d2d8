"""Administration of users, groups, resources and zones."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from .catalog import OWN, now
from .secretbox import reveal
from .server import Reply, Request, Session, api
from .wire import IrodsError, pack

USER_TYPES = ("rodsuser", "rodsadmin", "groupadmin")
RESOURCE_TYPES = ("unixfilesystem", "replication", "random", "passthru")


def who(s: Session, name: str, zone: str = "") -> Any:
    """A user or group by name or name#zone."""
    base, _, own = name.partition("#")
    row = s.cat.user(base, own or zone or s.server.zone)
    if row is None:
        raise IrodsError(-827000, name)
    return row


def add_user(s: Session, db: Any, full: str, kind: str, zone: str) -> None:
    """A user or group with home and trash."""
    name, _, own = full.partition("#")
    zone = own or zone or s.server.zone
    if not re.fullmatch(r"[\w.@-]+", name) or name in (".", ".."):
        raise IrodsError(-319000, name)
    if kind not in (*USER_TYPES, "rodsgroup"):
        raise IrodsError(-820000, kind)
    if s.cat.one("SELECT 1 FROM zone WHERE name=?", zone) is None:
        raise IrodsError(-843000, zone)
    if s.cat.user(name, zone) is not None:
        raise IrodsError(-809000, full)
    uid, t = s.cat.new_id(db), now()
    db.execute(
        "INSERT INTO user(id,name,zone,type,ctime,mtime) VALUES(?,?,?,?,?,?)",
        (uid, name, zone, kind, t, t),
    )
    db.execute("INSERT INTO member VALUES(?,?)", (uid, uid))
    if kind != "rodsgroup":
        public = s.cat.user("public", s.server.zone)
        db.execute("INSERT INTO member VALUES(?,?)", (public["id"], uid))
    here = name if zone == s.server.zone else f"{name}#{zone}"
    for top in ("home", "trash/home"):
        path = f"/{s.server.zone}/{top}/{here}"
        if s.cat.coll(path) is None:
            cid = s.cat.add_coll(db, path, name, zone, uid)
            db.execute("INSERT OR REPLACE INTO access VALUES(?,?,?)", (cid, s.uid, OWN))


def rm_user(s: Session, db: Any, row: Any) -> None:
    """Remove a user or group and, if empty, home and trash."""
    if row["name"] in (s.server.admin, "public", "rodsadmin") and row["zone"] == s.server.zone:
        raise IrodsError(-818000, row["name"])
    here = row["name"] if row["zone"] == s.server.zone else f"{row['name']}#{row['zone']}"
    for top in ("home", "trash/home"):
        coll = s.cat.coll(f"/{s.server.zone}/{top}/{here}")
        if coll is None:
            continue
        full = s.cat.one(
            "SELECT 1 FROM coll WHERE parent=? UNION SELECT 1 FROM data WHERE coll_id=?",
            coll["name"],
            coll["id"],
        )
        if full is not None:
            raise IrodsError(-821000, coll["name"])
        db.execute("DELETE FROM coll WHERE id=?", (coll["id"],))
        db.execute("DELETE FROM access WHERE object_id=?", (coll["id"],))
    for sql in (
        "DELETE FROM user WHERE id=?",
        "DELETE FROM member WHERE user_id=?",
        "DELETE FROM member WHERE group_id=?",
        "DELETE FROM access WHERE user_id=?",
        "DELETE FROM objt WHERE object_id=?",
    ):
        db.execute(sql, (row["id"],))


def modify_user(s: Session, db: Any, a: list[str]) -> None:
    """Type, password, comment or info of a user."""
    row = who(s, a[2])
    column = {"type": "type", "comment": "comment", "info": "info", "password": "password"}
    if a[3] not in column:
        raise IrodsError(-816000, a[3])
    value = a[4]
    if a[3] == "password":
        value = secret(s, a[4])
    if a[3] == "type" and value not in USER_TYPES:
        raise IrodsError(-820000, value)
    db.execute(f"UPDATE user SET {column[a[3]]}=?, mtime=? WHERE id=?", (value, now(), row["id"]))


def secret(s: Session, text: str) -> str:
    """A new password as the client sent it."""
    current = s.cat.user(*s.proxy)["password"]
    found = reveal(text, current, s.signature)
    if not found:
        raise IrodsError(-826000, "password not readable")
    return found


def add_resource(s: Session, db: Any, a: list[str]) -> None:
    """A storage or coordinating resource."""
    name, kind, place, context = a[2], a[3], a[4], a[5]
    if not re.fullmatch(r"[\w-]+", name):
        raise IrodsError(-831000, name)
    if any(r["name"] == name for r in s.cat.resources.values()):
        raise IrodsError(-809000, name)
    if kind == "unix file system":
        kind = "unixfilesystem"
    if kind not in RESOURCE_TYPES:
        raise IrodsError(-810000, kind)
    host, _, _ = place.partition(":")
    vault = ""
    if kind == "unixfilesystem":
        # The client's path is only a wish: vaults stay inside the zone's own directory.
        host, asked = host or s.server.host, place.partition(":")[2]
        base = s.server.directory.resolve()
        wish = Path(asked).resolve() if asked else base / "vault" / name
        if wish != base and base in wish.parents and (base / "vault") in (wish, *wish.parents):
            vault = str(wish)
        else:
            vault = str(base / "vault" / name)
        os.makedirs(vault, mode=0o700, exist_ok=True)
    t = now()
    db.execute(
        "INSERT INTO resc(id,name,type,loc,vault,context,ctime,mtime) VALUES(?,?,?,?,?,?,?,?)",
        (
            s.cat.new_id(db),
            name,
            kind,
            host or "EMPTY_RESC_HOST",
            vault or "EMPTY_RESC_PATH",
            context,
            t,
            t,
        ),
    )


def rm_resource(s: Session, db: Any, name: str) -> None:
    """Remove a resource that holds nothing."""
    row = s.cat.resource(name)
    if s.cat.children(row["id"]) or row["parent"]:
        raise IrodsError(-835000, name)
    if s.cat.one("SELECT 1 FROM data WHERE resc_id=?", row["id"]) is not None:
        raise IrodsError(-835000, name)
    db.execute("DELETE FROM resc WHERE id=?", (row["id"],))
    db.execute("DELETE FROM objt WHERE object_id=?", (row["id"],))


def child(s: Session, db: Any, a: list[str], adding: bool) -> None:
    """Tie a resource into a tree, or take it out."""
    parent, kid = s.cat.resource(a[2]), s.cat.resource(a[3])
    if adding:
        if kid["parent"]:
            raise IrodsError(-1801000, "child has a parent")
        if s.cat.hier(parent["id"]).split(";")[0] == kid["name"]:
            raise IrodsError(-1803000, "a circle")
        if parent["type"] == "unixfilesystem":
            raise IrodsError(-1803000, "storage takes no children")
        if parent["type"] == "passthru" and s.cat.children(parent["id"]):
            raise IrodsError(-1803000, "passthru takes one child")
        db.execute(
            "UPDATE resc SET parent=?, parent_ctx=? WHERE id=?",
            (str(parent["id"]), a[4], kid["id"]),
        )
    else:
        if kid["parent"] != str(parent["id"]):
            raise IrodsError(-1802000, "not a child")
        db.execute("UPDATE resc SET parent='', parent_ctx='' WHERE id=?", (kid["id"],))


def modify_resource(s: Session, db: Any, a: list[str]) -> None:
    """A property of a resource."""
    row = s.cat.resource(a[2])
    columns = {
        "comment": "comment",
        "info": "info",
        "status": "status",
        "context": "context",
        "free_space": "free",
        "freespace": "free",
        "name": "name",
        "host": "loc",
    }
    if a[3] not in columns:
        raise IrodsError(-816000, a[3])
    db.execute(f"UPDATE resc SET {columns[a[3]]}=?, mtime=? WHERE id=?", (a[4], now(), row["id"]))


@api(701)
def general_admin(s: Session, r: Request) -> Reply:
    """Whatever iadmin does."""
    if not s.admin:
        raise IrodsError(-830000, "administrators only")
    a = [r.node.get(f"arg{i}") for i in range(10)]
    verb, what = a[0], a[1]
    with s.cat.tx(durable=True) as db:
        try:
            _admin(s, db, a, verb, what)
        finally:
            if "resc" in what or "resource" in what:
                s.cat.load_resources()
    s.cat.load_resources()
    return Reply()


def _admin(s: Session, db: Any, a: list[str], verb: str, what: str) -> None:
    if (verb, what) in (("add", "user"), ("add", "group")):
        add_user(
            s,
            db,
            a[2],
            "rodsgroup" if what == "group" else a[3],
            a[4]
            if "#" not in a[2] and s.cat.one("SELECT 1 FROM zone WHERE name=?", a[4]) is not None
            else "",
        )
    elif (verb, what) in (("rm", "user"), ("rm", "group")):
        rm_user(s, db, who(s, a[2], a[3]))
    elif (verb, what) == ("modify", "user"):
        modify_user(s, db, a)
    elif (verb, what) == ("modify", "group"):
        group, user = who(s, a[2]), who(s, a[4], a[5])
        if group["type"] != "rodsgroup":
            raise IrodsError(-829000, a[2])
        if a[3] == "add":
            if s.cat.one(
                "SELECT 1 FROM member WHERE group_id=? AND user_id=?", group["id"], user["id"]
            ):
                raise IrodsError(-809000, a[4])
            db.execute("INSERT INTO member VALUES(?,?)", (group["id"], user["id"]))
        else:
            cur = db.execute(
                "DELETE FROM member WHERE group_id=? AND user_id=?", (group["id"], user["id"])
            )
            if not cur.rowcount:
                raise IrodsError(-819000, a[4])
    elif (verb, what) == ("add", "resource"):
        add_resource(s, db, a)
    elif (verb, what) == ("rm", "resource"):
        rm_resource(s, db, a[2])
    elif (verb, what) == ("modify", "resource"):
        modify_resource(s, db, a)
    elif what in ("childtoresc", "childfromresc"):
        child(s, db, a, what == "childtoresc")
    elif (verb, what) == ("add", "zone"):
        if s.cat.one("SELECT 1 FROM zone WHERE name=?", a[2]) is not None:
            raise IrodsError(-809000, a[2])
        db.execute(
            "INSERT INTO zone VALUES(?,?,'remote',?,?)", (s.cat.new_id(db), a[2], a[4], a[5])
        )
    elif (verb, what) == ("rm", "zone"):
        if not db.execute("DELETE FROM zone WHERE name=? AND type='remote'", (a[2],)).rowcount:
            raise IrodsError(-843000, a[2])
    else:
        raise IrodsError(-816000, f"{verb} {what}")


@api(714)
def user_admin(s: Session, r: Request) -> Reply:
    """A user changes his own password."""
    if r.node.get("arg0") != "userpw" or r.node.get("arg1") != s.name:
        raise IrodsError(-830000, "not allowed")
    with s.cat.tx(durable=True) as db:
        db.execute(
            "UPDATE user SET password=?, mtime=? WHERE id=?",
            (secret(s, r.node.get("arg3")), now(), s.uid),
        )
    return Reply()


@api(700)
def misc_info(s: Session, r: Request) -> Reply:
    """Server type, version, zone."""
    return Reply(
        0,
        pack(
            "MiscSvrInfo_PI",
            serverType=1,
            serverBootTime=0,
            relVersion="rods5.0.2",
            apiVersion="d",
            rodsZone=s.server.zone,
        ),
    )
