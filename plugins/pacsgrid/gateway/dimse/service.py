"""The gateway's DICOM node: admission of peers, one thread per association."""

from __future__ import annotations

import socket

from pacsgrid.config import Peer
from pacsgrid.dimse.connection_limits import ConnectionLimits
from pacsgrid.dimse.listener import Associate, Listener
from pacsgrid.dimse.pdu import CALLING_TITLE_UNKNOWN, LOCAL_LIMIT_EXCEEDED, AssociateRequest
from pacsgrid.dimse.stream import Stream
from pacsgrid.dimse.tls import server_tls
from pacsgrid.errors import ConfigError
from pacsgrid.gateway.core import Gateway
from pacsgrid.gateway.dimse.association import QueryRetrieveAssociation
from pacsgrid.gateway.dimse.contexts import StoredSyntaxes
from pacsgrid.log_suppression import suppress_library_logs

suppress_library_logs()


class Node(Listener):
    """Listens in the background for as long as the context lasts.

    Parameters
    ----------
    gateway
        What to serve, and its settings.

    Raises
    ------
    ConfigError
        The address or the certificate cannot be used.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._settings = settings = gateway.settings
        files = (settings.cert_file, settings.key_file, settings.ca_file)
        self._tls = server_tls("gateway", *files)
        self._stored = StoredSyntaxes(gateway.index)
        limits = ConnectionLimits(
            settings.max_associations, settings.max_per_peer, settings.associate_seconds
        )
        try:
            super().__init__(
                settings.bind, settings.dicom_port, self._serve_peer, limits, self._may_connect
            )
        except OSError as error:
            raise ConfigError(
                f"gateway: bind and dicom_port cannot be used: {error.strerror}"
            ) from None

    def _may_connect(self, address: str) -> bool:
        return any(peer.fits_address(address) for peer in self._settings.peers)

    def _serve_peer(self, connection: socket.socket, address: str, associate: Associate) -> None:
        settings = self._settings

        def admit(request: AssociateRequest) -> Peer | tuple[int, int, int]:
            peer = self._peer(request, address)
            return peer if not isinstance(peer, Peer) or associate() else LOCAL_LIMIT_EXCEEDED

        secure: socket.socket | None = None
        try:
            if self._tls:
                connection.settimeout(settings.idle_seconds)
                secure = self._tls.wrap_socket(connection.dup(), server_side=True)
            stream = Stream(secure or connection, settings.idle_seconds)
            QueryRetrieveAssociation(self._gateway, stream, self._stored, admit, address).serve()
        finally:
            if secure:
                secure.close()

    def _peer(self, request: AssociateRequest, address: str) -> Peer | tuple[int, int, int]:
        """Return the peer's settings, or result, source and reason of its rejection."""
        if reason := request.reason_to_reject(self._settings.ae_title):
            return reason
        return self._settings.peer(request.calling, address) or CALLING_TITLE_UNKNOWN
