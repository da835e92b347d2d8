"""What the gateway is told; given as the site file's `gateway` section."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

_USER = re.compile(r"^[^#\s]+#[^#\s]+$")
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*$")


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _user(value: str) -> str:
    if not _USER.match(value):
        raise ValueError("write an iRODS user as name#zone")
    return value


class Served(_Given):
    """A zone whose projects are shown, all those of the site there or the ones that are named."""

    zone: str
    projects: tuple[str, ...] = ()

    @field_validator("projects")
    @classmethod
    def _names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(not _NAME.match(name) for name in value):
            raise ValueError("a project is a collection's name, without '/' or wildcards")
        return value


class Peer(_Given):
    """A DICOM node that may ask: its AE title, where it is, whose rights in iRODS it has."""

    ae_title: str = Field(min_length=1, max_length=16)
    address: str = "0.0.0.0/0"
    user: str

    _checked = field_validator("user")(_user)

    @field_validator("address")
    @classmethod
    def _network(cls, value: str) -> str:
        return str(ipaddress.ip_network(value))

    def fits(self, ae_title: str, address: str) -> bool:
        """Whether a node that calls itself so, from this address, is this one."""
        return self.ae_title == ae_title and self.fits_address(address)

    def fits_address(self, address: str) -> bool:
        """Whether the address is one of this node's."""
        return ipaddress.ip_address(address) in ipaddress.ip_network(self.address)


class Token(_Given):
    """A bearer token (RFC 6750), known by its SHA-256, or by a file that holds it.

    ``store`` lets its bearer send instances to the ingest by STOW-RS.
    """

    name: str = Field(min_length=1)
    user: str
    sha256: str = Field("", pattern="^([0-9a-f]{64})?$", repr=False)
    token_file: Path | None = None
    store: bool = False

    _checked = field_validator("user")(_user)

    @model_validator(mode="after")
    def _known(self) -> Token:
        if bool(self.sha256) == bool(self.token_file):
            raise ValueError("give either sha256, of the token in hex, or token_file")
        return self

    def fits(self, token: str) -> bool:
        """Whether this is the token; takes the same time either way."""
        return hmac.compare_digest(hashlib.sha256(token.encode()).hexdigest(), self.sha256)


class Destination(_Given):
    """Where C-MOVE may send to (PS3.4 C.4.2): an AE title and how to reach it.

    ``tls`` trusts ``ca_file``; ``cert_file`` and ``key_file`` are shown to a peer that asks.
    """

    ae_title: str = Field(min_length=1, max_length=16)
    host: str = Field(min_length=1)
    port: int = Field(ge=1, le=65535)
    tls: bool = False
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    @model_validator(mode="after")
    def _together(self) -> Destination:
        if self.tls and not self.ca_file:
            raise ValueError("tls needs ca_file: whose certificate is trusted?")
        if self.key_file and not self.cert_file:
            raise ValueError("key_file needs cert_file")
        return self


