"""The site file as it is written: its sections, checked one by one; nothing is looked up."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Any, Literal
from zoneinfo import available_timezones

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from pacsgrid.errors import ConfigError
from pacsgrid.gateway_settings import GatewaySettings
from pacsgrid.receiver_settings import ReceiverSettings


class Strict(BaseModel):
    """A section; a key that it does not know is an error."""

    model_config = ConfigDict(extra="forbid")


class SourceSection(Strict):
    """One of `sources`."""

    kind: str = Field(pattern="^(dimse|dicomweb|folder|received)$")
    connection: str = ""
    host: str = ""
    port: int = Field(0, ge=0, le=65535)
    ae_title: str = Field("", max_length=16)
    calling_ae_title: str = Field("PACSGRID", max_length=16)
    retrieve: str = Field("", pattern="^(get|move|web)?$")
    fall_back: list[Literal["get", "move", "web"]] = []
    move_bind: str = ""
    move_port: int = Field(0, ge=0, le=65535)
    url: str = ""
    user: str = ""
    password_env: str = ""
    password_file: Path | None = None
    token_env: str = ""
    token_file: Path | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    page_size: int = Field(500, ge=1, le=100_000)
    most_answers: int = Field(0, ge=0)
    connect_seconds: float = Field(10.0, gt=0)
    answer_seconds: float = Field(600.0, gt=0)
    idle_seconds: float = Field(60.0, gt=0)
    folder: Path | None = None
    tls: bool = False
    max_associations: int = Field(1, ge=1, le=64)
    instances_per_second: float = Field(0.0, ge=0)
    hours: str = Field("", pattern=r"^(([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d)?$")
    failures: int = Field(5, ge=1)
    pause_seconds: float = Field(600.0, ge=0)


class ZoneSection(Strict):
    """One of `zones`."""

    connection: str = ""
    host: str = ""
    port: int = Field(0, ge=0, le=65535)
    user: str = ""
    password_env: str = ""
    password_file: Path | None = None
    ca_file: Path | None = None
    resource: str = "demoResc"
    copies: int = Field(1, ge=1, le=16)
    bundle: bool = False

    @model_validator(mode="after")
    def _reachable(self) -> ZoneSection:
        if not self.connection and not (self.host and self.port and self.user):
            raise ValueError("give host, port and user, or an Airflow connection")
        return self


class HeldSection(Strict):
    """What a project holds in one zone: `projects.<name>.replication.zones.<zone>`."""

    copies: int | None = Field(default=None, ge=1, le=16)
    resource: str = ""


class ReplicationSection(Strict):
    """A project's `replication`."""

    zones: dict[str, HeldSection] = {}
    within_hours: int = Field(default=72, ge=1)
    reverify_days: int = Field(default=30, ge=0, le=3650)


class ProjectSection(Strict):
    """One of `projects`."""

    profile: str
    profiles: list[str] = []
    home_zone: str
    partner_zones: list[str] = []
    key_file: Path
    replication: ReplicationSection = ReplicationSection()
    nightly: list[str] = []
    nightly_from: date | None = None


class AlertsSection(Strict):
    """Who hears by mail that a task has failed."""

    mail_to: list[str] = Field(min_length=1)
    connection: str = "smtp_default"

    @field_validator("mail_to")
    @classmethod
    def _addresses(cls, given: list[str]) -> list[str]:
        for number, one in enumerate(given, 1):
            if not re.fullmatch(r"[^@\s,;<>]+@[^@\s,;<>]+", one):
                raise ValueError(f"entry {number} is no mail address such as pacs@example.org")
        return given


class SiteFile(Strict):
    """The whole file."""

    staging: Path
    outbox: Path
    quarantine: Path
    ledger_dsn_env: str = "PACSGRID_LEDGER_DSN"
    ledger_dsn_file: Path | None = None
    vault_key_file: Path
    batch_size: int = Field(8, ge=1, le=1000)
    sources: dict[str, SourceSection]
    zones: dict[str, ZoneSection]
    projects: dict[str, ProjectSection]
    time_zone: str = "Europe/Prague"
    receiver: ReceiverSettings | None = None
    gateway: GatewaySettings | None = None
    alerts: AlertsSection | None = None

    @field_validator("time_zone")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in available_timezones():
            raise ValueError("not a time zone; give a name such as Europe/Prague")
        return name


def read_file(file: Path) -> SiteFile:
    """Read a site file; raises ConfigError naming the file, the setting and what is wrong."""
    try:
        raw: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
        return SiteFile.model_validate(raw)
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: not YAML: it is no text in UTF-8") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: not YAML: {error}") from None
    except ValidationError as error:
        raise ConfigError(f"{file}: {what_is_wrong(error)}") from None


def what_is_wrong(error: ValidationError) -> str:
    """Name each setting that is wrong, and how."""
    # Neither the input nor pydantic's own text: both may quote a secret.
    return "; ".join(
        f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}"
        for e in error.errors(include_input=False)
    )
