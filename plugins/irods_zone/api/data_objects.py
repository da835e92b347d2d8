"""Data objects: open, read, write, close, stat, unlink."""

from __future__ import annotations

import errno
import os
import secrets

from .. import tickets
from ..access_control import require_access
from ..api_messages import Reply, Request, json_body, json_reply, json_string_reply
from ..api_numbers import Api
from ..api_registry import handles
from ..catalog import OWN, READ, canonical_path
from ..data_objects import (
    UNREG_OPR,
    OpenReplica,
    choose_replica,
    delete_data_object,
    is_vault_file,
    matching_replicas,
)
from ..deferred_deletion import delete_scheduled, schedule
from ..error_codes import ErrorCode
from ..errors import IrodsError
from ..namespace import elevate_for_trash, move_to_trash
from ..put_options import PutOptions
from ..replica_access import close_replica, open_replica, require_replicas
from ..resource_hierarchy import target_leaf
from ..session import Session
from ..xml_structures import pack


@handles(Api.DATA_OBJ_CREATE_AN, Api.DATA_OBJ_OPEN_AN)
def _data_obj_create(session: Session, request: Request) -> Reply:
    """Open a replica; DATA_OBJ_CREATE also creates or empties it."""
    path, flags = request.node.get("objPath"), request.node.number("openFlags")
    if not path.startswith("/"):
        raise IrodsError(ErrorCode.SYS_INVALID_FILE_PATH, path)
    if request.api == Api.DATA_OBJ_CREATE_AN:
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC
    keywords = request.node.keywords()
    PutOptions.read(keywords)  # refuse malformed ones before anything is made
    handle = open_replica(
        session, canonical_path(path), flags, keywords, request.node.number("createMode")
    )
    handle.open_keywords = keywords
    fd = session.free_descriptor()
    session.handles[fd] = handle
    return Reply(fd)


def _open_handle(session: Session, request: Request) -> OpenReplica:
    """Return the open replica that a request names by its descriptor."""
    found = session.handles.get(request.node.number("l1descInx"))
    if not isinstance(found, OpenReplica):
        raise IrodsError(ErrorCode.SYS_BAD_FILE_DESCRIPTOR, "bad descriptor")
    return found


@handles(Api.DATA_OBJ_WRITE_AN)
def _data_obj_write(session: Session, request: Request) -> Reply:
    """Write at the descriptor's offset, or at the end if it was opened to append."""
    handle = _open_handle(session, request)
    if not handle.write:
        raise IrodsError(ErrorCode.SYS_FILE_DESC_OUT_OF_RANGE, "not open for writing")
    if handle.by_ticket:
        tickets.count_bytes_written(session, len(request.byte_stream))
    handle.mark_written()
    if handle.append:
        handle.offset = os.fstat(handle.fd).st_size
    handle.write_all(request.byte_stream, handle.offset)
    handle.offset += len(request.byte_stream)
    return Reply(len(request.byte_stream))


@handles(Api.DATA_OBJ_READ_AN)
def _data_obj_read(session: Session, request: Request) -> Reply:
    """Read at the descriptor's offset."""
    handle = _open_handle(session, request)
    size = min(max(request.node.number("len"), 0), 1 << 28)
    data = os.pread(handle.fd, size, handle.offset)
    handle.offset += len(data)
    return Reply(len(data), b"", data)


@handles(Api.DATA_OBJ_LSEEK_AN)
def _data_obj_lseek(session: Session, request: Request) -> Reply:
    """Set the descriptor's offset."""
    handle = _open_handle(session, request)
    bases = {os.SEEK_SET: 0, os.SEEK_CUR: handle.offset, os.SEEK_END: os.fstat(handle.fd).st_size}
    base = bases.get(request.node.number("whence"))
    offset = request.node.number("offset")
    if base is None or base + offset < 0:
        raise IrodsError(ErrorCode.UNIX_FILE_LSEEK_ERR - errno.EINVAL, "bad seek")
    handle.offset = base + offset
    return Reply(0, pack("fileLseekOut_PI", offset=handle.offset))


@handles(Api.DATA_OBJ_CLOSE_AN)
def _data_obj_close(session: Session, request: Request) -> Reply:
    """Close a descriptor; a written replica becomes good."""
    handle = _open_handle(session, request)
    # The checksum is asked for in the open; the real server disregards keywords of the close.
    keywords = {
        key: value
        for key, value in handle.open_keywords.items()
        if key in ("regChksum", "verifyChksum")
    }
    close_replica(session, request.node.number("l1descInx"), keywords)
    PutOptions.read(handle.open_keywords).apply(session, handle.logical_path)
    return Reply()


