"""What every section of the site file shares."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from pydantic import Field, field_validator

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
