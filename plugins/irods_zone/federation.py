"""Requests about another zone's paths: which zone, passed on to that zone's server, and copies.

A client stays connected to its home zone. Its server opens one connection per partner zone, as the
client's user, and proves itself with a password derived from the key that both zones share.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import select
import socket
from typing import TYPE_CHECKING

from . import codes
from .login import partner_password, response_digest
from .request import HANDLERS, Reply, Request, json_body
from .wire import (
    PROGRESS,
    PROGRESS_SEEN,
    RELEASE,
    Disconnected,
    IrodsError,
    Message,
    Node,
    pack,
    parse,
    receive,
    send,
)

if TYPE_CHECKING:
    from .session import Session

CONNECT_SECONDS, ANSWER_SECONDS = 5, 60
_BLOCK = 4 << 20
_UNREACHABLE = codes.CROSS_ZONE_SOCK_CONNECT_ERR  # CROSS_ZONE_SOCK_CONNECT_ERR
_NO_MOVE = codes.SYS_CROSS_ZONE_MV_NOT_SUPPORTED  # SYS_CROSS_ZONE_MV_NOT_SUPPORTED
_ZONE_OF_PATH = re.compile(r"/([^/']+)")
_BY_JSON_PATH = (20002, 20005, 20007, 20008)
_BY_JSON_DESCRIPTOR = (20000, 20004)


class Partners:
    """One session's connections to partner zones, and the descriptors it has open there."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.socks: dict[str, socket.socket] = {}
        self.open: dict[int, tuple[str, int]] = {}
        self.tickets: dict[str, str] = {}

    def close(self) -> None:
        """Leave every partner; what was open for writing there is marked there."""
        for sock in self.socks.values():
            with contextlib.suppress(OSError):
                sock.close()

    def forward(self, request: Request) -> Reply | None:
        """A partner's answer, or None if the request is about this zone.

        Raises `IrodsError` (CROSS_ZONE_SOCK_CONNECT_ERR) if the partner does not answer.
        """
        local = _descriptor(request)
        if local is not None:
            return self._descriptor(request, local) if local in self.open else None
        if request.api == 628 and request.node.keywords().get("rsyncMode") == "IRODS_TO_IRODS":
            return None  # a comparison and a copy, each of which may be about a partner
        zones = [self._known(path_zone(p)) for p in _two_paths(request)]
        if len(set(zones)) > 1:
            if request.api == 627:
                raise IrodsError(_NO_MOVE, "objects do not move across zones")
            return self._copy(request)
        zone = self._known(target_zone(request))
        if not zone:
            return None
        reply = self.ask(zone, request)
        if request.api == 679:
            reply.body = b""  # counts of a removal do not cross zones
        if request.api in (601, 602, 20003) and reply.status > 2:
            reply.status = self._opened_there(zone, reply.status)
            if request.api == 20003:
                reply.body = _numbered(reply.body, reply.status)
        if request.api in (606, 608) and not reply.bs and reply.status > 2:
            remote, reply.status = reply.status, self._opened_there(zone, reply.status)
            reply.body = reply.body.replace(
                b"<l1descInx>%d<" % remote, b"<l1descInx>%d<" % reply.status
            )
        return reply

    def _opened_there(self, zone: str, remote: int) -> int:
        local = self.session.free_fd()
        self.open[local] = (zone, remote)
        return local

    def _known(self, zone: str) -> str:
        server = self.session.server
        return zone if zone != server.zone and zone in server.federate else ""

    def _descriptor(self, request: Request, local: int) -> Reply:
        zone, remote = self.open[local]
        if request.api in _BY_JSON_DESCRIPTOR:
            body = json_body(request.json() | {"fd": remote})
        else:
            new = b"<l1descInx>%d<" % remote
            body = re.sub(rb"<l1descInx>\s*\d+\s*<", new, request.raw, count=1)
            if request.api == 626:
                body = pack("INT_PI", myInt=remote)
        reply = self.ask(zone, Request(request.api, request.node, request.bs, body))
        if request.api == 20000 and reply.status >= 0:
            reply.body = _numbered(reply.body, local)
        if request.api in (626, 673, 20004):
            del self.open[local]
        return reply

    def ask(self, zone: str, request: Request) -> Reply:
        """Send a request to a partner and wait for its answer."""
        try:
            sock = self.socks.get(zone)
            if sock is not None and _left(sock):
                self._forget(zone)
                sock = None
            if sock is None:
                sock = self.socks[zone] = self._connect(zone)
            self._lend_ticket(zone, sock)
            send(sock, Message("RODS_API_REQ", request.api, request.raw, b"", request.bs))
            msg = receive(sock)
            while msg.int_info == PROGRESS:
                sock.sendall(PROGRESS_SEEN)
                msg = receive(sock)
        except (OSError, Disconnected) as e:
            self._forget(zone)
            raise IrodsError(_UNREACHABLE, f"zone {zone}: {e}") from None
        return Reply(msg.int_info, msg.body, msg.bs, msg.error)

    def _lend_ticket(self, zone: str, sock: socket.socket) -> None:
        """The partner knows the ticket that the client uses."""
        ticket = self.session.ticket
        if ticket == self.tickets.get(zone, ""):
            return
        self.tickets[zone] = ticket
        fields = {"arg1": "session", "arg2": ticket, "arg3": "", "arg4": "", "arg5": "", "arg6": ""}
        send(sock, Message("RODS_API_REQ", 723, pack("ticketAdminInp_PI", **fields)))
        receive(sock)

    def _forget(self, zone: str) -> None:
        self.tickets.pop(zone, None)
        dead = self.socks.pop(zone, None)
        if dead is not None:
            dead.close()
        self.open = {k: v for k, v in self.open.items() if v[0] != zone}

    def _connect(self, zone: str) -> socket.socket:
        s = self.session
        host, port, key = s.server.federate[zone]
        sock = socket.create_connection((host, port), timeout=CONNECT_SECONDS)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            send(sock, Message("RODS_CONNECT", 0, pack(
                "StartupPack_PI", irodsProt=1, reconnFlag=0, connectCnt=0, proxyUser=s.name,
                proxyRcatZone=s.zone, clientUser=s.name, clientRcatZone=s.zone,
                relVersion=RELEASE, apiVersion="d", option="pacsgrid-zone",
            )))  # fmt: skip
            receive(sock)
            send(sock, Message("RODS_API_REQ", 703))
            challenge = base64.b64decode(parse(receive(sock).body).get("challenge"))
            digest = response_digest(challenge, partner_password(key, s.name, s.zone))
            send(sock, Message("RODS_API_REQ", 704, pack(
                "authResponseInp_PI", response=base64.b64encode(digest).decode(),
                username=f"{s.name}#{s.zone}",
            )))  # fmt: skip
            answer = receive(sock)
            if answer.int_info < 0:
                raise IrodsError(answer.int_info, f"zone {zone} refused {s.name}#{s.zone}")
            sock.settimeout(ANSWER_SECONDS)
        except BaseException:
            sock.close()
            raise
        return sock

    # copies across zones

    def _copy(self, request: Request) -> Reply:
        """Read in one zone, write in the other; a copy that fails half way is removed."""
        source, target = (n for n in request.node.children if n.tag == "DataObjInp_PI")
        keywords = target.keywords()
        found = self._call(633, _object(target.get("objPath")))
        if found.status == 1 and "forceFlag" not in keywords:
            raise IrodsError(codes.OVERWRITE_WITHOUT_FORCE_FLAG, target.get("objPath"))
        stat = self._need(633, _object(source.get("objPath")))
        checksum = parse(stat.body).get("chksum")
        reading = self._need(602, _object(source.get("objPath"), source.keywords())).status
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            options = keywords | ({"verifyChksum": checksum} if checksum else {})
            writing = self._need(602, _object(target.get("objPath"), options, flags)).status
            try:
                size = self._stream(reading, writing)
                self._need(673, _opened(writing))
            except BaseException:
                self._call(673, _opened(writing))
                self._call(615, _object(target.get("objPath"), {"forceFlag": ""}))
                raise
        finally:
            self._call(673, _opened(reading))
        return Reply(0, pack("TransferStat_PI", numThreads=0, flags=0, bytesWritten=size))

    def _stream(self, reading: int, writing: int) -> int:
        done = 0
        while True:
            block = self._need(675, _opened(reading, _BLOCK)).bs
            if not block:
                return done
            self._need(676, _opened(writing, len(block)), block)
            done += len(block)

    def _call(self, api: int, body: bytes, bs: bytes | bytearray = b"") -> Reply:
        request = Request(api, parse(body), bs, body)
        try:
            reply = self.forward(request)
            return HANDLERS[api](self.session, request) if reply is None else reply
        except IrodsError as e:
            return Reply(e.code)

    def _need(self, api: int, body: bytes, bs: bytes | bytearray = b"") -> Reply:
        reply = self._call(api, body, bs)
        if reply.status < 0:
            raise IrodsError(reply.status, f"API {api} during a copy across zones")
        return reply


