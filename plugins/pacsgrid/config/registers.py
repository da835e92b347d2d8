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


class ConsentSection(RegisterService):
    """A project's `consent`: who says whether a patient consents, and what follows."""

    origin: Literal["none", "file", "service", "command"] = Field(
        default="none",
        alias="from",
        description="`none` asks nobody. Or a `file` (CSV), a `service` (FHIR R4, `Consent`), or a "
        "`command` of the site.",
    )
    file: Path | None = Field(
        default=None,
        description="For `from: file`: CSV with the columns `patient_id` and `consent` (`yes` or "
        "`no`), `issuer` where PatientIDs have one, and `until`, the consent's last day.",
    )
    command: tuple[str, ...] = Field(
        default=(),
        description="For `from: command`: program and arguments. It reads one JSON object a line, "
        "and writes one for each.",
    )
    system: str = Field(
        default="",
        description="The identifier system (URI) that PatientIDs without an issuer have in the "
        "service; empty to ask by the value alone.",
    )
    issuers: dict[str, str] = Field(
        default={},
        description="The identifier system (URI) in the service, by issuer of PatientID "
        "(0010,0021). A patient of another issuer is asked for under `system`.",
    )
    category: str = Field(
        default="",
        description="`Consent.category` of the consents that count, as `system|code`; empty if all "
        "of the service are for this project.",
    )
    provision: str = Field(
        default="",
        description="Code of the provision that must permit, as `system|code`, where the service's "
        "consents have several. Empty to go by `Consent.provision.type`.",
    )
    when_no: Literal["refuse", "hold"] = Field(
        default="refuse",
        description="What becomes of a study whose patient does not consent: `refuse` does not "
        "take it, `hold` has a steward look at it. Nothing of it is kept either way.",
    )
    when_unknown: Literal["refuse", "hold", "take"] = Field(
        default="hold",
        description="What becomes of a study whose patient is not known there: `refuse`, `hold`, "
        "or `take` it all the same. What is not taken is not released either.",
    )
    recheck_days: int = Field(
        default=0,
        ge=0,
        le=365,
        description="After how many days the night asks for a patient again whose answer has not "
        "changed. By default (0) each night from a command, after 30 days from a service, and "
        "from a file when the file has changed.",
    )

    @model_validator(mode="after")
    def _check_origin(self) -> Self:
        for origin, setting in (("file", "file"), ("service", "url"), ("command", "command")):
            if bool(getattr(self, setting)) != (self.origin == origin):
                raise ValueError(f"{setting} and `from: {origin}` go together")
        return self

    @property
    def is_asked(self) -> bool:
        """Whether anybody is asked."""
        return self.origin != "none"

    def system_of(self, issuer: str) -> str:
        """Return the identifier system of an issuer's PatientIDs."""
        return self.issuers.get(issuer, self.system)
