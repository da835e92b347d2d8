"""Exceptions of the zone."""

from __future__ import annotations


class IrodsError(Exception):
    """An error that the client receives as an iRODS error code.

    Parameters
    ----------
    code : int
        An `irods_zone.error_codes.ErrorCode`, possibly less an ``errno``.
    message : str
        What is wrong. It is logged at level DEBUG.
    to_client : bool
        Whether the client also receives the message, in the error stack of the reply.
    body : bytes
        The structure that some APIs return along with an error.
    """

    def __init__(
        self, code: int, message: str = "", to_client: bool = False, body: bytes = b""
    ) -> None:
        super().__init__(message or str(code))
        self.code = code
        self.message = message
        self.to_client = to_client
        self.body = body


class DisconnectedError(Exception):
    """The peer closed the connection or does not speak the iRODS protocol."""
