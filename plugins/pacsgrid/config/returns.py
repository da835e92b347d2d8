"""Where results go back to: the hospital's own archives, by name."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import Field, model_validator

from pacsgrid.config.base import Section, check_certificates


class ReturnSection(Section):
    """One entry of `returns`: an archive that results go back to, by C-STORE or STOW-RS."""

    ae_title: str = Field(default="", max_length=16, description="AE title, for C-STORE.")
    host: str = Field(default="", description="Host name or IP address, for C-STORE.")
    port: int = Field(default=104, ge=1, le=65535, description="TCP port, for C-STORE.")
    calling_ae_title: str = Field(
        default="PACSGRID", min_length=1, max_length=16, description="The AE title to call with."
    )
    tls: bool = Field(
        default=False, description="Whether C-STORE uses TLS (PS3.15 B.12); needs `ca_file`."
    )
    url: str = Field(
        default="", description="Root of the DICOMweb service, for STOW-RS, in place of the above."
    )
    token_file: Path | None = Field(
        default=None, description="File with the bearer token of the DICOMweb service."
    )
    ca_file: Path | None = Field(
        default=None,
        description="Certificates (PEM) of the authorities that its certificate must come from.",
    )
    cert_file: Path | None = Field(
        default=None, description="Our certificate (PEM), where it asks for one."
    )
    key_file: Path | None = Field(default=None, description="The private key (PEM) of `cert_file`.")

    @model_validator(mode="after")
    def _check_together(self) -> ReturnSection:
        if bool(self.url) == bool(self.ae_title and self.host):
            raise ValueError("give either url, or ae_title and host")
        if self.url and not re.match(r"^https?://[^/?#\s]+", self.url):
            raise ValueError("url must be the root of a DICOMweb service")
        if self.tls and not self.ca_file:
            raise ValueError("tls needs ca_file: whose certificate is trusted?")
        check_certificates(self.cert_file, self.key_file)
        return self
