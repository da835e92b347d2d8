"""Errors of associations that this package's own protocol code runs.

None of them is a `PacsgridError`: callers turn them into an error that names the peer, or into the
end of the association.
"""

from __future__ import annotations


class ProtocolError(Exception):
    """The peer violates the protocol; the association is aborted."""


class ConnectionLostError(Exception):
    """The peer closed or aborted the connection, or it timed out."""


class PeerStalledError(ConnectionLostError):
    """The connection is open, but the peer sends or reads nothing, or too slowly."""


class AssociationReleasedError(Exception):
    """The peer released the association; the release was already answered."""


class AssociationFailedError(Exception):
    """No association: the peer was not reached, or does not speak the protocol."""


class AssociationRejectedError(AssociationFailedError):
    """The peer rejected the association (PS3.8 section 9.3.4).

    Attributes
    ----------
    result, source, reason
        The fields of its A-ASSOCIATE-RJ.
    """

    def __init__(self, result: int, source: int, reason: int) -> None:
        super().__init__(f"result {result}, source {source}, reason {reason}")
        self.result, self.source, self.reason = result, source, reason
