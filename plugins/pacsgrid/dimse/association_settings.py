"""How to associate with a peer, for pynetdicom's requestor and for this package's own."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the gateway starts faster without pynetdicom
    from pynetdicom.pdu_primitives import UserIdentityNegotiation

DEFAULT_MAX_PDU = 256 << 10


@dataclass(frozen=True)
class AssociationSettings:
    """A peer, and how to request an association with it.

    Attributes
    ----------
    host, port
        The peer's address.
    called_ae_title, calling_ae_title
        AE titles of the peer and of this node.
    tls
        None for no TLS.
    user, password
        User identity to send; an empty user for none.
    connect_seconds
        How long to wait for the connection and for the answer to the request.
    idle_seconds
        How long to wait for the next bytes within a message.
    answer_seconds
        How long to wait for the next message: a source may fetch from slow storage first.
    max_pdu
        The largest P-DATA-TF that this side takes, in bytes.
    """

    host: str
    port: int
    called_ae_title: str
    calling_ae_title: str
    tls: ssl.SSLContext | None = None
    user: str = ""
    password: str = field(default="", repr=False)
    connect_seconds: float = 10.0
    idle_seconds: float = 60.0
    answer_seconds: float = 60.0
    max_pdu: int = DEFAULT_MAX_PDU

    def user_identity(self) -> UserIdentityNegotiation | None:
        """Return the user identity item, None without a user (PS3.7 section D.3.3.7).

        No positive response is asked for: some peers accept the identity, but never answer it.
        """
        if not self.user:
            return None
        from pynetdicom.pdu_primitives import UserIdentityNegotiation

        item = UserIdentityNegotiation()
        item.user_identity_type = 2 if self.password else 1
        item.primary_field = self.user.encode()
        if self.password:
            item.secondary_field = self.password.encode()
        item.positive_response_requested = False
        return item

    def encoded_user_identity(self) -> bytes:
        """Return the user identity item as it is sent, empty without a user."""
        item = self.user_identity()
        encoded: bytes = item.from_primitive().encode() if item else b""
        return encoded
