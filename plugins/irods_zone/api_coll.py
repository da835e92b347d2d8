"""Collections: create, remove, rename, trash."""

from __future__ import annotations

import re
import secrets
from typing import Any

from . import codes
from .catalog import OWN, WRITE, clean, now, split
from .doomed import bury, doom
from .locks import check_at_rest
from .objects import forget, inside_vault, need, remove
from .request import Reply, Request, api
from .session import Session
from .wire import PROGRESS, PROGRESS_SEEN, Disconnected, IrodsError, pack, read_exact

FILES_PER_REPORT = 10  # a client that removes much hears of it this often, and must answer


def under(path: str) -> tuple[str, str]:
    """Bounds of the names below a collection, for a range query that uses the index."""
    return path + "/", path + "0"  # "0" follows "/"


def make(s: Session, path: str, recursive: bool) -> None:
    """Create a collection, and its parents if asked."""
    with s.cat.tx() as db:
        if s.cat.coll(path) is not None:
            if recursive:
                return
            raise IrodsError(codes.CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME, path)
        if s.cat.replicas(path):
            raise IrodsError(codes.CAT_NAME_EXISTS_AS_DATAOBJ, path)
        parent, _ = split(path)
        above = s.cat.coll(parent)
        if above is None:
            if not recursive or parent == path:
                raise IrodsError(codes.CAT_UNKNOWN_COLLECTION, parent)
            make(s, parent, True)
            above = s.cat.coll(parent)
        need(s, above["id"], WRITE, codes.CAT_NO_ACCESS_PERMISSION)
        s.cat.add_coll(db, path, s.name, s.zone, s.uid)


@api(681)
def coll_create(s: Session, r: Request) -> Reply:
    """Create a collection."""
    make(s, clean(r.node.get("collName")), "recursiveOpr" in r.node.keywords())
    return Reply()


def protected(s: Session, path: str) -> bool:
    """Collections that a zone cannot do without."""
    z = f"/{s.server.zone}"
    return path in ("/", z, f"{z}/home", f"{z}/trash", f"{z}/trash/home")


def is_home(s: Session, path: str) -> bool:
    """Whether a collection is `home` itself or right below it, somebody's or not."""
    return re.fullmatch(f"/{re.escape(s.server.zone)}/home(/[^/]*)?", path) is not None


def is_trash_home(s: Session, path: str) -> bool:
    """Whether a collection is some user's trash."""
    return split(path)[0] == f"/{s.server.zone}/trash/home"


@api(679)
def coll_remove(s: Session, r: Request) -> Reply:
    """Remove a collection."""
    path, kw = clean(r.node.get("collName")), r.node.keywords()
    with s.cat.tx(durable=True) as db:
        coll = s.cat.coll(path)
        if coll is None:
            raise IrodsError(codes.CAT_UNKNOWN_COLLECTION, path)
        if protected(s, path):
            raise IrodsError(codes.CAT_NO_ACCESS_PERMISSION, path)
        need(s, coll["id"], OWN)
        inner = s.cat.rows("SELECT id, name FROM coll WHERE name>=? AND name<?", *under(path))
        ids = [coll["id"], *(c["id"] for c in inner)]
        marks = ",".join("?" * len(ids))
        rows = s.cat.rows(f"SELECT * FROM data WHERE coll_id IN ({marks}) ORDER BY id, repl", *ids)
        if (rows or inner) and "recursiveOpr" not in kw:
            raise IrodsError(codes.SYS_COLLECTION_NOT_EMPTY, path)
        if (rows or inner) and "forceFlag" in kw and is_home(s, path):
            raise IrodsError(codes.CANT_RM_NON_EMPTY_HOME_COLL, path)
        trash = f"/{s.server.zone}/trash/"
        if "forceFlag" not in kw and not path.startswith(trash) and r.node.num("oprType") != 26:
            to_trash(s, path)
            return Reply()
        objects: dict[int, list[Any]] = {}
        for row in rows:
            objects.setdefault(row["id"], []).append(row)
        doomed: list[str] = []
        for replicas in objects.values():
            need(s, replicas[0]["id"], OWN)
            keep = {x["path"] for x in replicas if not inside_vault(s, x)}
            doomed += [p for p in remove(s, db, replicas) if p not in keep]
        if is_trash_home(s, path):
            ids.remove(coll["id"])  # emptied, not removed
        for cid in ids:
            forget(db, cid)
        db.executemany("DELETE FROM coll WHERE id=?", [(cid,) for cid in ids])
        if r.node.num("oprType") == 26:
            doomed = []
        doom(db, doomed)
    bury(s.cat, doomed)
    names = {c["id"]: c["name"] for c in (coll, *inner)}
    gone = [f"{names[x[0]['coll_id']]}/{x[0]['name']}" for x in objects.values()]
    while len(gone) >= FILES_PER_REPORT:
        s.reply(Reply(PROGRESS, counted(FILES_PER_REPORT, gone[FILES_PER_REPORT - 1])))
        if read_exact(s.sock, 4) != PROGRESS_SEEN:
            raise Disconnected("no answer to a progress report")
        gone = gone[FILES_PER_REPORT:]
    return Reply(0, counted(len(gone), ""))


