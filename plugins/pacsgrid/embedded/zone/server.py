"""The zone server: listens, a thread per connection, dispatches API requests."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import logging
import os
import re
import secrets
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from .catalog import Catalog
from .native import REQUESTS, from_xml, to_xml
from .setup import populate
from .wire import (
    PROGRESS,
    PROGRESS_SEEN,
    Disconnected,
    IrodsError,
    Message,
    Node,
    pack,
    parse,
    receive,
    send,
)

log = logging.getLogger(__name__)

RELEASE = "rods5.0.2"


@dataclass
class Request:
    """An API request as a handler sees it."""

    api: int
    node: Node
    bs: bytes | bytearray
    raw: bytes

    def json(self) -> dict[str, Any]:
        """The JSON inside a BinBytesBuf_PI."""
        try:
            found = json.loads(base64.b64decode(self.node.get("buf")).rstrip(b"\0"))
        except ValueError:
            raise IrodsError(-130000, "bad JSON") from None
        if not isinstance(found, dict):
            raise IrodsError(-130000, "JSON is no object")
        return found


@dataclass
class Reply:
    """What a handler answers."""

    status: int = 0
    body: bytes = b""
    bs: bytes | bytearray = b""
    error: bytes = b""


Handler = Callable[["Session", Request], Reply]
HANDLERS: dict[int, Handler] = {}


def api(*numbers: int) -> Callable[[Handler], Handler]:
    """Register a handler for API numbers."""

    def register(handler: Handler) -> Handler:
        for number in numbers:
            HANDLERS[number] = handler
        return handler

    return register


def json_reply(value: object) -> Reply:
    """JSON in a BinBytesBuf_PI, ended by a NUL as the server does."""
    data = json.dumps(value, separators=(",", ":"), sort_keys=True).encode() + b"\0"
    return Reply(0, pack("BinBytesBuf_PI", buflen=len(data), buf=base64.b64encode(data).decode()))


def json_string(value: object, raw: bool = False) -> Reply:
    """JSON in an STR_PI; with raw the string as it is."""
    text = str(value) if raw else json.dumps(value, separators=(",", ":"))
    return Reply(0, pack("STR_PI", myStr=text))


def response_digest(challenge: bytes, password: str) -> bytes:
    """Native authentication's answer to a challenge."""
    padded = password.encode().ljust(50, b"\0")
    return hashlib.md5(challenge[:64] + padded).digest().replace(b"\0", b"\1")


def partner_password(key: str, user: str, zone: str) -> str:
    """What a partner server proves itself with for one of its users."""
    return hmac.new(key.encode(), f"{user}#{zone}".encode(), "sha256").hexdigest()[:48]


