"""Client-server negotiation: whether a connection is encrypted, and switching to TLS.

The server says its policy, the client decides and says the result, and after the version message
both switch. What the client then tells of its encryption of parallel transfers is read and not
used: this server opens no transfer ports, all data goes through the one connection.
"""

from __future__ import annotations

import re
import socket
import ssl
from pathlib import Path

from .wire import Disconnected, Message, pack, parse, read_exact, receive, receive_header, send

REFUSE, DONT_CARE, REQUIRE = "CS_NEG_REFUSE", "CS_NEG_DONT_CARE", "CS_NEG_REQUIRE"
_MAX_SECRET = 4096


def server_context(certificate: Path | str, key: Path | str | None = None) -> ssl.SSLContext:
    """TLS with this certificate chain and its key (PEM; the key may be in the same file).

    Raises `OSError` or `ssl.SSLError` if they cannot be read or do not fit.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context


def policy(tls: ssl.SSLContext | None, required: bool) -> str:
    """What the server says it wants."""
    if tls is None:
        return REFUSE
    return REQUIRE if required else DONT_CARE


def negotiate(sock: socket.socket, asked: bool, wanted: str) -> bool:
    """Agree with the client on TLS or not; raises `Disconnected` if they want opposite things."""
    if not asked:
        if wanted == REQUIRE:
            raise Disconnected("client does not negotiate, TLS is required")
        return False
    send(sock, Message("RODS_CS_NEG_T", 0, pack("CS_NEG_PI", status=1, result=wanted)))
    answer = receive(sock)
    found = re.search(r"cs_neg_result_kw=(\w+);", parse(answer.body).get("result"))
    result = found[1] if found else "CS_NEG_FAILURE"
    if result == "CS_NEG_USE_SSL" and wanted != REFUSE:
        return True
    if result == "CS_NEG_USE_TCP" and wanted != REQUIRE:
        return False
    raise Disconnected(f"negotiation: server {wanted}, client {result}")


def start_tls(sock: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
    """The handshake, and the client's two messages about its encryption settings."""
    secure = context.wrap_socket(sock, server_side=True)
    receive_header(secure)  # algorithm, key size, salt size, hash rounds; no body follows
    secret = receive_header(secure)
    if not 0 <= secret.lengths[0] <= _MAX_SECRET:
        raise Disconnected("bad shared secret")
    read_exact(secure, secret.lengths[0])
    return secure