@handles(Api.OBJ_STAT_AN)
def _obj_stat(session: Session, request: Request) -> Reply:
    """Describe a data object or collection."""
    path = canonical_path(request.node.get("objPath"))
    coll = session.catalog.collection(path)
    if coll is not None:
        require_access(session, coll["id"], READ, ErrorCode.USER_FILE_DOES_NOT_EXIST)
        kind, size, chk, row = 2, 0, "", coll
    else:
        rows = session.catalog.replicas(path)
        if not rows:
            raise IrodsError(ErrorCode.USER_FILE_DOES_NOT_EXIST, path)
        require_access(session, rows[0]["id"], READ, ErrorCode.USER_FILE_DOES_NOT_EXIST)
        row = choose_replica(session, rows, request.node.keywords())
        kind, size, chk = 1, row["size"], row["checksum"]
    return Reply(kind, pack(
        "RodsObjStat_PI", objSize=size, objType=kind, dataMode=0, dataId=row["id"], chksum=chk,
        ownerName=row["owner"], ownerZone=row["ozone"], createTime=row["ctime"],
        modifyTime=row["mtime"],
    ))  # fmt: skip


@handles(Api.DATA_OBJ_UNLINK_AN)
def _data_obj_unlink(session: Session, request: Request) -> Reply:
    """Remove a data object, move it to the trash, or unregister it."""
    keywords = request.node.keywords()
    unregister = request.node.number("oprType") == UNREG_OPR
    path = canonical_path(request.node.get("objPath"))
    with session.catalog.transaction(durable=True) as db:
        elevate_for_trash(session, path, keywords)
        rows = require_replicas(session, path, OWN)
        if "forceFlag" not in keywords and not unregister:
            move_to_trash(session, path)
            return Reply()
        files = [] if unregister else [x["path"] for x in rows if is_vault_file(session, x)]
        delete_data_object(session, db, rows)
        schedule(db, files)
    delete_scheduled(session.catalog, files)
    return Reply()


@handles(Api.GET_FILE_DESCRIPTOR_INFO_APN)
def _get_file_descriptor_info(session: Session, request: Request) -> Reply:
    """Describe an open replica, so that parallel connections can open it as well."""
    return json_reply(_describe_descriptor(session, int(request.json().get("fd", -1))))


@handles(Api.REPLICA_OPEN_APN)
def _replica_open(session: Session, request: Request) -> Reply:
    """Open a replica and describe it."""
    number = _data_obj_create(session, request).status
    return Reply(number, json_body(_describe_descriptor(session, number)))


def _describe_descriptor(session: Session, number: int) -> dict[str, object]:
    """Describe an open replica, with the token that lets other connections write to it."""
    handle = session.handles.get(number)
    if handle is None:
        raise IrodsError(ErrorCode.SYS_BAD_FILE_DESCRIPTOR, "bad descriptor")
    if handle.lock is not None:
        handle.lock.token = handle.lock.token or secrets.token_hex(16)
    row = session.catalog.one(
        "SELECT * FROM data WHERE id=? AND repl=?", handle.data_id, handle.repl
    )
    if row is None:
        raise IrodsError(ErrorCode.OBJ_PATH_DOES_NOT_EXIST, "removed meanwhile")
    return {
        "fd": number, "replica_token": handle.lock.token if handle.lock else "", "in_use": True,
        "data_object_info": {
            "replica_number": handle.repl, "data_id": handle.data_id,
            "object_path": handle.logical_path, "data_size": row["size"],
            "resource_hierarchy": session.catalog.hierarchy(row["resc_id"]),
            "replica_status": row["status"], "file_path": handle.path, "checksum": row["checksum"],
        },
    }  # fmt: skip


@handles(Api.GET_RESOURCE_INFO_FOR_OPERATION_AN)
def _get_resource_info_for_operation(session: Session, request: Request) -> Reply:
    """Return host and resource hierarchy that an open or a create would use."""
    path, keywords = canonical_path(request.node.get("objPath")), request.node.keywords()
    kind = keywords.get("getResourceInfoOpType") or keywords.get("get_resource_info_op_type") or ""
    rows = session.catalog.replicas(path)
    row = next(iter(matching_replicas(session, rows, keywords)), None) if rows else None
    if kind.upper() == "OPEN":
        if not rows:
            raise IrodsError(ErrorCode.OBJ_PATH_DOES_NOT_EXIST, path)
        require_access(session, rows[0]["id"], READ, ErrorCode.OBJ_PATH_DOES_NOT_EXIST)
        row = choose_replica(session, rows, keywords)
    if row is None:
        leaf = target_leaf(session, keywords)
    else:
        leaf = session.catalog.resources[row["resc_id"]]
    return json_string_reply(
        {"host": leaf["loc"], "resource_hierarchy": session.catalog.hierarchy(leaf["id"])}
    )


@handles(Api.REPLICA_CLOSE_APN)
def _replica_close(session: Session, request: Request) -> Reply:
    """Close a descriptor as parallel writers do."""
    data = request.json()
    number = int(data.get("fd", -1))
    handle = session.handles.get(number)
    if handle is None:
        raise IrodsError(ErrorCode.SYS_BAD_FILE_DESCRIPTOR, "bad descriptor")
    keywords = {"regChksum": ""} if data.get("compute_checksum") else {}
    close_replica(session, number, keywords)
    if isinstance(handle, OpenReplica):
        PutOptions.read(handle.open_keywords).apply(session, handle.logical_path)
    return Reply()
