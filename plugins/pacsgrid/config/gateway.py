"""The gateway: DICOMweb and DIMSE services over the anonymised collections."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Collection, Mapping
from pathlib import Path

from pydantic import Field, field_validator, model_validator

from pacsgrid.config.base import AllowedPeer, Section, ServiceSection, check_certificates
from pacsgrid.config.projects import ProjectSection
from pacsgrid.config.secrets import read_key
from pacsgrid.errors import ConfigError
from pacsgrid.uids import is_name

_SHA256 = re.compile(r"[0-9a-f]{64}")
_USER = re.compile(r"^[^#\s]+#[^#\s]+$")
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*$")


def check_user(value: str) -> str:
    """Return an iRODS user, ``name#zone``; raise ValueError for another form."""
    if not _USER.match(value):
        raise ValueError("write an iRODS user as name#zone")
    return value


class Served(Section):
    """One entry of `gateway.serve`: a zone whose projects can be read through the gateway."""

    zone: str = Field(description="The zone's name.")
    projects: tuple[str, ...] = Field(
        default=(),
        description="The projects that are served. By default all of the site's in that zone.",
    )

    @field_validator("projects")
    @classmethod
    def _check_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(not _NAME.match(name) for name in value):
            raise ValueError("a project is a collection's name, without '/' or wildcards")
        return value


def check_result(value: str) -> str:
    """Return the name of a result; raise ValueError if it cannot be one."""
    if value and not is_name(value):
        raise ValueError("a result's name has up to 64 letters, digits, '_' and '-'")
    return value


class Peer(AllowedPeer):
    """One entry of `gateway.peers`: a DICOM node that may query and retrieve."""

    user: str = Field(description="The iRODS user (`name#zone`) whose rights the node has.")
    results: str = Field(
        default="",
        description="The name under which results that the node sends by C-STORE are kept: "
        "`results/<name>` of each study. Without it, the node may send none.",
    )

    _check_user = field_validator("user")(check_user)
    _check_result = field_validator("results")(check_result)


class Token(Section):
    """One entry of `gateway.tokens`: a bearer token for DICOMweb (RFC 6750)."""

    name: str = Field(min_length=1, description="What the token is called in logs.")
    user: str = Field(description="The iRODS user (`name#zone`) whose rights its bearer has.")
    sha256: str = Field(
        default="",
        repr=False,
        description="SHA-256 of the token, in lower-case hex; or set `token_file`.",
    )
    token_file: Path | None = Field(
        default=None, description="File that holds the token itself; or set `sha256`."
    )
    store: bool = Field(
        default=False, description="Whether its bearer may send instances to the ingest by STOW-RS."
    )

    results: str = Field(
        default="",
        description="The name under which results that its bearer sends by STOW-RS are kept: "
        "`results/<name>` of each study. Not together with `store`.",
    )

    _check_user = field_validator("user")(check_user)
    _check_result = field_validator("results")(check_result)

    @field_validator("sha256")
    @classmethod
    def _check_digest(cls, value: str) -> str:
        if value and not _SHA256.fullmatch(value):
            raise ValueError("write 64 lower-case hex digits, as sha256sum prints them")
        return value

    @model_validator(mode="after")
    def _check_one_given(self) -> Token:
        if bool(self.sha256) == bool(self.token_file):
            raise ValueError("give either sha256, of the token in hex, or token_file")
        if self.store and self.results:
            raise ValueError("store and results exclude each other: use two tokens")
        return self

    def fits(self, token: str) -> bool:
        """Return whether this is the token; takes the same time either way."""
        return hmac.compare_digest(hashlib.sha256(token.encode()).hexdigest(), self.sha256)