def _left(sock: socket.socket) -> bool:
    """Whether the partner closed the connection while it was idle: then it can be read from."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def _numbered(body: bytes, number: int) -> bytes:
    """The description of a descriptor with the number that it has here."""
    found = json.loads(base64.b64decode(parse(body).get("buf")).rstrip(b"\0"))
    return json_body(found | {"fd": number})


def _pairs(keywords: dict[str, str]) -> bytes:
    names = "".join(f"<keyWord>{k}</keyWord>" for k in keywords)
    values = b"".join(pack("x", svalue=v)[4:-5] for v in keywords.values()).decode()
    return (
        f"<KeyValPair_PI><ssLen>{len(keywords)}</ssLen>{names}{values}</KeyValPair_PI>"
    ).encode()


def _object(path: str, keywords: dict[str, str] | None = None, flags: int = 0) -> bytes:
    plain = pack(
        "DataObjInp_PI", objPath=path, createMode=0o600, openFlags=flags, offset=0, dataSize=-1,
        numThreads=0, oprType=0,
    )  # fmt: skip
    return plain.replace(b"</DataObjInp_PI>", _pairs(keywords or {}) + b"</DataObjInp_PI>")


def _opened(number: int, size: int = 0) -> bytes:
    plain = pack(
        "OpenedDataObjInp_PI", l1descInx=number, len=size, whence=0, oprType=0, offset=0,
        bytesWritten=0,
    )  # fmt: skip
    return plain.replace(b"</OpenedDataObjInp_PI>", _pairs({}) + b"</OpenedDataObjInp_PI>")


def _descriptor(request: Request) -> int | None:
    if request.api in _BY_JSON_DESCRIPTOR:
        number = request.json().get("fd")
        return number if isinstance(number, int) else None
    if request.api == 626:
        return request.node.num("myInt")
    if any(c.tag == "l1descInx" for c in request.node.children):
        return request.node.num("l1descInx")
    return None


def _two_paths(request: Request) -> list[str]:
    if request.api not in (627, 696):
        return []
    return [n.get("objPath") for n in request.node.children if n.tag == "DataObjInp_PI"]


def path_zone(path: str) -> str:
    """The zone that a logical path begins with; empty if it names none."""
    found = _ZONE_OF_PATH.match(path)
    return found[1] if found else ""


def target_zone(request: Request) -> str:
    """The zone a request is about, by its paths; empty if it names none."""
    node = request.node
    if request.api in (702, 722):
        return _query_zone(node)
    if request.api == 10221:
        return node.get("zone")
    if request.api in _BY_JSON_PATH:
        data = request.json()
        path = str(data.get("entity_name") or data.get("logical_path") or "")
    elif request.api == 706:
        path = node.get("arg3") if node.get("arg0") == "cp" else node.get("arg2")
    elif request.api in (627, 696):
        path = next(iter(_two_paths(request)), "")
    elif request.api in (622, 20001):
        path = node.child("DataObjInfo_PI").get("objPath")
    elif request.api == 723:
        path = node.get("arg4")
    elif request.api in (622, 20001):
        path = node.child("DataObjInfo_PI").get("objPath")
    else:
        path = node.get("objPath") or node.get("collName") or node.get("path")
    return path_zone(path)


def _query_zone(node: Node) -> str:
    named = node.keywords().get("zone", "")
    if named:
        return path_zone(named) if named.startswith("/") else named
    where = node.child("InxValPair_PI")
    for inx, text in zip(where.all("inx"), where.all("svalue"), strict=False):
        if inx.strip() in ("501", "502"):
            found = re.search(r"'/([^/'%]+)/?", text)
            if found:
                return found[1]
    return ""
