"""The state of one client's connection, as API handlers use it."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import Any

from .api_messages import Reply
from .catalog import Catalog
from .error_codes import ErrorCode
from .errors import IrodsError
from .framing import Message, send
from .native_packing import from_xml
from .partners import PartnerConnections
from .zone_state import ZoneState

FIRST_DESCRIPTOR = 3  # as on the real server


@dataclass
class Session:
    """The state of one client's connection.

    Attributes
    ----------
    zone : ZoneState
        The zone that the client is connected to.
    sock : socket.socket
        The connection.
    user_name, user_zone : str
        The user on whose behalf requests are made.
    proxy : tuple of str
        Name and zone of the user who authenticates; other than the above only for administrators.
    user : sqlite3.Row
        The user's row in the catalog; None until the client has authenticated.
    challenge : bytes
        What the client must answer to authenticate.
    handles : dict
        Open replicas by descriptor.
    queries : dict
        Rows of queries that the client has not fetched yet, by continue index.
    ticket : str
        The ticket that the client uses, or nothing.
    signature : str
        Key of obfuscated passwords, made from the challenge.
    native : bool
        Whether the client speaks the native protocol; otherwise XML.
    elevated : bool
        Whether an administrator asked for the current request to disregard access levels.
    partners : PartnerConnections
        Connections to federated zones on behalf of the user.
    """

    zone: ZoneState
    sock: socket.socket
    user_name: str = ""
    user_zone: str = ""
    proxy: tuple[str, str] = ("", "")
    user: Any = None
    challenge: bytes = b""
    handles: dict[int, Any] = field(default_factory=dict)
    queries: dict[int, Any] = field(default_factory=dict)
    ticket: str = ""
    signature: str = ""
    native: bool = False
    elevated: bool = False

    def __post_init__(self) -> None:
        """Prepare for federated zones."""
        self.partners = PartnerConnections(self.zone.partners, self.zone.trust)

    @property
    def catalog(self) -> Catalog:
        """The zone's catalog."""
        return self.zone.catalog

    @property
    def user_id(self) -> int:
        """The user's id in the catalog."""
        return int(self.user["id"])

    @property
    def is_admin(self) -> bool:
        """Whether the user is a rodsadmin."""
        return bool(self.user["type"] == "rodsadmin")

    @property
    def qualified_name(self) -> str:
        """The user's name with zone, as in ``rods#tempZone``."""
        return f"{self.user_name}#{self.user_zone}"

    @property
    def home_name(self) -> str:
        """Name of the user's home collection: with the zone for users of another one."""
        return self.user_name if self.user_zone == self.zone.name else self.qualified_name

    @property
    def proxy_password(self) -> str:
        """The password of the user who authenticated: a key of obfuscated passwords."""
        row = self.catalog.user(*self.proxy)
        if row is None:
            raise IrodsError(ErrorCode.CAT_INVALID_USER, "the user was removed")
        return str(row["password"])

    def free_descriptor(self) -> int:
        """Return the lowest descriptor that is not in use."""
        n = FIRST_DESCRIPTOR
        while n in self.handles or n in self.partners.descriptors:
            n += 1
        return n

    def elevate(self) -> None:
        """Disregard access levels in this request; raise if the user is no administrator."""
        if not self.is_admin:
            raise IrodsError(ErrorCode.CAT_INSUFFICIENT_PRIVILEGE_LEVEL, "administrators only")
        self.elevated = True

    def send_reply(self, reply: Reply) -> None:
        """Send a reply or a progress report in the client's protocol."""
        body, error = reply.body, reply.error
        if self.native:
            body, error = from_xml(body), from_xml(error)
        send(self.sock, Message("RODS_API_REPLY", reply.status, body, error, reply.byte_stream))
