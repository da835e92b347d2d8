"""Put and get of whole data objects, as iCommands do it.

Small objects travel in the request or reply itself. Of larger ones the server tells a descriptor
and that it wants no parallel streams; the client then reads or writes that descriptor over the same
connection and says when it is complete (API 626).
"""

from __future__ import annotations

import os

from . import codes, tickets
from .catalog import clean
from .included import Included
from .objects import Handle
from .opening import close, open_object, overwritten_where_it_is
from .request import Reply, Request, api
from .session import Session
from .vault import checksum_file
from .wire import IrodsError, pack

SINGLE_BUFFER = 32 << 20  # bytes; iRODS's own default


@api(606)
def data_put(s: Session, r: Request) -> Reply:
    """Put the bytes of the request, or open an object for those that follow."""
    kw = r.node.keywords()
    path = clean(r.node.get("objPath"))
    rows = s.cat.replicas(path)
    if rows and "forceFlag" not in kw:
        raise IrodsError(codes.OVERWRITE_WITHOUT_FORCE_FLAG, path)
    overwritten_where_it_is(s, rows, kw)
    included = Included.read(kw)
    h = open_object(s, path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, kw, r.node.num("createMode"))
    fd = s.free_fd()
    s.handles[fd] = h
    if "dataIncluded" not in kw and r.node.num("dataSize") > 0:
        h.transfer = kw
        return Reply(fd, portal(fd))
    view, done = memoryview(r.bs), 0
    try:
        if h.lent:
            tickets.spend_bytes(s, len(view))
        while done < len(view):
            done += os.pwrite(h.fd, view[done:], done)
    except BaseException:
        h.abandon()
        raise
    close(s, fd, kw)
    included.apply(s, path)
    return Reply()


@api(608)
def data_get(s: Session, r: Request) -> Reply:
    """The bytes of an object, or of a large one a descriptor to read them from."""
    kw = r.node.keywords()
    h = open_object(s, clean(r.node.get("objPath")), 0, kw)
    try:
        on_named_resource(s, h, kw)
        checksum = ""
        if "verifyChksum" in kw:
            row = s.cat.one("SELECT checksum FROM data WHERE id=? AND repl=?", h.data_id, h.repl)
            checksum = (row["checksum"] if row is not None else "") or checksum_file(h.path)
        size = os.fstat(h.fd).st_size
        if size > SINGLE_BUFFER:
            fd = s.free_fd()
            s.handles[fd], h.transfer = h, {}
            return Reply(fd, portal(fd, checksum))
        data = os.pread(h.fd, size, 0)
    finally:
        if h.transfer is None:
            os.close(h.fd)
    return Reply(len(data), portal(0, checksum), data)


def on_named_resource(s: Session, h: Handle, kw: dict[str, str]) -> None:
    """Refuse a get from a resource that holds no replica which could be read."""
    name = kw.get("rescName")
    if not name or kw.get("replNum") or kw.get("resc_hier"):
        return
    row = s.cat.one("SELECT resc_id FROM data WHERE id=? AND repl=?", h.data_id, h.repl)
    if row is not None and s.cat.hier(row["resc_id"]).split(";")[0] != name:
        said = "hierarchy descending from requested resource name does not have a replica"
        raise IrodsError(codes.SYS_REPLICA_INACCESSIBLE, said, tell=True)


def portal(number: int, checksum: str = "") -> bytes:
    """PortalOprOut_PI that offers no portal: no threads, and a descriptor if there is one."""
    ports = pack("PortList_PI", portNum=0, cookie=0, sock=0, windowSize=0, hostAddr="")
    return pack(
        "PortalOprOut_PI", status=0, l1descInx=number, numThreads=0, chksum=checksum
    ).replace(b"</PortalOprOut_PI>", ports + b"</PortalOprOut_PI>")  # fmt: skip


@api(626)
def transfer_complete(s: Session, r: Request) -> Reply:
    """The client is done with a descriptor; a negative number says that its transfer failed."""
    number = r.node.num("myInt")
    if number < 0:
        for handle in list(s.handles.values()):
            if isinstance(handle, Handle) and handle.transfer is not None:
                handle.abandon()
        return Reply()
    handle = s.handles.get(number)
    if not isinstance(handle, Handle) or handle.transfer is None:
        raise IrodsError(codes.SYS_BAD_FILE_DESCRIPTOR, "no transfer on this descriptor")
    included = Included.read(handle.transfer)
    close(s, number, handle.transfer)
    included.apply(s, handle.logical)
    return Reply()
