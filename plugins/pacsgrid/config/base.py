"""What every section of the site file shares."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator


class Section(BaseModel):
    """A section of the site file: immutable, and an unknown key in it is an error.

    Values are kept out of pydantic's error texts, because one of them may be a secret.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    def replace(self, **changes: Any) -> Self:
        """Return a validated copy with some settings changed.

        Parameters
        ----------
        changes
            The new values by the name of their setting.

        Raises
        ------
        pydantic.ValidationError
            A setting is unknown or a value is wrong.
        """
        given = {name: getattr(self, name) for name in self.model_fields_set}
        return type(self).model_validate({**given, **changes})


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


def describe_errors(error: ValidationError) -> str:
    """Return which settings are wrong, and how, without quoting any value."""
    return "; ".join(
        f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}"
        for e in error.errors(include_input=False)
    )
