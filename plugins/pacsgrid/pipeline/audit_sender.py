"""Send audit messages to an audit record repository by syslog over TLS (RFC 5424, RFC 5425)."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from pacsgrid.config import AuditSettings, Site
from pacsgrid.dimse.tls import client_tls
from pacsgrid.errors import RetryableError
from pacsgrid.ledger import Ledger
from pacsgrid.pipeline.audit_message import audit_message

log = logging.getLogger(__name__)

# Facility 10 (security/authorization), severity 5 (notice): PS3.15 A.6.
_PRIORITY = 10 * 8 + 5
_MESSAGE_ID = "DICOM+RFC3881"
_BOM = b"\xef\xbb\xbf"
_AT_ONCE = 500
_SECONDS = 30.0
_LOCK = "pacsgrid.audit"


def syslog_frame(message: bytes, at: datetime, host: str) -> bytes:
    """Return a syslog message in the frame of RFC 5425 4.3: its length, a space, the message.

    Parameters
    ----------
    message
        The audit message.
    at
        When the event was.
    host
        This machine's name.
    """
    time = at.isoformat(timespec="milliseconds")
    head = f"<{_PRIORITY}>1 {time} {host} pacsgrid {os.getpid()} {_MESSAGE_ID} - ".encode()
    body = head + _BOM + message
    return f"{len(body)} ".encode() + body


def send_audit(site: Site) -> int:
    """Send the disclosures that the repository was not sent yet, in order.

    One process sends at a time. What is cut off is sent again, so that a message may come twice
    and never not at all.

    Parameters
    ----------
    site
        The site settings.

    Returns
    -------
    int
        How many were sent.

    Raises
    ------
    RetryableError
        The repository, or the ledger, does not answer.
    ConfigError
        A certificate cannot be used.
    """
    settings = site.audit
    if settings is None or not settings.host:
        return 0
    ledger, sent = Ledger(site.ledger_dsn, "audit"), 0
    with ledger.database.lock(_LOCK) as ours:
        while ours and (records := ledger.disclosures.unsent(_AT_ONCE)):
            host = socket.gethostname() or "-"
            frames = [
                syslog_frame(audit_message(record, settings), record.at, host) for record in records
            ]
            _send(settings, frames)
            ledger.disclosures.mark_sent([record.id for record in records])
            sent += len(records)
    if sent:
        log.info("%d audit messages sent to %s", sent, settings.host)
    return sent


def _send(settings: AuditSettings, frames: Sequence[bytes]) -> None:
    files = (settings.ca_file, settings.cert_file, settings.key_file)
    context = client_tls("audit", *files)
    address = (settings.host, settings.port)
    try:
        with (
            socket.create_connection(address, timeout=_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=settings.host) as secure,
        ):
            for frame in frames:
                secure.sendall(frame)
            # The peer's closure alert says that it has read everything; some send none.
            with suppress(OSError):
                secure.unwrap()
    except OSError as error:
        raise RetryableError(
            f"audit: {settings.host} port {settings.port}: {type(error).__name__}; the ledger "
            "keeps what was not sent"
        ) from None