@dataclass
class Session:
    """One client's connection."""

    server: ZoneServer
    sock: socket.socket
    name: str = ""
    zone: str = ""
    proxy: tuple[str, str] = ("", "")
    user: Any = None
    challenge: bytes = b""
    handles: dict[int, Any] = field(default_factory=dict)
    queries: dict[int, Any] = field(default_factory=dict)
    partners: dict[str, socket.socket] = field(default_factory=dict)
    far: dict[int, tuple[str, int]] = field(default_factory=dict)
    ticket: str = ""
    signature: str = ""
    native: bool = False

    @property
    def cat(self) -> Catalog:
        """The catalog."""
        return self.server.catalog

    @property
    def uid(self) -> int:
        """The user's id in the catalog."""
        return int(self.user["id"])

    @property
    def admin(self) -> bool:
        """Whether the user is a rodsadmin."""
        return bool(self.user["type"] == "rodsadmin")

    def run(self) -> None:
        """Serve until the client leaves; then free whatever it held."""
        try:
            self._start()
            while True:
                msg = receive(self.sock)
                if msg.type == "RODS_API_REQ":
                    self._api(msg)
                elif msg.type == "RODS_DISCONNECT":
                    return
                else:
                    raise Disconnected(msg.type)
        except (Disconnected, OSError):
            pass
        except Exception:
            log.exception("connection failed")
        finally:
            self._end()

    def _start(self) -> None:
        msg = receive(self.sock)
        if msg.type == "RODS_HEARTBEAT":
            self.sock.sendall(b"RODS_HEARTBEAT")
            raise Disconnected("heartbeat")
        if msg.type != "RODS_CONNECT":
            raise Disconnected(msg.type)
        node = parse(msg.body)
        self.name, self.zone = node.get("clientUser"), node.get("clientRcatZone")
        self.proxy = (node.get("proxyUser"), node.get("proxyRcatZone"))
        self.zone = self.zone or self.server.zone
        self.native = node.get("irodsProt").strip() == "0"
        if "request_server_negotiation" in node.get("option"):
            send(self.sock, Message(
                "RODS_CS_NEG_T", 0, pack("CS_NEG_PI", status=1, result="CS_NEG_REFUSE")
            ))  # fmt: skip
            answer = receive(self.sock)
            if b"CS_NEG_FAILURE" in answer.body or b"CS_NEG_USE_SSL" in answer.body:
                raise Disconnected("client wants TLS")
        send(self.sock, Message("RODS_VERSION", 0, pack(
            "Version_PI", status=0, relVersion=RELEASE, apiVersion="d", reconnPort=0,
            reconnAddr="", cookie=400,
        )))  # fmt: skip

    def _api(self, msg: Message) -> None:
        try:
            handler = HANDLERS.get(msg.int_info)
            if handler is None or (self.native and msg.body and msg.int_info not in REQUESTS):
                raise IrodsError(-12000, "unknown API")
            if self.user is None and msg.int_info not in (110000, 703, 704, 700):
                raise IrodsError(-830000, "not authenticated")
            body = msg.body
            if self.native and body:
                body = to_xml(REQUESTS[msg.int_info], body)
            request = Request(msg.int_info, parse(body) if body else Node(""), msg.bs, body)
            reply = self._forward(request) if self.server.federate else None
            if reply is None:
                reply = handler(self, request)
        except IrodsError as e:
            log.debug("api %s: %s %s", msg.int_info, e.code, e.message)
            reply = Reply(e.code, e.body, error=e.stack())
        except (Disconnected, ConnectionError):
            raise
        except sqlite3.IntegrityError:  # two clients made the same thing at once
            reply = Reply(-809000)
        except OSError as e:
            log.exception("api %s", msg.int_info)
            reply = Reply(-510000 - (e.errno or 0))
        except Exception:
            log.exception("api %s", msg.int_info)
            reply = Reply(-154000)
        self.reply(reply)

    def reply(self, reply: Reply) -> None:
        """Send an answer in the client's protocol."""
        body, error = reply.body, reply.error
        if self.native:
            body, error = from_xml(body), from_xml(error)
        send(self.sock, Message("RODS_API_REPLY", reply.status, body, error, reply.bs))

    def _end(self) -> None:
        for handle in list(self.handles.values()):
            try:
                handle.abandon()
            except Exception:
                log.exception("abandoned handle")
        for sock in [*self.partners.values(), self.sock]:
            with contextlib.suppress(OSError):
                sock.close()
        self.cat.release()

    # authentication

    def password_ok(self, digest: bytes) -> bool:
        """Check the client's answer; the proxy user is who authenticates."""
        challenge, self.challenge = self.challenge, b""
        if not challenge:
            return False
        name, zone = self.proxy
        passwords = []
        partner = self.server.federate.get(zone)
        if zone != self.server.zone and partner is not None:
            passwords.append(partner_password(partner[2], name, zone))
        row = self.cat.user(name, zone)
        if row is None:
            return False
        if row["password"]:
            passwords.append(row["password"])
        if not any(
            hmac.compare_digest(response_digest(challenge, p), digest) for p in passwords
        ) and not self._temporary_ok(row["id"], challenge, digest):
            return False
        if (name, zone) == (self.name, self.zone):
            self.user = row
        elif row["type"] == "rodsadmin":
            self.user = self.cat.user(self.name, self.zone)
        self.signature = "".join(f"{c:02x}" for c in challenge[:16])
        return self.user is not None

    def _temporary_ok(self, user_id: int, challenge: bytes, digest: bytes) -> bool:
        """Whether the answer was made with a temporary password; each is good for one login."""
        for row in self.cat.rows("SELECT * FROM temp_password WHERE user_id=?", user_id):
            if hmac.compare_digest(response_digest(challenge, row["password"]), digest):
                with self.cat.tx(durable=True) as db:
                    db.execute("DELETE FROM temp_password WHERE password=?", (row["password"],))
                if row["expires"] < time.time():
                    raise IrodsError(-840000, "password expired")
                return True
        return False

    # federation

    def _forward(self, request: Request) -> Reply | None:
        """Pass a request about another zone's path to that zone's server."""
        node = request.node
        if "l1descInx" in {c.tag for c in node.children}:
            local = node.num("l1descInx")
            if local not in self.far:
                return None
            zone, remote = self.far[local]
            body = re.sub(rb"<l1descInx>\s*\d+", b"<l1descInx>%d" % remote, request.raw, count=1)
            reply = self._ask(zone, request, body)
            if request.api == 673:
                del self.far[local]
            return reply
        zone = target_zone(request)
        if zone == "" or zone == self.server.zone or zone not in self.server.federate:
            return None
        reply = self._ask(zone, request, request.raw)
        if request.api == 679:
            reply.body = b""  # counts of a removal do not cross zones
        if request.api in (601, 602) and reply.status > 2:
            local = self.free_fd()
            self.far[local] = (zone, reply.status)
            reply.status = local
        return reply

    def free_fd(self) -> int:
        """The lowest free descriptor, from 3 as the real server counts."""
        n = 3
        while n in self.handles or n in self.far:
            n += 1
        return n

    def _ask(self, zone: str, request: Request, body: bytes) -> Reply:
        sock = self.partners.get(zone)
        try:
            if sock is None:
                sock = self.partners[zone] = self._partner(zone)
            send(sock, Message("RODS_API_REQ", request.api, body, b"", request.bs))
            msg = receive(sock)
            while msg.int_info == PROGRESS:
                sock.sendall(PROGRESS_SEEN)
                msg = receive(sock)
        except (OSError, Disconnected) as e:
            dead = self.partners.pop(zone, None)
            if dead is not None:
                dead.close()
            self.far = {k: v for k, v in self.far.items() if v[0] != zone}
            raise IrodsError(-92000, f"zone {zone}: {e}") from None
        return Reply(msg.int_info, msg.body, msg.bs)

    def _partner(self, zone: str) -> socket.socket:
        host, port, key = self.server.federate[zone]
        sock = socket.create_connection((host, port), timeout=5)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            send(sock, Message("RODS_CONNECT", 0, pack(
                "StartupPack_PI", irodsProt=1, reconnFlag=0, connectCnt=0, proxyUser=self.name,
                proxyRcatZone=self.zone, clientUser=self.name, clientRcatZone=self.zone,
                relVersion=RELEASE, apiVersion="d", option="pacsgrid-zone",
            )))  # fmt: skip
            receive(sock)
            send(sock, Message("RODS_API_REQ", 703))
            challenge = base64.b64decode(parse(receive(sock).body).get("challenge"))
            digest = response_digest(challenge, partner_password(key, self.name, self.zone))
            send(sock, Message("RODS_API_REQ", 704, pack(
                "authResponseInp_PI", response=base64.b64encode(digest).decode(),
                username=f"{self.name}#{self.zone}",
            )))  # fmt: skip
            answer = receive(sock)
            if answer.int_info < 0:
                raise IrodsError(answer.int_info, "partner refused")
            sock.settimeout(120)
        except BaseException:
            sock.close()
            raise
        return sock


