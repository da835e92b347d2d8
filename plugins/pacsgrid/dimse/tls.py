"""TLS contexts of DICOM nodes, TLS 1.2 at least (BCP 195 profiles, PS3.15 section B.12)."""

from __future__ import annotations

import ssl
from pathlib import Path

from pacsgrid.errors import ConfigError


def server_tls(
    section: str, cert_file: Path | None, key_file: Path | None, ca_file: Path | None
) -> ssl.SSLContext | None:
    """Return the TLS context of a node that is called, None without a certificate.

    Parameters
    ----------
    section
        The settings the files are from, for the error message.
    cert_file, key_file
        Own certificate and key.
    ca_file
        If given, callers must show a certificate that one of its authorities issued.

    Raises
    ------
    ConfigError
        A file cannot be used.
    """
    if not cert_file:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert_file, key_file)
        if ca_file:
            context.load_verify_locations(ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
    except OSError as error:
        raise ConfigError(
            f"{section}: cert_file, key_file or ca_file cannot be used: {error}"
        ) from None
    return context


def client_tls(
    section: str, ca_file: Path | None, cert_file: Path | None, key_file: Path | None
) -> ssl.SSLContext:
    """Return the TLS context of a node that calls; the peer must prove its host name.

    Parameters
    ----------
    section
        The settings the files are from, for the error message.
    ca_file
        Trusted authorities; None for the system's.
    cert_file, key_file
        Own certificate and key, for a peer that asks for one.

    Raises
    ------
    ConfigError
        A file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if cert_file:
            context.load_cert_chain(cert_file, key_file)
    except OSError as error:
        raise ConfigError(
            f"{section}: ca_file, cert_file or key_file cannot be used: {error}"
        ) from None
    return context
