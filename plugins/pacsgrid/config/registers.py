"""Registers outside of pacsgrid that a project asks: who a patient is, and who consented."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from pacsgrid.config.base import Section, check_certificates


class RegisterService(Section):
    """A FHIR service of the hospital (HL7 FHIR R4). It is told patient IDs, so it must be its own.

    Attributes
    ----------
    url
        The service's base.
    """

    url: str = Field(
        default="",
        description="The FHIR service's base, such as `https://ttp.hospital.example/fhir`. It is "
        "told patient IDs: it must be the hospital's own. Without TLS it must be on this machine.",
    )
    token_env: str = Field(
        default="", description="Environment variable with a bearer token for the service."
    )
    token_file: Path | None = Field(
        default=None, description="File with the token; goes before `token_env`."
    )
    ca_file: Path | None = Field(
        default=None, description="Certificates (PEM) of the authorities that the service has."
    )
    cert_file: Path | None = Field(
        default=None, description="Our certificate (PEM), if the service asks for one."
    )
    key_file: Path | None = Field(default=None, description="The private key (PEM) of `cert_file`.")
    timeout_seconds: float = Field(
        default=30.0, gt=0, le=600, description="How long the service may take to answer."
    )

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        if not url:
            return url
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be the base of a service, such as https://ttp.example.org/fhir")
        if parts.username or parts.query or parts.fragment:
            raise ValueError("must have no user, no query and no fragment; set token_file")
        if parts.scheme == "http" and not _is_here(parts.hostname):
            raise ValueError("must start with https://; without TLS only this machine is asked")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _check_files(self) -> Self:
        check_certificates(self.cert_file, self.key_file)
        return self


class SubjectSection(RegisterService):
    """A project's `subjects`: where the pseudonyms of its patients come from."""

    origin: Literal["derived", "table", "service"] = Field(
        default="derived",
        alias="from",
        description="`derived` from the project's key, or from outside: from a `table` that "
        "`pacsgrid subjects` imports, or from a `service` (FHIR, `$pseudonymize` as gPAS has it). "
        "It cannot change between `derived` and outside once the project has studies.",
    )
    date_shift: Literal["derived", "table"] = Field(
        default="derived",
        description="Where a patient's date shift comes from: `derived` from the project's key, or "
        "the `table`'s column `shift_days`. It cannot change once the project has studies.",
    )
    operation: Literal[
        "$pseudonymize", "$pseudonymizeAllowCreate", "$pseudonymize-allow-create"
    ] = Field(
        default="$pseudonymize",
        description="The operation that is asked. `$pseudonymize` knows some patients, and others "
        "are held; the other two have the service make a pseudonym for a patient whom it does not "
        "know.",
    )
    target: str = Field(
        default="", description="The service's pseudonym domain (`target`) for this project."
    )
    with_issuer: bool = Field(
        default=False,
        description="Whether the service is asked for `ISSUER:ID` where a header names the issuer "
        "of the PatientID (0010,0021). By default it is asked for the PatientID alone.",
    )

    @model_validator(mode="after")
    def _check_origin(self) -> Self:
        if self.origin == "service" and not (self.url and self.target):
            raise ValueError("from: service needs url and target")
        if self.origin != "service" and (self.url or self.target):
            raise ValueError("url and target are for `from: service`")
        if self.date_shift == "table" and self.origin != "table":
            raise ValueError("date_shift: table needs `from: table`")
        return self

    @property
    def from_outside(self) -> bool:
        """Whether subjects are not derived from the project's key."""
        return self.origin != "derived"

    @property
    def mode(self) -> str:
        """What must not change once the project has studies."""
        if not self.from_outside:
            return "derived"
        return "outside, dates by table" if self.date_shift == "table" else "outside"


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
