"""The DICOM node of the gateway: who may connect, and a thread for each association."""

from __future__ import annotations

import socket
import ssl

from pacsgrid.config import GatewaySettings
from pacsgrid.errors import ConfigError
from pacsgrid.gateway.core import Gateway
from pacsgrid.gateway.dimse.association import Association
from pacsgrid.gateway.dimse.contexts import Kinds
from pacsgrid.log_suppression import suppress_library_logs
from pacsgrid.pacs.protocol.listening import Listener, Take
from pacsgrid.pacs.protocol.places import Limits
from pacsgrid.pacs.protocol.wire import BUSY, Request, Stream
from pacsgrid.pacs.tls import server_context

suppress_library_logs()


class Node(Listener):
    """Listens in the background from the context's start to its end.

    Parameters
    ----------
    gateway
        What is served, by its settings.

    Raises
    ------
    ConfigError
        The address or the certificate cannot be used.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._settings = settings = gateway.settings
        self._tls = _tls_context(settings)
        self._kinds = Kinds(gateway.index)
        limits = Limits(
            settings.max_associations, settings.max_per_peer, settings.associate_seconds
        )
        try:
            super().__init__(
                settings.bind, settings.dicom_port, self._associate, limits, self._may_connect
            )
        except OSError as error:
            raise ConfigError(
                f"gateway: bind and dicom_port cannot be used: {error.strerror}"
            ) from None

    def _may_connect(self, address: str) -> bool:
        return any(peer.fits_address(address) for peer in self._settings.peers)

    def _associate(self, connection: socket.socket, address: str, take: Take) -> None:
        settings = self._settings

        def admit(request: Request) -> str | tuple[int, int, int]:
            who = self._admitted(request, address)
            return who if not isinstance(who, str) or take() else BUSY

        secure: socket.socket | None = None
        try:
            if self._tls:
                connection.settimeout(settings.idle_seconds)
                secure = self._tls.wrap_socket(connection.dup(), server_side=True)
            stream = Stream(secure or connection, settings.idle_seconds)
            Association(self._gateway, stream, self._kinds, admit).serve()
        finally:
            if secure:
                secure.close()

    def _admitted(self, request: Request, address: str) -> str | tuple[int, int, int]:
        """Give the user, or why a peer is rejected: result, source, reason (PS3.8 9.3.4)."""
        if refused := request.refusal(self._settings.ae_title):
            return refused
        peer = self._settings.peer(request.calling, address)
        return peer.user if peer else (1, 1, 3)


def _tls_context(settings: GatewaySettings) -> ssl.SSLContext | None:
    """Give the TLS context; None where no certificate is given."""
    if not settings.cert_file:
        return None
    try:
        return server_context(settings.cert_file, settings.key_file, settings.ca_file)
    except OSError as error:
        raise ConfigError(
            f"gateway: cert_file, key_file or ca_file cannot be used: {error}"
        ) from None
