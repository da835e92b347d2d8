"""Sources: the PACS and folders that studies come from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator

from pacsgrid.config.base import Section
from pacsgrid.config.secrets import read_secret
from pacsgrid.connections import KINDS, look_up
from pacsgrid.errors import ConfigError
from pacsgrid.validation import describe_errors

Kind = Literal["dimse", "dicomweb", "folder", "received"]
Retrieve = Literal["get", "move", "web"]
_HOURS = re.compile(r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d")


class NightBudget(Section):
    """A source's `night`: how much of it nightly synchronisation and backfills may take a night.

    A night is counted from noon to noon in the site's time zone. What is named, pushed or fits
    into one wave is taken at any time.
    """

    hours: float = Field(
        default=0,
        ge=0,
        le=24,
        description="How many hours after the night's first wave the last one may start; 0 for no "
        "limit.",
    )
    studies: int = Field(
        default=0, ge=0, description="How many studies are taken in a night; 0 for no limit."
    )
    gigabytes: float = Field(
        default=0,
        ge=0,
        description="How many gigabytes (10^9 bytes) are taken in a night; 0 for no limit.",
    )


class SourceSection(Section):
    """One entry of `sources`: a PACS, or a folder, that studies come from."""

    kind: Kind = Field(
        description="`dimse` (C-FIND with C-GET or C-MOVE) or `dicomweb` (QIDO-RS, WADO-RS) for a "
        "PACS, `folder` for a folder that people put files into, `received` for the folder that "
        "the receiver writes to.",
    )
    connection: str = Field(
        default="",
        description="An Airflow connection (of type `dicom` or `dicomweb`) with address and "
        "credentials. What is set here as well goes before it.",
    )
    host: str = Field(default="", description="Host name or IP address of the PACS, for DIMSE.")
    port: int = Field(default=0, ge=0, le=65535, description="TCP port of the PACS, for DIMSE.")
    ae_title: str = Field(default="", max_length=16, description="AE title of the PACS.")
    calling_ae_title: str = Field(
        default="PACSGRID", max_length=16, description="Our AE title, as the PACS knows us."
    )
    retrieve: Retrieve | Literal[""] = Field(
        default="",
        description="How studies are retrieved: `get` (C-GET), `move` (C-MOVE) or `web` "
        "(DICOMweb). By default `web` for kind `dicomweb`, otherwise `get`, which needs no port "
        "of ours.",
    )
    fall_back: tuple[Retrieve, ...] = Field(
        default=(),
        description="Other ways to retrieve, tried in this order when the first one fails. What "
        "was retrieved already is not asked for again.",
    )
    move_bind: str = Field(
        default="",
        description="IP address on which C-MOVE's instances are received. By default all.",
    )
    move_port: int = Field(
        default=0,
        ge=0,
        le=65535,
        description="TCP port on which C-MOVE's instances are received; the PACS must know "
        "`calling_ae_title` at it. Needed with `retrieve: move` only.",
    )
    url: str = Field(default="", description="Root of the DICOMweb service, http or https.")
    user: str = Field(
        default="",
        description="User name for HTTP basic authentication, or for DIMSE's user identity "
        "(PS3.7 D.3.3.7); needs a password.",
    )
    password_env: str = Field(
        default="", description="Environment variable that holds the password."
    )
    password_file: Path | None = Field(default=None, description="File that holds the password.")
    token_env: str = Field(
        default="", description="Environment variable that holds a bearer token for DICOMweb."
    )
    token_file: Path | None = Field(
        default=None,
        description="File that holds a bearer token for DICOMweb, instead of a password.",
    )
    ca_file: Path | None = Field(
        default=None,
        description="Certificates (PEM) of the authorities that the PACS's certificate must come "
        "from. By default the public ones for DICOMweb.",
    )
    cert_file: Path | None = Field(
        default=None, description="Our certificate (PEM), where the PACS asks for one."
    )
    key_file: Path | None = Field(default=None, description="The private key (PEM) of `cert_file`.")
    page_size: int = Field(
        default=500,
        ge=1,
        le=100_000,
        description="How many answers are asked for in one QIDO-RS request.",
    )
    most_answers: int = Field(
        default=0,
        ge=0,
        description="How many studies the PACS returns to one query at most; 0 where it has no "
        "limit. So many answers are an error, because others may be missing; the nightly "
        "synchronisation asks in parts.",
    )
    connect_seconds: float = Field(
        default=10.0,
        gt=0,
        description="How long a connection and an association may take, in seconds.",
    )
    answer_seconds: float = Field(
        default=600.0,
        gt=0,
        description="How long the next DIMSE answer may take, in seconds. Long by default: a PACS "
        "may have to fetch a study from slow storage first.",
    )
    idle_seconds: float = Field(
        default=60.0,
        gt=0,
        description="How long the PACS may send nothing within an answer, in seconds.",
    )
    folder: Path | None = Field(
        default=None, description="The folder, for kind `folder` and kind `received`."
    )
    originals: Path | None = Field(
        default=None,
        description="A private folder that keeps the received files of verified studies, for kind "
        "`received`, so that they can be anonymised again. They identify patients. By default none "
        "is kept.",
    )
    tls: bool = Field(
        default=False, description="Whether DIMSE uses TLS (PS3.15 B.12), trusting `ca_file`."
    )
    max_associations: int = Field(
        default=1,
        ge=1,
        le=64,
        description="How many associations or retrievals may use the PACS at once, from all "
        "processes of a machine. It is also the size of the source's pool in Airflow.",
    )
    instances_per_second: float = Field(
        default=0.0,
        ge=0,
        description="How many instances are retrieved per second; 0 for no limit.",
    )
    hours: str = Field(
        default="",
        description="When the PACS may be asked, in local time, such as `20:00-06:00`. By default "
        "at any time.",
    )
    night: NightBudget = Field(
        default=NightBudget(),
        description="How much nightly synchronisation and backfills may take of it in one night.",
    )
    failures: int = Field(
        default=5,
        ge=1,
        description="After how many failures in a row the PACS is not asked for `pause_seconds`.",
    )
    pause_seconds: float = Field(
        default=600.0,
        ge=0,
        description="How long a PACS that keeps failing is left alone, in seconds.",
    )

    @field_validator("hours")
    @classmethod
    def _check_hours(cls, value: str) -> str:
        if value and not _HOURS.fullmatch(value):
            raise ValueError("write a time span of the day such as 20:00-06:00")
        return value


class SourceSettings(SourceSection):
    """A source, ready for use: its section, completed with its connection and secrets."""

    name: str = Field(description="Its name in the site file.")
    password: SecretStr = Field(default=SecretStr(""), description="The password; empty for none.")
    token: SecretStr = Field(default=SecretStr(""), description="The bearer token; empty for none.")
    state: Path | None = Field(
        default=None,
        description="Directory in which the processes of this machine share the source's limits "
        "and failures. By default a private directory among the temporary files.",
    )

    @model_validator(mode="before")
    @classmethod
    def _set_retrieve(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and not given.get("retrieve"):
            return {**given, "retrieve": "web" if given.get("kind") == "dicomweb" else "get"}
        return given


def resolve_source(where: str, name: str, section: SourceSection, state: Path) -> SourceSettings:
    """Return a source of the site file, with its connection and secrets looked up.

    Parameters
    ----------
    where
        The section, for error messages.
    name
        The source's name.
    section
        What the site file says of it.
    state
        Directory in which the source's limits are shared.

    Raises
    ------
    ConfigError
        A secret or the connection is missing, or settings do not fit together.
    """
    found: dict[str, Any] = {}
    if section.connection:
        if section.kind not in KINDS:
            raise ConfigError(
                f"{where}: a source of kind {section.kind} has no connection; remove it"
            )
        found = look_up(section.connection, KINDS[section.kind])
        where_from = f"{where}: connection {section.connection}"
    else:
        where_from = where
    given = {**found, **section.model_dump(exclude_unset=True)}
    if section.password_env or section.password_file:
        given["password"] = read_secret(where, section.password_env, section.password_file)
    if section.token_env or section.token_file:
        given["token"] = read_secret(where, section.token_env, section.token_file, "token")
    settings = _make(where_from, {**given, "name": name, "state": state})
    if settings.user and "password" not in given:
        raise ConfigError(f"{where}: user without password; set password_env or password_file")
    if settings.kind == "dicomweb" and not settings.url:
        raise ConfigError(f"{where}: url is not set; give the DICOMweb service's root")
    if settings.originals and settings.kind != "received":
        raise ConfigError(
            f"{where}: originals are kept of kind `received` alone; others have them themselves"
        )
    return settings


def source_from_connection(name: str, kind: str, found: Mapping[str, Any]) -> SourceSettings:
    """Return a source from an Airflow connection alone, without a site file.

    Parameters
    ----------
    name
        The connection's name.
    kind
        ``dimse`` or ``dicomweb``.
    found
        The settings in the connection, see `pacsgrid.connections.settings_of`.

    Raises
    ------
    ConfigError
        A setting is missing or wrong; the message names connection and setting.
    """
    where = f"connection {name}"
    settings = _make(where, {**found, "name": name, "kind": kind})
    for setting in ("url",) if kind == "dicomweb" else ("host", "port", "ae_title"):
        if not getattr(settings, setting):
            raise ConfigError(f"{where}: {setting} is not set")
    return settings


def _make(where: str, given: Mapping[str, Any]) -> SourceSettings:
    try:
        return SourceSettings.model_validate(given)
    except ValidationError as error:
        raise ConfigError(f"{where}: {describe_errors(error)}") from None
