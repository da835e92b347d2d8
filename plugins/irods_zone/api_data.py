"""Data object APIs."""

from __future__ import annotations

import os
import secrets

from . import codes, tickets
from .catalog import OWN, READ, clean
from .doomed import bury, doom
from .included import Included
from .objects import Handle, asked, inside_vault, need, pick, remove
from .opening import close, existing, open_object
from .request import Reply, Request, api, json_body, json_reply, json_string
from .session import Session
from .tree import target
from .wire import IrodsError, pack


@api(601, 602)
def data_open(s: Session, r: Request) -> Reply:
    """Open, or create what is then empty."""
    path, flags = r.node.get("objPath"), r.node.num("openFlags")
    if not path.startswith("/"):
        raise IrodsError(codes.SYS_INVALID_FILE_PATH, path)
    if r.api == 601:
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC
    kw = r.node.keywords()
    Included.read(kw)  # before anything is made
    h = open_object(s, clean(path), flags, kw, r.node.num("createMode"))
    h.opened_with = kw
    h.checksums = {key: kw[key] for key in ("regChksum", "verifyChksum") if key in kw}
    fd = s.free_fd()
    s.handles[fd] = h
    return Reply(fd)


def handle(s: Session, r: Request) -> Handle:
    """The handle a request names."""
    found = s.handles.get(r.node.num("l1descInx"))
    if not isinstance(found, Handle):
        raise IrodsError(codes.SYS_BAD_FILE_DESCRIPTOR, "bad descriptor")
    return found


@api(676)
def data_write(s: Session, r: Request) -> Reply:
    """Write at the handle's offset."""
    h = handle(s, r)
    if not h.write:
        raise IrodsError(codes.SYS_FILE_DESC_OUT_OF_RANGE, "not open for writing")
    if h.lent:
        tickets.spend_bytes(s, len(r.bs))
    h.written()
    if h.append:  # as open(2) has it: wherever the descriptor stands
        h.offset = os.fstat(h.fd).st_size
    view, done = memoryview(r.bs), 0
    while done < len(view):
        done += os.pwrite(h.fd, view[done:], h.offset + done)
    h.offset += done
    return Reply(done)


@api(675)
def data_read(s: Session, r: Request) -> Reply:
    """Read at the handle's offset."""
    h = handle(s, r)
    size = min(max(r.node.num("len"), 0), 1 << 28)
    data = os.pread(h.fd, size, h.offset)
    h.offset += len(data)
    return Reply(len(data), b"", data)


@api(674)
def data_lseek(s: Session, r: Request) -> Reply:
    """Move the handle's offset."""
    h = handle(s, r)
    base = (0, h.offset, os.fstat(h.fd).st_size if r.node.num("whence") == 2 else 0)
    whence = r.node.num("whence")
    if whence not in (0, 1, 2) or base[whence] + r.node.num("offset") < 0:
        raise IrodsError(codes.UNIX_FILE_LSEEK_ERR - 22, "bad seek")
    h.offset = base[whence] + r.node.num("offset")
    return Reply(0, pack("fileLseekOut_PI", offset=h.offset))


@api(673)
def data_close(s: Session, r: Request) -> Reply:
    """Close; what was written becomes good.

    The checksum is asked for in the open, as on a real server, which disregards a close's keywords.
    """
    h = handle(s, r)
    close(s, r.node.num("l1descInx"), h.checksums)
    Included.read(h.opened_with).apply(s, h.logical)
    return Reply()


@api(633)
def stat(s: Session, r: Request) -> Reply:
    """Stat of a collection or data object."""
    path = clean(r.node.get("objPath"))
    coll = s.cat.coll(path)
    if coll is not None:
        need(s, coll["id"], READ, codes.USER_FILE_DOES_NOT_EXIST)
        kind, size, chk, row = 2, 0, "", coll
    else:
        rows = s.cat.replicas(path)
        if not rows:
            raise IrodsError(codes.USER_FILE_DOES_NOT_EXIST, path)
        need(s, rows[0]["id"], READ, codes.USER_FILE_DOES_NOT_EXIST)
        row = pick(s, rows, r.node.keywords())
        kind, size, chk = 1, row["size"], row["checksum"]
    return Reply(kind, pack(
        "RodsObjStat_PI", objSize=size, objType=kind, dataMode=0, dataId=row["id"], chksum=chk,
        ownerName=row["owner"], ownerZone=row["ozone"], createTime=row["ctime"],
        modifyTime=row["mtime"],
    ))  # fmt: skip