class Destination(Section):
    """One entry of `gateway.destinations`: where C-MOVE may send to (PS3.4 C.4.2)."""

    ae_title: str = Field(min_length=1, max_length=16, description="AE title of the destination.")
    host: str = Field(min_length=1, description="Its host name or IP address.")
    port: int = Field(ge=1, le=65535, description="Its TCP port.")
    tls: bool = Field(
        default=False, description="Whether TLS is used (PS3.15 B.12); needs `ca_file`."
    )
    ca_file: Path | None = Field(
        default=None,
        description="Certificates (PEM) of the authorities that its certificate must come from.",
    )
    cert_file: Path | None = Field(
        default=None, description="Our certificate (PEM), where the destination asks for one."
    )
    key_file: Path | None = Field(default=None, description="The private key (PEM) of `cert_file`.")

    @model_validator(mode="after")
    def _check_together(self) -> Destination:
        if self.tls and not self.ca_file:
            raise ValueError("tls needs ca_file: whose certificate is trusted?")
        check_certificates(self.cert_file, self.key_file)
        return self


class GatewaySettings(ServiceSection):
    """The section `gateway`: what is served, to whom, and within which limits."""

    serve: tuple[Served, ...] = Field(
        min_length=1,
        description="The zones that are read, the nearest first: an object comes from the first "
        "one that has it.",
    )
    index: Path = Field(
        description="File of the index (SQLite), on a local disk. It is rebuilt from the zones "
        "when it is lost."
    )
    dicom_port: int = Field(
        default=11113, ge=0, le=65535, description="TCP port of C-FIND, C-GET and C-MOVE."
    )
    http_port: int = Field(
        default=8042, ge=0, le=65535, description="TCP port of DICOMweb, served under `/dicom-web`."
    )
    public_url: str = Field(
        default="",
        description="URL under which clients reach DICOMweb, such as "
        "`https://grid.example.org/dicom-web`; answers name their resources by it. By default they "
        "are named relative to the request, which some clients do not understand.",
    )
    max_connections: int = Field(
        default=512,
        ge=16,
        description="DICOMweb connections at once. Where they run out, the longest idle is closed.",
    )
    max_connections_per_address: int = Field(
        default=128,
        ge=1,
        description="DICOMweb connections at once from one address; a proxy is one address.",
    )
    stalled_seconds: float = Field(
        default=60.0,
        gt=0,
        description="How long a DICOMweb client may send nothing of a request, or read nothing of "
        "an answer, in seconds.",
    )
    peers: tuple[Peer, ...] = Field(
        default=(),
        description="The DICOM nodes that may query and retrieve. Without any, nobody may.",
    )
    tokens: tuple[Token, ...] = Field(
        default=(), description="The bearer tokens for DICOMweb. Without any, nobody may use it."
    )
    airflow_users: dict[str, str] = Field(
        default={},
        description="The iRODS user (`name#zone`) of each Airflow user who reads DICOMweb through "
        "Airflow's server.",
    )
    destinations: tuple[Destination, ...] = Field(
        default=(), description="Where C-MOVE may send to."
    )
    cors_origins: tuple[str, ...] = Field(
        default=(),
        description="Origins of web viewers (`https://viewer.example.org`) whose pages may use "
        "DICOMweb.",
    )
    viewer: Path | None = Field(
        default=None,
        description="Folder with the files of the OHIF viewer, as `make viewer` installs them. It "
        "is served under `/viewer`. By default there is no viewer.",
    )
    refresh_seconds: float = Field(
        default=30.0,
        gt=0,
        description="How old the index may be before the zones are asked, in seconds.",
    )
    reconcile_hours: float = Field(
        default=24.0,
        gt=0,
        description="How often every study of the index is compared with the zones, in hours. In "
        "between only what changed there is read.",
    )
    access_seconds: float = Field(
        default=15.0,
        gt=0,
        description="How long access rights are remembered, in seconds. A right that is taken away "
        "in iRODS ends after that.",
    )
    zone_seconds: int = Field(
        default=30,
        ge=1,
        le=600,
        description="How long a zone may be silent before another one is asked, in seconds.",
    )
    cache_mb: int = Field(
        default=4096,
        ge=64,
        description="Disk space beside the index for files that viewers read frame by frame, in "
        "MiB.",
    )
    most_answers: int = Field(
        default=5000,
        ge=1,
        description="Answers to one query, by DIMSE or DICOMweb; DICOMweb has more by `offset`.",
    )
    most_upload_mb: int = Field(
        default=4096, ge=1, description="Size of one STOW-RS request, in MiB."
    )

    @field_validator("airflow_users")
    @classmethod
    def _check_users(cls, value: dict[str, str]) -> dict[str, str]:
        return {name: check_user(user) for name, user in value.items()}

    @field_validator("public_url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        if value and not re.fullmatch(r"https?://[^/?#\s\"\\]+(/[^?#\s\"\\]*)?", value):
            raise ValueError(
                "write the URL of the DICOMweb service: https://grid.example.org/dicom-web"
            )
        return value.rstrip("/")

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(not re.match(r"^https?://[^/*]+$", origin) for origin in value):
            raise ValueError("an origin is scheme, host and port: https://viewer.example.org")
        return value

    @model_validator(mode="after")
    def _check_together(self) -> GatewaySettings:
        for what, names in (
            ("serve: zone", [one.zone for one in self.serve]),
            ("tokens: name", [one.name for one in self.tokens]),
            ("destinations: ae_title", [one.ae_title for one in self.destinations]),
        ):
            if len(set(names)) < len(names):
                raise ValueError(f"{what} is given twice")
        return self

    @property
    def is_https(self) -> bool:
        """Whether browsers reach the gateway by HTTPS, its own or that of a proxy."""
        return self.public_url.startswith("https:") or self.cert_file is not None

    @property
    def takes_results(self) -> bool:
        """Whether anybody may send results."""
        return any(one.results for one in self.tokens) or any(one.results for one in self.peers)

    def peer(self, ae_title: str, address: str) -> Peer | None:
        """Return the peer that calls by DIMSE; None for a stranger.

        Parameters
        ----------
        ae_title
            The calling AE title.
        address
            The IP address of the caller.
        """
        return next((one for one in self.peers if one.fits(ae_title, address)), None)

    def bearer(self, token: str) -> Token | None:
        """Return the entry of a bearer token; None for an unknown token."""
        return next((one for one in self.tokens if one.fits(token)), None)

    def destination(self, ae_title: str) -> Destination | None:
        """Return a destination of C-MOVE; None for one that is not configured."""
        return next((one for one in self.destinations if one.ae_title == ae_title), None)


def resolve_gateway(
    where: str,
    settings: GatewaySettings,
    zones: Collection[str],
    projects: Mapping[str, ProjectSection],
) -> GatewaySettings:
    """Return the gateway's settings with its tokens read and the served projects named.

    Parameters
    ----------
    where
        The section, for error messages.
    settings
        What the site file says.
    zones
        The names of the site's zones.
    projects
        The site's projects by name.

    Raises
    ------
    ConfigError
        A zone is unknown or has no project, or a token's file cannot be read or is empty.
    """
    return settings.model_copy(
        update={
            "serve": tuple(_resolve_served(where, one, zones, projects) for one in settings.serve),
            "tokens": tuple(_resolve_token(where, one) for one in settings.tokens),
        }
    )


def _resolve_served(
    where: str, served: Served, zones: Collection[str], projects: Mapping[str, ProjectSection]
) -> Served:
    if served.zone not in zones:
        raise ConfigError(f"{where}.serve: no zone named {served.zone!r}")
    here = (n for n, p in projects.items() if served.zone in (p.home_zone, *p.partner_zones))
    names = served.projects or tuple(here)
    if not names:
        raise ConfigError(f"{where}.serve: name the projects of zone {served.zone!r}")
    return served.replace(projects=names)


def _resolve_token(where: str, token: Token) -> Token:
    if token.token_file is None:
        return token
    content = read_key(f"{where}.tokens.{token.name}", token.token_file).strip()
    if not content:
        raise ConfigError(f"{where}.tokens.{token.name}: {token.token_file} is empty")
    # With both set the token would not validate, so it is copied without validation.
    return token.model_copy(update={"sha256": hashlib.sha256(content).hexdigest()})
