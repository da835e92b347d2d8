"""Put and get of whole data objects, as iCommands transfer them.

Small objects travel in the request or reply itself. For larger ones the server returns a descriptor
and no portals for parallel streams; the client then reads or writes with the descriptor on the same
connection and ends with OPR_COMPLETE.
"""

from __future__ import annotations

import os

from .. import tickets
from ..api_messages import Reply, Request
from ..api_numbers import Api
from ..api_registry import handles
from ..catalog import canonical_path
from ..data_objects import OpenReplica
from ..error_codes import ErrorCode
from ..errors import IrodsError
from ..put_options import PutOptions
from ..replica_access import check_overwrite_target, close_replica, open_replica
from ..session import Session
from ..vault import checksum_file
from ..xml_structures import pack

MAX_SINGLE_BUFFER = 32 << 20  # bytes; iRODS's own default


@handles(Api.DATA_OBJ_PUT_AN)
def _data_obj_put(session: Session, request: Request) -> Reply:
    """Store the bytes of the request, or open a replica for the bytes that follow."""
    keywords = request.node.keywords()
    path = canonical_path(request.node.get("objPath"))
    rows = session.catalog.replicas(path)
    if rows and "forceFlag" not in keywords:
        raise IrodsError(ErrorCode.OVERWRITE_WITHOUT_FORCE_FLAG, path)
    check_overwrite_target(session, rows, keywords)
    options = PutOptions.read(keywords)
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC
    handle = open_replica(session, path, flags, keywords, request.node.number("createMode"))
    fd = session.free_descriptor()
    session.handles[fd] = handle
    if "dataIncluded" not in keywords and request.node.number("dataSize") > 0:
        handle.transfer = keywords
        return Reply(fd, _portal_reply(fd))
    try:
        if handle.by_ticket:
            tickets.count_bytes_written(session, len(request.byte_stream))
        handle.write_all(request.byte_stream, 0)
    except BaseException:
        handle.abandon()
        raise
    close_replica(session, fd, keywords)
    options.apply(session, path)
    return Reply()


@handles(Api.DATA_OBJ_GET_AN)
def _data_obj_get(session: Session, request: Request) -> Reply:
    """Return the bytes of an object, or a descriptor to read a large one."""
    keywords = request.node.keywords()
    handle = open_replica(session, canonical_path(request.node.get("objPath")), 0, keywords)
    try:
        _check_named_resource(session, handle, keywords)
        checksum = ""
        if "verifyChksum" in keywords:
            row = session.catalog.one(
                "SELECT checksum FROM data WHERE id=? AND repl=?", handle.data_id, handle.repl
            )
            checksum = (row["checksum"] if row is not None else "") or checksum_file(handle.path)
        size = os.fstat(handle.fd).st_size
        if size > MAX_SINGLE_BUFFER:
            fd = session.free_descriptor()
            session.handles[fd], handle.transfer = handle, {}
            return Reply(fd, _portal_reply(fd, checksum))
        data = os.pread(handle.fd, size, 0)
    finally:
        if handle.transfer is None:
            os.close(handle.fd)
    return Reply(len(data), _portal_reply(0, checksum), data)


def _check_named_resource(session: Session, handle: OpenReplica, keywords: dict[str, str]) -> None:
    """Refuse a get from a resource that has no readable replica."""
    name = keywords.get("rescName")
    if not name or keywords.get("replNum") or keywords.get("resc_hier"):
        return
    row = session.catalog.one(
        "SELECT resc_id FROM data WHERE id=? AND repl=?", handle.data_id, handle.repl
    )
    if row is not None and session.catalog.hierarchy(row["resc_id"]).split(";")[0] != name:
        said = "hierarchy descending from requested resource name does not have a replica"
        raise IrodsError(ErrorCode.SYS_REPLICA_INACCESSIBLE, said, to_client=True)


def _portal_reply(number: int, checksum: str = "") -> bytes:
    """Return a PortalOprOut_PI without portals; with a descriptor for a large object."""
    ports = pack("PortList_PI", portNum=0, cookie=0, sock=0, windowSize=0, hostAddr="")
    return pack(
        "PortalOprOut_PI", status=0, l1descInx=number, numThreads=0, chksum=checksum
    ).replace(b"</PortalOprOut_PI>", ports + b"</PortalOprOut_PI>")  # fmt: skip


@handles(Api.OPR_COMPLETE_AN)
def _opr_complete(session: Session, request: Request) -> Reply:
    """End the transfer of a descriptor; a negative number says that transfers failed."""
    number = request.node.number("myInt")
    if number < 0:
        for handle in list(session.handles.values()):
            if isinstance(handle, OpenReplica) and handle.transfer is not None:
                handle.abandon()
        return Reply()
    handle = session.handles.get(number)
    if not isinstance(handle, OpenReplica) or handle.transfer is None:
        raise IrodsError(ErrorCode.SYS_BAD_FILE_DESCRIPTOR, "no transfer on this descriptor")
    options = PutOptions.read(handle.transfer)
    close_replica(session, number, handle.transfer)
    options.apply(session, handle.logical_path)
    return Reply()