def counted(files: int, last: str) -> bytes:
    """How much of a collection operation is done."""
    return pack("CollOprStat_PI", filesCnt=files, totalFileCnt=0, bytesWritten=0, lastObjPath=last)


def to_trash(s: Session, path: str) -> None:
    """Move something to the user's trash."""
    owner = s.name if s.zone == s.server.zone else f"{s.name}#{s.zone}"
    home = f"/{s.server.zone}/trash/home/{owner}"
    rest = path.removeprefix(f"/{s.server.zone}/home/{owner}/").lstrip("/")
    target = f"{home}/{rest}"
    if s.cat.coll(target) is not None or s.cat.replicas(target):
        target += f".{secrets.randbelow(10**10)}"
    with s.cat.tx() as db:
        root = s.cat.coll(home)
        if root is None:
            s.cat.add_coll(db, home, s.name, s.zone, s.uid)
        make(s, split(target)[0], True)
        move(s, path, target)


def move(s: Session, old: str, new: str) -> None:
    """Rename; vault files are named by number and stay where they are."""
    parent, name = split(new)
    with s.cat.tx(durable=True) as db:
        if s.cat.replicas(new):
            raise IrodsError(
                codes.CAT_NAME_EXISTS_AS_DATAOBJ
                if s.cat.coll(old) is not None
                else codes.CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME,
                new,
            )
        if s.cat.coll(new) is not None:
            raise IrodsError(codes.CAT_NAME_EXISTS_AS_COLLECTION, new)
        above = s.cat.coll(parent)
        if above is None:
            raise IrodsError(codes.CAT_UNKNOWN_COLLECTION, parent)
        need(s, above["id"], WRITE)
        coll = s.cat.coll(old)
        if coll is None:
            rows = s.cat.replicas(old)
            if not rows:
                raise IrodsError(codes.OBJ_PATH_DOES_NOT_EXIST, old)
            need(s, rows[0]["id"], OWN)
            check_at_rest(s, rows[0]["id"])
            db.execute(
                "UPDATE data SET coll_id=?, name=?, mtime=? WHERE id=?",
                (above["id"], name, now(), rows[0]["id"]),
            )
            return
        if protected(s, old) or (new + "/").startswith(old + "/"):
            raise IrodsError(codes.CAT_NO_ACCESS_PERMISSION, old)
        need(s, coll["id"], OWN)
        db.execute(
            "UPDATE coll SET name=?, parent=?, mtime=? WHERE id=?", (new, parent, now(), coll["id"])
        )
        n = len(old) + 1
        db.execute(
            "UPDATE coll SET name=?||substr(name,?), parent=?||substr(parent,?)"
            " WHERE name>=? AND name<?", (new, n, new, n, *under(old)),
        )  # fmt: skip


@api(627)
def rename(s: Session, r: Request) -> Reply:
    """Rename a data object or collection."""
    a, b = r.node.children[0], r.node.children[1]
    old, new = clean(a.get("objPath")), clean(b.get("objPath"))
    if new.split("/")[1] != s.server.zone:
        raise IrodsError(codes.SYS_CROSS_ZONE_MV_NOT_SUPPORTED, "across zones")
    move(s, old, new)
    return Reply()


@api(680)
def modify_collection(s: Session, r: Request) -> Reply:
    """Change a collection's comment."""
    coll = s.cat.coll(clean(r.node.get("collName")))
    if coll is None:
        raise IrodsError(codes.CAT_UNKNOWN_COLLECTION, r.node.get("collName"))
    need(s, coll["id"], WRITE)
    comment = r.node.keywords().get("collComments")
    if comment is None:
        raise IrodsError(codes.CAT_INVALID_ARGUMENT, "only collComments can be changed")
    with s.cat.tx(durable=True) as db:
        db.execute("UPDATE coll SET comments=?, mtime=? WHERE id=?", (comment, now(), coll["id"]))
    return Reply()