@api(615)
def data_unlink(s: Session, r: Request) -> Reply:
    """Remove a data object, or unregister it."""
    kw = r.node.keywords()
    path = clean(r.node.get("objPath"))
    with s.cat.tx(durable=True) as db:
        rows = existing(s, path, OWN)
        if "forceFlag" not in kw and r.node.num("oprType") != 26:
            from .api_coll import to_trash

            to_trash(s, path)
            return Reply()
        doomed = [x["path"] for x in rows if inside_vault(s, x)]
        remove(s, db, rows)
        if r.node.num("oprType") == 26:
            doomed = []
        doom(db, doomed)
    bury(s.cat, doomed)
    return Reply()


@api(20000)
def descriptor_info(s: Session, r: Request) -> Reply:
    """What a parallel writer must know to open the same replica again."""
    return json_reply(described(s, int(r.json().get("fd", -1))))


@api(20003)
def replica_open(s: Session, r: Request) -> Reply:
    """Open a replica and describe it in one go."""
    number = data_open(s, r).status
    return Reply(number, json_body(described(s, number)))


def described(s: Session, number: int) -> dict[str, object]:
    """A descriptor's replica, with the token that lets other connections write to it."""
    h = s.handles.get(number)
    if h is None:
        raise IrodsError(codes.SYS_BAD_FILE_DESCRIPTOR, "bad descriptor")
    if h.lock is not None:
        h.lock.token = h.lock.token or secrets.token_hex(16)
    row = s.cat.one("SELECT * FROM data WHERE id=? AND repl=?", h.data_id, h.repl)
    return {
        "fd": number, "replica_token": h.lock.token if h.lock else "", "in_use": True,
        "data_object_info": {
            "replica_number": h.repl, "data_id": h.data_id, "object_path": h.logical,
            "resource_hierarchy": s.cat.hier(row["resc_id"]), "data_size": row["size"],
            "replica_status": row["status"], "file_path": h.path, "checksum": row["checksum"],
        },
    }  # fmt: skip


@api(10220)
def resource_for_operation(s: Session, r: Request) -> Reply:
    """The host and hierarchy that an open or create would go to, for clients that go there."""
    path, kw = clean(r.node.get("objPath")), r.node.keywords()
    kind = kw.get("getResourceInfoOpType") or kw.get("get_resource_info_op_type") or ""
    rows = s.cat.replicas(path)
    row = next(iter(asked(s, rows, kw)), None) if rows else None
    if kind.upper() == "OPEN":
        if not rows:
            raise IrodsError(codes.OBJ_PATH_DOES_NOT_EXIST, path)
        need(s, rows[0]["id"], READ, codes.OBJ_PATH_DOES_NOT_EXIST)
        row = pick(s, rows, kw)
    leaf = target(s, kw) if row is None else s.cat.resources[row["resc_id"]]
    return json_string({"host": leaf["loc"], "resource_hierarchy": s.cat.hier(leaf["id"])})


@api(20004)
def replica_close(s: Session, r: Request) -> Reply:
    """Close as parallel writers do, with or without telling the catalog."""
    data = r.json()
    number = int(data.get("fd", -1))
    h = s.handles.get(number)
    if h is None:
        raise IrodsError(codes.SYS_BAD_FILE_DESCRIPTOR, "bad descriptor")
    kw = {"regChksum": ""} if data.get("compute_checksum") else {}
    close(s, number, kw)
    if isinstance(h, Handle):
        Included.read(h.opened_with).apply(s, h.logical)
    return Reply()
