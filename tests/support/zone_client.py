"""A client of single messages, for what python-irodsclient does not send."""

from __future__ import annotations

import base64
import socket

from irods.session import iRODSSession

from irods_zone import ZoneServer
from irods_zone.api_numbers import Api
from irods_zone.authentication import response_digest
from irods_zone.framing import Message, receive, send
from irods_zone.xml_structures import escape, pack, parse


def login(zone: ZoneServer, user: str, password: str) -> iRODSSession:
    return iRODSSession(
        host="127.0.0.1", port=zone.port, user=user, password=password, zone="brno"
    )  # fmt: skip


def pairs(**keywords: str) -> str:
    """Return a KeyValPair_PI."""
    names = "".join(f"<keyWord>{k}</keyWord>" for k in keywords)
    values = "".join(f"<svalue>{escape(v)}</svalue>" for v in keywords.values())
    return f"<KeyValPair_PI><ssLen>{len(keywords)}</ssLen>{names}{values}</KeyValPair_PI>"


class WireClient:
    """An authenticated connection; `ask` sends one request and returns the reply."""

    def __init__(
        self, port: int, user: str = "rods", password: str = "rods", zone: str = "brno",
        proxy: str = "",
    ) -> None:  # fmt: skip
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=20)
        send(self.sock, Message("RODS_CONNECT", 0, pack(
            "StartupPack_PI", irodsProt=1, connectCnt=0, proxyUser=proxy or user,
            proxyRcatZone=zone, clientUser=user, clientRcatZone=zone, relVersion="rods5.0.2",
            apiVersion="d", option="test",
        )))  # fmt: skip
        self.version = receive(self.sock)
        challenge = base64.b64decode(parse(self.ask(Api.AUTH_REQUEST_AN).body).get("challenge"))
        answer = base64.b64encode(response_digest(challenge, password)).decode()
        self.login = self.ask(
            Api.AUTH_RESPONSE_AN, pack("authResponseInp_PI", response=answer, username=user)
        )

    def ask(self, api: int, body: bytes | str = b"", bs: bytes = b"") -> Message:
        """Send a request and return the reply."""
        body = body.encode() if isinstance(body, str) else body
        send(self.sock, Message("RODS_API_REQ", api, body, b"", bs))
        return receive(self.sock)

    def open(self, path: str, flags: int, **keywords: str) -> int:
        """Open a data object; return the descriptor or an error code."""
        return self.ask(Api.DATA_OBJ_OPEN_AN, (
            f"<DataObjInp_PI><objPath>{escape(path)}</objPath><createMode>0</createMode>"
            f"<openFlags>{flags}</openFlags><offset>0</offset><dataSize>-1</dataSize>"
            f"<numThreads>0</numThreads><oprType>0</oprType>{pairs(**keywords)}</DataObjInp_PI>"
        )).int_info  # fmt: skip

    def descriptor(self, api: int, number: int, length: int = 0, bs: bytes = b"") -> Message:
        """Send a request about an open descriptor."""
        return self.ask(api, (
            f"<OpenedDataObjInp_PI><l1descInx>{number}</l1descInx><len>{length}</len>"
            f"<whence>0</whence><oprType>0</oprType><offset>0</offset><bytesWritten>0"
            f"</bytesWritten>{pairs()}</OpenedDataObjInp_PI>"
        ), bs)  # fmt: skip

    def close(self) -> None:
        """Close the connection without saying goodbye."""
        self.sock.close()
