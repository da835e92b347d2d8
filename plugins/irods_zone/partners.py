"""Connections to the servers of federated zones on behalf of one user.

A client stays connected to its home zone. Its server opens one connection to each other zone that
the client's requests are about, as the client's user, and authenticates with a password derived
from the key that both zones share.
"""

from __future__ import annotations

import base64
import contextlib
import select
import socket
import ssl
from collections.abc import Mapping

from .api_numbers import Api
from .challenge_response import partner_password, response_digest
from .error_codes import ErrorCode
from .errors import DisconnectedError, IrodsError
from .framing import PROGRESS, PROGRESS_SEEN, RELEASE, Message, receive, send
from .negotiation import REQUEST, ask_for_tls, start_client_tls
from .xml_structures import pack, parse

CONNECT_SECONDS, ANSWER_SECONDS = 5, 60


class PartnerConnections:
    """One session's connections to federated zones, and the descriptors it has open there.

    Parameters
    ----------
    partners : Mapping of str to tuple
        Host, port and shared key of each federated zone.
    trust : ssl.SSLContext or None
        The authorities of the federated zones' certificates: without TLS, no zone is asked. None:
        connections are not encrypted.

    Attributes
    ----------
    descriptors : dict
        Zone and descriptor there, by the descriptor that the client knows.
    """

    def __init__(
        self, partners: Mapping[str, tuple[str, int, str]], trust: ssl.SSLContext | None = None
    ) -> None:
        self._partners = partners
        self._trust = trust
        self._sockets: dict[str, socket.socket] = {}
        self._tickets: dict[str, str] = {}
        self.descriptors: dict[int, tuple[str, int]] = {}

    def close(self) -> None:
        """Close every connection; the partners then finish what was open."""
        for sock in self._sockets.values():
            with contextlib.suppress(OSError):
                sock.close()

    def ask(self, zone: str, user: tuple[str, str], ticket: str, request: Message) -> Message:
        """Send a request to a partner and wait for its reply.

        Parameters
        ----------
        zone : str
            The partner.
        user : tuple of str
            Name and zone of the user.
        ticket : str
            The ticket that the user's connection uses, or nothing.
        request : Message
            An API request in XML.

        Returns
        -------
        Message
            The reply.

        Raises
        ------
        IrodsError
            CROSS_ZONE_SOCK_CONNECT_ERR: the partner does not answer, or does not let the user in.
        """
        try:
            sock = self._sockets.get(zone)
            if sock is not None and _is_closed(sock):
                self._forget(zone)
                sock = None
            if sock is None:
                sock = self._sockets[zone] = self._connect(zone, *user)
            self._pass_ticket(zone, sock, ticket)
            send(sock, request)
            reply = receive(sock)
            while reply.int_info == PROGRESS:
                sock.sendall(PROGRESS_SEEN)
                reply = receive(sock)
        except (OSError, DisconnectedError) as e:
            self._forget(zone)
            raise IrodsError(ErrorCode.CROSS_ZONE_SOCK_CONNECT_ERR, f"zone {zone}: {e}") from None
        return reply

    def _pass_ticket(self, zone: str, sock: socket.socket, ticket: str) -> None:
        """Tell the partner which ticket the client uses, if it changed."""
        if ticket == self._tickets.get(zone, ""):
            return
        self._tickets[zone] = ticket
        fields = {"arg1": "session", "arg2": ticket, "arg3": "", "arg4": "", "arg5": "", "arg6": ""}
        body = pack("ticketAdminInp_PI", **fields)
        send(sock, Message("RODS_API_REQ", Api.TICKET_ADMIN_AN, body))
        receive(sock)

    def _forget(self, zone: str) -> None:
        self._tickets.pop(zone, None)
        sock = self._sockets.pop(zone, None)
        if sock is not None:
            sock.close()
        self.descriptors = {k: v for k, v in self.descriptors.items() if v[0] != zone}

    def _connect(self, zone: str, user: str, user_zone: str) -> socket.socket:
        host, port, key = self._partners[zone]
        sock = socket.create_connection((host, port), timeout=CONNECT_SECONDS)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            send(sock, Message("RODS_CONNECT", 0, pack(
                "StartupPack_PI", irodsProt=1, reconnFlag=0, connectCnt=0, proxyUser=user,
                proxyRcatZone=user_zone, clientUser=user, clientRcatZone=user_zone,
                relVersion=RELEASE, apiVersion="d",
                option=f"irods-zone{REQUEST if self._trust else ''}",
            )))  # fmt: skip
            if self._trust:
                ask_for_tls(sock)
            receive(sock)
            if self._trust:
                sock = start_client_tls(sock, self._trust, host)
            send(sock, Message("RODS_API_REQ", Api.AUTH_REQUEST_AN))
            challenge = base64.b64decode(parse(receive(sock).body).get("challenge"))
            digest = response_digest(challenge, partner_password(key, user, user_zone))
            send(sock, Message("RODS_API_REQ", Api.AUTH_RESPONSE_AN, pack(
                "authResponseInp_PI", response=base64.b64encode(digest).decode(),
                username=f"{user}#{user_zone}",
            )))  # fmt: skip
            answer = receive(sock)
            if answer.int_info < 0:
                raise IrodsError(answer.int_info, f"zone {zone} refused {user}#{user_zone}")
            sock.settimeout(ANSWER_SECONDS)
        except BaseException:
            sock.close()
            raise
        return sock


def _is_closed(sock: socket.socket) -> bool:
    """Return whether the partner closed an idle connection: only then it is readable."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
