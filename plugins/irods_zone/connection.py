"""One client's connection: startup, its requests one after the other, its end."""

from __future__ import annotations

import contextlib
import logging
import socket
import sqlite3
import ssl
import traceback
from contextlib import nullcontext
from pathlib import Path

from .api_messages import Reply, Request
from .api_numbers import Api
from .api_registry import HANDLERS
from .error_codes import ErrorCode
from .errors import DisconnectedError, IrodsError
from .forwarding import forward
from .framing import RELEASE, Message, receive, send
from .native_packing import to_xml
from .negotiation import REQUEST, negotiate, policy, start_tls
from .pack_instructions import REQUESTS
from .session import Session
from .xml_structures import Node, error_stack, pack, parse

log = logging.getLogger(__name__)

STARTUP_SECONDS = 60  # for the client to authenticate; afterwards it may be idle
MAX_BEFORE_LOGIN = 1 << 20  # bytes in each part of a message before that
_BEFORE_LOGIN = (
    Api.AUTHENTICATION_APN, Api.AUTH_REQUEST_AN, Api.AUTH_RESPONSE_AN, Api.GET_MISC_SVR_INFO_AN,
)  # fmt: skip
# These only read and change the catalog: each runs in one transaction.
_ATOMIC = frozenset((
    Api.DATA_OBJ_RENAME_AN, Api.COLL_CREATE_AN, Api.MOD_AVU_METADATA_AN, Api.MOD_ACCESS_CONTROL_AN,
    Api.ATOMIC_APPLY_METADATA_OPERATIONS_APN, Api.ATOMIC_APPLY_ACL_OPERATIONS_APN,
))  # fmt: skip
_ADMIN_KEYWORDS = {"irodsAdmin", "irodsAdminRmTrash"}
# Errors of handlers that use the fields of a malformed request.
_MALFORMED = (
    ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError,
    sqlite3.DataError, sqlite3.InterfaceError, sqlite3.ProgrammingError,
)  # fmt: skip


class Connection:
    """One client's connection.

    Parameters
    ----------
    session : Session
        State of a connection that was just accepted.
    tls : ssl.SSLContext, optional
        The server's certificate and key; without them TLS is refused.
    tls_required : bool
        Whether clients that do not use TLS are refused.
    """

    def __init__(
        self, session: Session, tls: ssl.SSLContext | None = None, tls_required: bool = False
    ) -> None:
        self.session = session
        self._tls = tls
        self._policy = policy(tls, tls_required)

    def run(self) -> None:
        """Serve the client until it leaves, then finish what it had open."""
        session = self.session
        try:
            session.sock.settimeout(STARTUP_SECONDS)
            self._start()
            while True:
                if session.user is None:
                    message = receive(session.sock, MAX_BEFORE_LOGIN)
                else:
                    message = receive(session.sock)
                if message.type == "RODS_API_REQ":
                    self._answer(message)
                elif message.type == "RODS_DISCONNECT":
                    return
                else:
                    raise DisconnectedError(message.type)
        except (DisconnectedError, OSError) as e:
            log.debug("connection of %s: %s", session.user_name, e)
        except IrodsError as e:
            log.debug("startup of %s: %s", session.user_name, e)
        except Exception:
            log.exception("connection failed")
        finally:
            self._end()

    def stop(self) -> None:
        """Shut the connection down, which ends `run` in its thread."""
        with contextlib.suppress(OSError):
            self.session.sock.shutdown(socket.SHUT_RDWR)

    def _start(self) -> None:
        """Read the startup message, negotiate TLS and send the server's version."""
        session = self.session
        message = receive(session.sock, MAX_BEFORE_LOGIN)
        if message.type == "HEARTBEAT":
            session.sock.sendall(b"HEARTBEAT")
            raise DisconnectedError("heartbeat")
        if message.type != "RODS_CONNECT":
            raise DisconnectedError(message.type)
        node = parse(message.body)
        session.user_name = node.get("clientUser")
        session.user_zone = node.get("clientRcatZone") or session.zone.name
        session.proxy = (node.get("proxyUser"), node.get("proxyRcatZone"))
        session.native = node.get("irodsProt").strip() == "0"
        asked = REQUEST in node.get("option")
        encrypted = negotiate(session.sock, asked, self._policy)
        send(session.sock, Message("RODS_VERSION", 0, pack(
            "Version_PI", status=0, relVersion=RELEASE, apiVersion="d", reconnPort=0,
            reconnAddr="", cookie=400,
        )))  # fmt: skip
        if encrypted and self._tls is not None:
            session.sock = start_tls(session.sock, self._tls)

    def _answer(self, message: Message) -> None:
        """Handle one API request and send its reply, whatever goes wrong."""
        session, number = self.session, message.int_info
        try:
            reply = self._handle(message)
        except IrodsError as e:
            log.debug("API %s: %s %s", number, e.code, e.message)
            reply = Reply(e.code, e.body, error=error_stack(e))
        except (DisconnectedError, ConnectionError):
            raise
        except sqlite3.IntegrityError:  # two clients made the same thing at once
            reply = Reply(ErrorCode.CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME)
        except _MALFORMED as e:
            log.warning("API %s refused: %s at %s", number, type(e).__name__, _raised_at(e))
            reply = Reply(ErrorCode.SYS_INVALID_INPUT_PARAM)
        except OSError as e:
            log.exception("API %s", number)
            reply = Reply(ErrorCode.UNIX_FILE_OPEN_ERR - (e.errno or 0))
        except Exception:
            log.exception("API %s", number)
            reply = Reply(ErrorCode.SYS_INTERNAL_ERR)
        session.catalog.release()
        if session.user is not None:
            session.sock.settimeout(None)
        session.send_reply(reply)

    def _handle(self, message: Message) -> Reply:
        """Return the reply of the partner that the request is about, or of the API's handler."""
        session, number, body = self.session, message.int_info, message.body
        handler = HANDLERS.get(number)
        if handler is None or (session.native and body and number not in REQUESTS):
            raise IrodsError(ErrorCode.SYS_UNMATCHED_API_NUM, "unknown API")
        if session.user is None and number not in _BEFORE_LOGIN:
            raise IrodsError(ErrorCode.CAT_INSUFFICIENT_PRIVILEGE_LEVEL, "not authenticated")
        if session.native and body:
            body = to_xml(REQUESTS[number], body)
        request = Request(number, parse(body) if body else Node(""), message.byte_stream, body)
        session.elevated = False
        if session.user is not None and not _ADMIN_KEYWORDS.isdisjoint(request.node.keywords()):
            session.elevate()
        reply = forward(session, request) if session.zone.partners else None
        if reply is None:
            with session.catalog.transaction(durable=True) if number in _ATOMIC else nullcontext():
                reply = handler(session, request)
        return reply

    def _end(self) -> None:
        """Finish what the client had open and close the connection."""
        session = self.session
        for handle in list(session.handles.values()):
            try:
                handle.abandon()
            except Exception:
                log.exception("a replica that the client left open")
        session.partners.close()
        with contextlib.suppress(OSError, ValueError):
            if isinstance(session.sock, ssl.SSLSocket):
                session.sock.settimeout(2)
                session.sock.unwrap()  # clients wait for the end of the TLS session
        with contextlib.suppress(OSError):
            session.sock.close()
        session.catalog.release()


def _raised_at(error: BaseException) -> str:
    """Return file and line where an error was raised; the error's text may hold user data."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(last.filename).name}:{last.lineno}"
