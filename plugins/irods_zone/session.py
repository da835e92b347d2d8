"""One client's connection: its start, its requests one after the other, its end."""

from __future__ import annotations

import contextlib
import logging
import socket
import sqlite3
import ssl
import traceback
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import codes
from .catalog import Catalog
from .federation import Partners
from .native import REQUESTS, from_xml, to_xml
from .negotiation import negotiate, policy, start_tls
from .request import HANDLERS, Reply, Request
from .wire import (
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
    from .server import ZoneServer

log = logging.getLogger(__name__)

START_SECONDS = 60  # to say who one is; afterwards a client may be idle for as long as it likes
MAX_UNKNOWN = 1 << 20  # bytes in a message of a client that has not said who it is
# These only read and change the catalog: in one transaction nobody gets in between.
_ATOMIC = frozenset((627, 681, 706, 707, 20002, 20003))
_BEFORE_LOGIN = (110000, 703, 704, 700)

_ADMIN = {"irodsAdmin", "irodsAdminRmTrash"}


_MALFORMED = (
    ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError,
    sqlite3.DataError, sqlite3.InterfaceError, sqlite3.ProgrammingError,
)  # fmt: skip


def _place(error: BaseException) -> str:
    """File and line that an error comes from: enough to find a mistake of our own."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(last.filename).name}:{last.lineno}"


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
    ticket: str = ""
    signature: str = ""
    native: bool = False
    elevated: bool = False  # an administrator asked to act regardless of rights, in this request

    def __post_init__(self) -> None:
        self.partners = Partners(self)

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

    def free_fd(self) -> int:
        """The lowest free descriptor, from 3 as the real server counts."""
        n = 3
        while n in self.handles or n in self.partners.open:
            n += 1
        return n

    def run(self) -> None:
        """Serve until the client leaves; then free whatever it held."""
        try:
            self.sock.settimeout(START_SECONDS)
            self._start()
            while True:
                msg = receive(self.sock, MAX_UNKNOWN) if self.user is None else receive(self.sock)
                if msg.type == "RODS_API_REQ":
                    self._api(msg)
                elif msg.type == "RODS_DISCONNECT":
                    return
                else:
                    raise Disconnected(msg.type)
        except (Disconnected, OSError) as e:
            log.debug("connection of %s: %s", self.name, e)
        except IrodsError as e:
            log.debug("start of %s: %s", self.name, e)
        except Exception:
            log.exception("connection failed")
        finally:
            self._end()

    def _start(self) -> None:
        msg = receive(self.sock, MAX_UNKNOWN)
        if msg.type == "HEARTBEAT":
            self.sock.sendall(b"HEARTBEAT")
            raise Disconnected("heartbeat")
        if msg.type != "RODS_CONNECT":
            raise Disconnected(msg.type)
        node = parse(msg.body)
        self.name, self.zone = node.get("clientUser"), node.get("clientRcatZone")
        self.proxy = (node.get("proxyUser"), node.get("proxyRcatZone"))
        self.zone = self.zone or self.server.zone
        self.native = node.get("irodsProt").strip() == "0"
        tls = self.server.tls
        asked = "request_server_negotiation" in node.get("option")
        encrypted = negotiate(self.sock, asked, policy(tls, self.server.tls_required))
        send(self.sock, Message("RODS_VERSION", 0, pack(
            "Version_PI", status=0, relVersion=RELEASE, apiVersion="d", reconnPort=0,
            reconnAddr="", cookie=400,
        )))  # fmt: skip
        if encrypted and tls is not None:
            self.sock = start_tls(self.sock, tls)

    def _api(self, msg: Message) -> None:
        try:
            handler = HANDLERS.get(msg.int_info)
            if handler is None or (self.native and msg.body and msg.int_info not in REQUESTS):
                raise IrodsError(codes.SYS_UNMATCHED_API_NUM, "unknown API")
            if self.user is None and msg.int_info not in _BEFORE_LOGIN:
                raise IrodsError(codes.CAT_INSUFFICIENT_PRIVILEGE_LEVEL, "not authenticated")
            body = msg.body
            if self.native and body:
                body = to_xml(REQUESTS[msg.int_info], body)
            request = Request(msg.int_info, parse(body) if body else Node(""), msg.bs, body)
            self.elevated = False
            if self.user is not None and not _ADMIN.isdisjoint(request.node.keywords()):
                self.elevate()
            reply = self.partners.forward(request) if self.server.federate else None
            if reply is None:
                with self.cat.tx(durable=True) if msg.int_info in _ATOMIC else nullcontext():
                    reply = handler(self, request)
        except IrodsError as e:
            log.debug("api %s: %s %s", msg.int_info, e.code, e.message)
            reply = Reply(e.code, e.body, error=e.stack())
        except (Disconnected, ConnectionError):
            raise
        except sqlite3.IntegrityError:  # two clients made the same thing at once
            reply = Reply(codes.CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME)
        except _MALFORMED as e:
            # A request that is not what it should be fails where its fields are used.
            log.warning("api %s refused: %s at %s", msg.int_info, type(e).__name__, _place(e))
            reply = Reply(codes.SYS_INVALID_INPUT_PARAM)
        except OSError as e:
            log.exception("api %s", msg.int_info)
            reply = Reply(codes.UNIX_FILE_OPEN_ERR - (e.errno or 0))
        except Exception:
            log.exception("api %s", msg.int_info)
            reply = Reply(codes.SYS_INTERNAL_ERR)
        self.cat.release()
        if self.user is not None:
            self.sock.settimeout(None)
        self.reply(reply)

    def elevate(self) -> None:
        """Act regardless of rights in this request; administrators only."""
        if not self.admin:
            raise IrodsError(codes.CAT_INSUFFICIENT_PRIVILEGE_LEVEL, "administrators only")
        self.elevated = True

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
        self.partners.close()
        with contextlib.suppress(OSError, ValueError):
            if isinstance(self.sock, ssl.SSLSocket):
                self.sock.settimeout(2)
                self.sock.unwrap()  # a client waits for TLS's own goodbye
        with contextlib.suppress(OSError):
            self.sock.close()
        self.cat.release()
