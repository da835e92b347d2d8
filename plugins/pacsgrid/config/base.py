"""What every section of the site file shares."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator

from pacsgrid.validation import StrictModel


class Section(StrictModel):
    """A section of the site file."""


class AllowedPeer(Section):
    """A DICOM node that may connect: its calling AE title and where it calls from."""

    ae_title: str = Field(
        min_length=1, max_length=16, description="The AE title with which the node calls."
    )
    address: str = Field(
        default="0.0.0.0/0",
        description="The IP address or network (CIDR) from which it calls. By default any, which "
        "is enough only where its certificate is checked, or in a closed network.",
    )

    @field_validator("address")
    @classmethod
    def _check_network(cls, value: str) -> str:
        return str(ipaddress.ip_network(value))

    def fits(self, ae_title: str, address: str) -> bool:
        """Return whether a caller is this node.

        Parameters
        ----------
        ae_title
            The caller's AE title, without padding.
        address
            The caller's IP address.
        """
        return self.ae_title == ae_title and self.fits_address(address)

    def fits_address(self, address: str) -> bool:
        """Return whether an IP address is one of this node's."""
        return ipaddress.ip_address(address) in ipaddress.ip_network(self.address)


class ServiceSection(Section):
    """What the services that DICOM nodes connect to share: address, limits and TLS."""

    ae_title: str = Field(
        default="PACSGRID", min_length=1, max_length=16, description="AE title of the service."
    )
    bind: str = Field(default="0.0.0.0", description="IP address it listens on. By default all.")
    max_associations: int = Field(
        default=16,
        ge=1,
        le=512,
        description="DIMSE associations at once; more are rejected as transient (PS3.8 9.3.4), so "
        "that peers try again.",
    )
    max_per_peer: int = Field(
        default=8, ge=1, le=512, description="DIMSE associations at once from one address."
    )
    max_pdu: int = Field(
        default=131072,
        ge=16384,
        le=1 << 20,
        description="The largest PDU that peers may send, in bytes. Larger ones cost memory, "
        "smaller ones time.",
    )
    associate_seconds: float = Field(
        default=20.0,
        gt=0,
        description="How long a peer may take from connecting to its association request, TLS "
        "included, in seconds.",
    )
    idle_seconds: float = Field(
        default=60.0, gt=0, description="How long an association may be silent, in seconds."
    )
    cert_file: Path | None = Field(
        default=None,
        description="The service's certificate (PEM). With it, TLS is required of everybody who "
        "connects (PS3.15 B.12).",
    )
    key_file: Path | None = Field(default=None, description="The private key (PEM) of `cert_file`.")
    ca_file: Path | None = Field(
        default=None,
        description="Certificates (PEM) of the authorities whose client certificates are accepted. "
        "When it is set, every DIMSE peer must show one.",
    )

    @model_validator(mode="after")
    def _check_files(self) -> Self:
        check_certificates(self.cert_file, self.key_file, self.ca_file)
        return self


def check_certificates(
    cert_file: Path | None, key_file: Path | None, ca_file: Path | None = None
) -> None:
    """Check that the files for TLS belong together.

    Parameters
    ----------
    cert_file, key_file
        Our own certificate and its private key.
    ca_file
        The authorities whose client certificates are accepted.

    Raises
    ------
    ValueError
        A key, or authorities for client certificates, are set without a certificate of our own.
    """
    for setting, file in (("key_file", key_file), ("ca_file", ca_file)):
        if file and not cert_file:
            raise ValueError(f"{setting} needs cert_file")
