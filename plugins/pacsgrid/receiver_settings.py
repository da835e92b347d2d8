"""What the receiver is told; given as the site file's `receiver` section."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

DEFAULT_ASSET = "pacsgrid://received"


class Allowed(BaseModel):
    """Who may send: a calling AE title, from an address or network."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    ae_title: str = Field(min_length=1, max_length=16)
    address: str = "0.0.0.0/0"

    @field_validator("address")
    @classmethod
    def _network(cls, value: str) -> str:
        return str(ipaddress.ip_network(value))

    def fits(self, ae_title: str, address: str) -> bool:
        """Whether the peer is this one."""
        return self.ae_title == ae_title and self.fits_address(address)

    def fits_address(self, address: str) -> bool:
        """Whether the address is one of this peer's."""
        return ipaddress.ip_address(address) in ipaddress.ip_network(self.address)


class ReceiverSettings(BaseModel):
    """Settings of the receiver.

    Attributes
    ----------
    folder
        Where studies arrive, a directory each; identified, private to the service account.
    allow
        The peers that may send; without any nobody may.
    max_associations, max_per_peer
        Associations at once, in all and from one address; more are refused as transient.
    reserve_mb
        Free disk space, in MiB, below which instances are refused with A700.
    quiet_seconds
        A study is complete when nothing came for this long.
    count_from, count_seconds
        A source that knows how many instances a study has: when they are there, the study is
        complete after this shorter time.
    associate_seconds
        How long a peer may take from connecting until its association is asked for, TLS included.
    idle_seconds
        How long a peer may be silent within an association.
    cert_file, key_file, ca_file
        TLS (PS3.15 B.12): own certificate and key, and whose clients are taken.
    source, project
        The source of kind `received` that reads `folder`, and the project its studies are for.
    airflow_url, airflow_user, password_env, password_file, airflow_ca_file, asset
        Where complete studies are announced; without a URL nowhere. `airflow_ca_file` is whose
        certificate Airflow must show when it is not a public authority's; `airflow_password` is
        what the environment variable or file holds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    folder: Path
    ae_title: str = Field("PACSGRID", min_length=1, max_length=16)
    bind: str = "0.0.0.0"
    port: int = Field(11112, ge=0, le=65535)
    allow: tuple[Allowed, ...] = ()
    max_associations: int = Field(16, ge=1, le=512)
    max_per_peer: int = Field(8, ge=1, le=512)
    max_pdu: int = Field(131072, ge=16384, le=1 << 20)
    reserve_mb: int = Field(2048, ge=0)
    associate_seconds: float = Field(20.0, gt=0)
    idle_seconds: float = Field(60.0, gt=0)
    quiet_seconds: float = Field(60.0, gt=0)
    count_from: str = ""
    count_seconds: float = Field(5.0, gt=0)
    cert_file: Path | None = None
    key_file: Path | None = None
    ca_file: Path | None = None
    source: str = "received"
    project: str = ""
    airflow_url: str = ""
    airflow_user: str = ""
    airflow_ca_file: Path | None = None
    password_env: str = ""
    password_file: Path | None = None
    airflow_password: str = Field("", repr=False)
    asset: str = DEFAULT_ASSET

    @model_validator(mode="after")
    def _together(self) -> ReceiverSettings:
        if self.airflow_url and not (self.password_env or self.password_file):
            raise ValueError("airflow_url needs password_env or password_file")
        if self.airflow_url and not self.project:
            raise ValueError("airflow_url needs project: whose are the studies?")
        if self.key_file and not self.cert_file:
            raise ValueError("key_file needs cert_file")
        if self.ca_file and not self.cert_file:
            raise ValueError("ca_file needs cert_file")
        return self
