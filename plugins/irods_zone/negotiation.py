"""Client-server negotiation: whether a connection is encrypted, and the switch to TLS.

The server states its policy, the client decides and reports the result, and after the version
message both switch to TLS. The client then sends settings for encrypting parallel transfers, which
are read and ignored: this server opens no transfer ports, all data use the one connection. Towards
another zone's server, this one is the client.
"""

from __future__ import annotations

import re
import secrets
import socket
import ssl
import struct
from pathlib import Path

from .errors import DisconnectedError
from .framing import Message, read_exact, receive, receive_header, send
from .xml_structures import pack, parse

REQUEST = "request_server_negotiation"  # in the startup message
REFUSE, DONT_CARE, REQUIRE = "CS_NEG_REFUSE", "CS_NEG_DONT_CARE", "CS_NEG_REQUIRE"
_MAX_SECRET = 4096


def server_context(certificate: Path | str, key: Path | str | None = None) -> ssl.SSLContext:
    """Read certificate and key for the server.

    Parameters
    ----------
    certificate : Path or str
        Certificate chain (PEM).
    key : Path or str, optional
        Its private key (PEM); by default in the same file.

    Returns
    -------
    ssl.SSLContext
        Settings for TLS 1.2 and later.

    Raises
    ------
    OSError
        A file cannot be read.
    ssl.SSLError
        The key does not belong to the certificate, or a file is not PEM.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context


def policy(tls: ssl.SSLContext | None, required: bool) -> str:
    """Return the server's policy for negotiation.

    Parameters
    ----------
    tls : ssl.SSLContext or None
        The server's certificate and key.
    required : bool
        Whether clients must use TLS.

    Returns
    -------
    str
        CS_NEG_REFUSE without a certificate, otherwise CS_NEG_REQUIRE or CS_NEG_DONT_CARE.
    """
    if tls is None:
        return REFUSE
    return REQUIRE if required else DONT_CARE


def negotiate(sock: socket.socket, asked: bool, wanted: str) -> bool:
    """Agree with the client on whether to use TLS.

    Parameters
    ----------
    sock : socket.socket
        The connection, after the client's startup message.
    asked : bool
        Whether the client asked to negotiate.
    wanted : str
        The server's policy.

    Returns
    -------
    bool
        Whether to switch to TLS.

    Raises
    ------
    DisconnectedError
        Client and server do not agree.
    """
    if not asked:
        if wanted == REQUIRE:
            raise DisconnectedError("client does not negotiate, TLS is required")
        return False
    send(sock, Message("RODS_CS_NEG_T", 0, pack("CS_NEG_PI", status=1, result=wanted)))
    answer = receive(sock)
    found = re.search(r"cs_neg_result_kw=(\w+);", parse(answer.body).get("result"))
    result = found[1] if found else "CS_NEG_FAILURE"
    if result == "CS_NEG_USE_SSL" and wanted != REFUSE:
        return True
    if result == "CS_NEG_USE_TCP" and wanted != REQUIRE:
        return False
    raise DisconnectedError(f"negotiation: server {wanted}, client {result}")


def ask_for_tls(sock: socket.socket) -> None:
    """Tell a server that this connection uses TLS, as its client.

    Parameters
    ----------
    sock : socket.socket
        The connection, after a startup message that asks to negotiate.

    Raises
    ------
    DisconnectedError
        The server does not negotiate, or refuses TLS.
    """
    told = receive(sock)
    if told.type != "RODS_CS_NEG_T":
        raise DisconnectedError("the server does not negotiate, TLS is required")
    if parse(told.body).get("result") == REFUSE:
        answer = pack("CS_NEG_PI", status=0, result="cs_neg_result_kw=CS_NEG_FAILURE;")
        send(sock, Message("RODS_CS_NEG_T", 0, answer))
        raise DisconnectedError("the server refuses TLS, which is required")
    answer = pack("CS_NEG_PI", status=1, result="cs_neg_result_kw=CS_NEG_USE_SSL;")
    send(sock, Message("RODS_CS_NEG_T", 0, answer))


def start_client_tls(sock: socket.socket, context: ssl.SSLContext, host: str) -> ssl.SSLSocket:
    """Switch a connection to TLS as its client, and send the settings for parallel transfers.

    Parameters
    ----------
    sock : socket.socket
        The connection, after the server's version message.
    context : ssl.SSLContext
        Which authorities are trusted.
    host : str
        The name that the server's certificate must have.

    Returns
    -------
    ssl.SSLSocket
        The encrypted connection.

    Raises
    ------
    ssl.SSLError
        The certificate is not trusted, or is for another host.
    """
    secure = context.wrap_socket(sock, server_hostname=host)
    settings = "<MsgHeader_PI><type>AES-256-CBC</type><msgLen>32</msgLen><errorLen>8</errorLen>"
    settings += "<bsLen>16</bsLen><intInfo>0</intInfo></MsgHeader_PI>"
    secure.sendall(struct.pack(">i", len(settings)) + settings.encode())
    send(secure, Message("SHARED_SECRET", 0, secrets.token_bytes(32)))
    return secure


def start_tls(sock: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
    """Switch a connection to TLS and read the client's encryption settings.

    Parameters
    ----------
    sock : socket.socket
        The connection, after the version message.
    context : ssl.SSLContext
        The server's certificate and key.

    Returns
    -------
    ssl.SSLSocket
        The encrypted connection.

    Raises
    ------
    DisconnectedError
        The client's settings are malformed.
    """
    secure = context.wrap_socket(sock, server_side=True)
    receive_header(secure)  # algorithm, key size, salt size, hash rounds; no body follows
    secret = receive_header(secure)
    if not 0 <= secret.lengths[0] <= _MAX_SECRET:
        raise DisconnectedError("bad shared secret")
    read_exact(secure, secret.lengths[0])
    return secure