_ZONE_OF_PATH = re.compile(r"/([^/']+)")


def target_zone(request: Request) -> str:
    """The zone a request is about, by its paths; empty if it names none."""
    node = request.node
    if request.api == 702:
        named = node.keywords().get("zone")
        if named:
            return named
        where = node.child("InxValPair_PI")
        for inx, text in zip(where.all("inx"), where.all("svalue"), strict=False):
            if int(inx) in (501, 502):
                found = re.search(r"'/([^/'%]+)/?", text)
                if found:
                    return found[1]
        return ""
    if request.api in (20002, 20007, 802):
        if request.api == 802:
            path = node.get("objPath")
        else:
            try:
                data = request.json()
            except IrodsError:
                return ""
            path = str(data.get("entity_name") or data.get("logical_path") or "")
    elif request.api == 706:
        path = node.get("arg2")
    elif request.api in (627, 696):
        path = node.children[0].get("objPath") if node.children else ""
    elif request.api == 723:
        path = node.get("arg4")
    else:
        path = node.get("objPath") or node.get("collName") or node.get("path")
    found = _ZONE_OF_PATH.match(path)
    return found[1] if found else ""


class ZoneServer:
    """A zone: catalog, vault and listener. Use it as a context manager."""

    def __init__(
        self,
        zone: str,
        directory: Path | str,
        port: int = 0,
        admin: str = "rods",
        password: str = "rods",
        host: str = "127.0.0.1",
        federate: Mapping[str, tuple[str, int, str]] | None = None,
    ) -> None:
        if not re.fullmatch(r"[\w.-]+", zone):
            raise ValueError(f"bad zone name {zone!r}")
        self.zone = zone
        self.directory = Path(directory)
        self.host = host
        self.port = port
        self.admin = admin
        self.password = password
        self.federate = dict(federate or {})
        self.catalog: Catalog
        self.locks: dict[int, Any] = {}
        self.default_resource = "demoResc"
        self.lock = threading.RLock()
        self._listener: socket.socket | None = None
        self._sessions: dict[int, tuple[Session, threading.Thread]] = {}
        self._thread: threading.Thread | None = None
        self._stopping = False

    def start(self) -> None:
        """Open the catalog and accept connections."""
        from . import apis

        apis.load()
        self.directory.mkdir(parents=True, exist_ok=True)
        os.chmod(self.directory, 0o700)
        self.catalog = Catalog(self.directory / "catalog.sqlite")
        populate(
            self.catalog, self.zone, self.directory / "vault" / "demoResc", self.host,
            self.admin, self.password, list(self.federate),
        )  # fmt: skip
        self._listener = socket.create_server((self.host, self.port), backlog=512)
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name=f"{self.zone}-accept")
        self._thread.daemon = True
        self._thread.start()

    def _accept(self) -> None:
        assert self._listener is not None
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            if self._stopping:
                sock.close()
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            session = Session(self, sock)
            thread = threading.Thread(target=self._serve, args=(session,), daemon=True)
            with self.lock:
                self._sessions[id(session)] = (session, thread)
            thread.start()

    def _serve(self, session: Session) -> None:
        try:
            session.run()
        finally:
            with self.lock:
                self._sessions.pop(id(session), None)

    def stop(self) -> None:
        """Stop accepting, end the connections, close the catalog."""
        self._stopping = True
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        with self.lock:
            running = list(self._sessions.values())
        for session, _ in running:
            with contextlib.suppress(OSError):
                session.sock.shutdown(socket.SHUT_RDWR)
        for _, thread in running:
            thread.join(5)
        if self._thread is not None:
            self._thread.join(5)
        self.catalog.close()

    def __enter__(self) -> ZoneServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def new_challenge(self) -> bytes:
        """A fresh challenge: 64 characters of hex."""
        return secrets.token_hex(32).encode()
