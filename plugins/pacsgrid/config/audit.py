"""The audit trail of what leaves: recorded in the ledger, and sent to a repository by syslog."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from pacsgrid.config.base import Section, check_certificates


class AuditSettings(Section):
    """The section `audit`: what is recorded of every study that leaves, and who is told."""

    host: str = Field(
        default="",
        description="Host name of the audit record repository, which is sent every message by "
        "syslog over TLS (RFC 5425). Without it, the ledger alone keeps the record.",
    )
    port: int = Field(default=6514, ge=1, le=65535, description="Its TCP port.")
    ca_file: Path | None = Field(
        default=None,
        description="Certificates (PEM) of the authorities that its certificate must come from. By "
        "default the public ones.",
    )
    cert_file: Path | None = Field(
        default=None, description="Our certificate (PEM), where the repository asks for one."
    )
    key_file: Path | None = Field(default=None, description="The private key (PEM) of `cert_file`.")
    source: str = Field(
        default="pacsgrid", min_length=1, description="Audit Source ID of the messages."
    )
    enterprise_site: str = Field(
        default="", description="Audit Enterprise Site ID of the messages, such as the hospital."
    )
    window_seconds: float = Field(
        default=600.0,
        ge=0,
        description="Requests of one user from one address for one study by DICOMweb within this "
        "time are one record, in seconds: a viewer fetches a study by thousands of requests.",
    )

    trail_years: int = Field(
        default=0,
        ge=0,
        description="Changes of state that are older than so many years are moved out of the "
        "ledger by `pacsgrid ledger --archive-trail`, by whole calendar years; 0 for never.",
    )

    @model_validator(mode="after")
    def _check_together(self) -> AuditSettings:
        check_certificates(self.cert_file, self.key_file)
        return self