class GatewaySettings(_Given):
    """Settings of the gateway.

    Attributes
    ----------
    serve
        The zones that are read, the nearest first; objects come from the first that has them.
    index
        The file of the index, on a local disk; it is made anew when it is lost.
    ae_title, bind, dicom_port
        Where C-FIND, C-GET and C-MOVE are served.
    http_port
        Where DICOMweb is served, under ``/dicom-web``.
    public_url
        The URL under which clients reach DICOMweb, ``https://grid.example.org/dicom-web``; answers
        name their resources by it. Without it they do so relative to the request.
    max_connections, max_connections_per_address
        DICOMweb connections at once, in all and from one address; a proxy is one address.
    stalled_seconds
        How long a DICOMweb client may send nothing of a request, or read nothing of an answer.
    peers, tokens
        Who may ask, by DIMSE and by DICOMweb; without any nobody may.
    airflow_users
        Which iRODS user someone is who is logged in to Airflow and asks there.
    destinations
        Where C-MOVE may send to.
    cors_origins
        Viewers' origins (``https://viewer.example.org``) whose pages may ask DICOMweb.
    cert_file, key_file, ca_file
        TLS for DIMSE (PS3.15 B.12) and DICOMweb: own certificate and key, and whose DIMSE
        clients are taken.
    refresh_seconds, access_seconds
        How old the index and what is known of access rights may be.
    zone_seconds
        How long a zone may be silent before another one is asked.
    cache_mb
        Disk space beside the index, in MiB, for files that viewers read frame by frame.
    most_answers
        Answers of one query, by DIMSE or DICOMweb; more are asked for by offset.
    most_upload_mb
        Size of one STOW-RS request, in MiB.
    max_associations, max_per_peer, max_pdu, associate_seconds, idle_seconds
        DIMSE's limits, as the receiver's.
    """

    serve: tuple[Served, ...] = Field(min_length=1)
    index: Path
    ae_title: str = Field("PACSGRID", min_length=1, max_length=16)
    bind: str = "0.0.0.0"
    dicom_port: int = Field(11113, ge=0, le=65535)
    http_port: int = Field(8042, ge=0, le=65535)
    public_url: str = ""
    max_connections: int = Field(512, ge=16)
    max_connections_per_address: int = Field(128, ge=1)
    stalled_seconds: float = Field(60.0, gt=0)
    peers: tuple[Peer, ...] = ()
    tokens: tuple[Token, ...] = ()
    airflow_users: dict[str, str] = {}
    destinations: tuple[Destination, ...] = ()
    cors_origins: tuple[str, ...] = ()
    cert_file: Path | None = None
    key_file: Path | None = None
    ca_file: Path | None = None
    refresh_seconds: float = Field(30.0, gt=0)
    access_seconds: float = Field(15.0, gt=0)
    zone_seconds: int = Field(30, ge=1, le=600)
    cache_mb: int = Field(4096, ge=64)
    most_answers: int = Field(5000, ge=1)
    most_upload_mb: int = Field(4096, ge=1)
    max_associations: int = Field(16, ge=1, le=512)
    max_per_peer: int = Field(8, ge=1, le=512)
    max_pdu: int = Field(131072, ge=16384, le=1 << 20)
    associate_seconds: float = Field(20.0, gt=0)
    idle_seconds: float = Field(60.0, gt=0)

    @field_validator("airflow_users")
    @classmethod
    def _mapped(cls, value: dict[str, str]) -> dict[str, str]:
        return {name: _user(user) for name, user in value.items()}

    @field_validator("public_url")
    @classmethod
    def _url(cls, value: str) -> str:
        if value and not re.fullmatch(r"https?://[^/?#\s\"\\]+(/[^?#\s\"\\]*)?", value):
            raise ValueError(
                "write the URL of the DICOMweb service: https://grid.example.org/dicom-web"
            )
        return value.rstrip("/")

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(not re.match(r"^https?://[^/*]+$", origin) for origin in value):
            raise ValueError("an origin is scheme, host and port: https://viewer.example.org")
        return value

    @model_validator(mode="after")
    def _together(self) -> GatewaySettings:
        for what, names in (
            ("serve: zone", [one.zone for one in self.serve]),
            ("tokens: name", [one.name for one in self.tokens]),
            ("destinations: ae_title", [one.ae_title for one in self.destinations]),
        ):
            if len(set(names)) < len(names):
                raise ValueError(f"{what} is given twice")
        if self.key_file and not self.cert_file:
            raise ValueError("key_file needs cert_file")
        if self.ca_file and not self.cert_file:
            raise ValueError("ca_file needs cert_file")
        return self

    def peer(self, ae_title: str, address: str) -> Peer | None:
        """Return who asks by DIMSE; None for a stranger."""
        return next((one for one in self.peers if one.fits(ae_title, address)), None)

    def bearer(self, token: str) -> Token | None:
        """Return whose token this is; None for nobody's."""
        return next((one for one in self.tokens if one.fits(token)), None)

    def destination(self, ae_title: str) -> Destination | None:
        """Return a destination of C-MOVE; None for one that is not configured."""
        return next((one for one in self.destinations if one.ae_title == ae_title), None)
