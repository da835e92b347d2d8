"""TLS contexts of DICOM nodes, by the BCP 195 profile's floor (PS3.15 B.12).

Both functions raise OSError (``ssl.SSLError`` is one) when a file cannot be used; who calls
knows which setting named it.
"""

from __future__ import annotations

import ssl
from pathlib import Path


def server_context(cert: Path, key: Path | None, ca: Path | None) -> ssl.SSLContext:
    """Return the context of a node that is called; with `ca`, callers must show certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(cert, key)
    if ca:
        context.load_verify_locations(ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(ca: Path | None, cert: Path | None, key: Path | None) -> ssl.SSLContext:
    """Return the context of a node that calls; the other must prove its name to it."""
    context = ssl.create_default_context(cafile=ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if cert:
        context.load_cert_chain(cert, key)
    return context
