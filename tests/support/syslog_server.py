"""An audit record repository: syslog over TLS, each message checked against its schema."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from lxml import etree

from support.certificates import Certificates

SCHEMA = Path(__file__).with_name("audit_message.rng")
# RFC 5424: priority, version, time, host, application, process, message ID, no structured data.
_HEAD = re.compile(
    rb"<85>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d [!-~]+ pacsgrid \d+"
    rb" DICOM\+RFC3881 - \xef\xbb\xbf"
)


class SyslogServer:
    """Listens on loopback; asks for a client certificate."""

    def __init__(self, certificates: Certificates) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificates.server, certificates.server_key)
        self._context.load_verify_locations(certificates.authority)
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.messages: list[Any] = []
        self.errors: list[str] = []
        self._schema = etree.RelaxNG(etree.parse(str(SCHEMA)))
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> SyslogServer:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._listener.close()

    def _run(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            with suppress(OSError), self._context.wrap_socket(plain, server_side=True) as secure:
                data = b""
                while piece := secure.recv(65536):
                    data += piece
                self._take(data)
                secure.unwrap()

    def _take(self, data: bytes) -> None:
        while data:
            size, _, rest = data.partition(b" ")
            message, data = rest[: int(size)], rest[int(size) :]
            head = _HEAD.match(message)
            if head is None:
                self.errors.append("no syslog header")
                continue
            parsed = etree.fromstring(message[head.end() :])
            if not self._schema.validate(parsed):
                self.errors.append(str(self._schema.error_log.last_error))
            self.messages.append(parsed)
