"""The site file as it is written: its sections, each checked by itself; nothing is looked up."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

import yaml
from pydantic import Field, ValidationError, field_validator

from pacsgrid.config.audit import AuditSettings
from pacsgrid.config.base import Section
from pacsgrid.config.gateway import GatewaySettings
from pacsgrid.config.login import LoginSection
from pacsgrid.config.projects import ProjectSection
from pacsgrid.config.receiver import ReceiverSection
from pacsgrid.config.returns import ReturnSection
from pacsgrid.config.sources import SourceSection
from pacsgrid.config.waves import WaveSection
from pacsgrid.config.zones import ZoneSection
from pacsgrid.errors import ConfigError
from pacsgrid.validation import describe_errors


class AlertsSection(Section):
    """The section `alerts`: who is told by mail that a task has failed."""

    mail_to: list[str] = Field(min_length=1, description="Mail addresses.")
    connection: str = Field(
        default="smtp_default",
        description="The Airflow connection (of type `smtp`) that sends the mail.",
    )

    @field_validator("mail_to")
    @classmethod
    def _check_addresses(cls, given: list[str]) -> list[str]:
        for number, one in enumerate(given, 1):
            if not re.fullmatch(r"[^@\s,;<>]+@[^@\s,;<>]+", one):
                raise ValueError(f"entry {number} is no mail address such as pacs@example.org")
        return given


class SiteFile(Section):
    """The whole site file."""

    staging: Path = Field(
        description="Directory for retrieved studies. They are identified: it must be private to "
        "the service account."
    )
    outbox: Path = Field(
        description="Directory for anonymised studies, until their replicas are proven."
    )
    quarantine: Path = Field(
        description="Directory for files that wait for a steward. They may be identified: it must "
        "be private to the service account."
    )
    ledger_dsn_env: str = Field(
        default="PACSGRID_LEDGER_DSN",
        description="Environment variable with the ledger's libpq connection string.",
    )
    ledger_dsn_file: Path | None = Field(
        default=None,
        description="File with the ledger's libpq connection string; goes before `ledger_dsn_env`.",
    )
    vault_key_file: Path = Field(
        description="File with the key (32 random bytes) that encrypts the vault, which alone "
        "leads from pseudonyms back to patients. Keep a backup."
    )
    batch_size: int = Field(
        default=25,
        ge=1,
        le=1000,
        description="How many studies one Airflow task handles. A task costs seconds of its own. "
        "What fails in it is tried again together.",
    )
    staging_gb: float = Field(
        default=0,
        ge=0,
        description="How many GB (10^9 bytes) `staging` and `outbox` may hold together on each "
        "machine. Retrieval waits while they hold so much. 0 for no limit.",
    )
    wave: WaveSection = Field(
        default=WaveSection(), description="How much one run of `ingest_studies` takes."
    )
    sources: dict[str, SourceSection] = Field(description="Where studies come from, by name.")
    zones: dict[str, ZoneSection] = Field(
        description="The iRODS zones that hold them, by their name in iRODS."
    )
    projects: dict[str, ProjectSection] = Field(description="What they are for, by name.")
    time_zone: str = Field(
        default="Europe/Prague",
        description="IANA name of the time zone that the DAGs' schedules follow.",
    )
    receiver: ReceiverSection | None = Field(
        default=None, description="The storage SCP that modalities push to, if the site runs one."
    )
    gateway: GatewaySettings | None = Field(
        default=None, description="The services that viewers read from, if the site runs them."
    )
    returns: dict[str, ReturnSection] = Field(
        default={}, description="Archives of the hospital that results go back to, by name."
    )
    audit: AuditSettings | None = Field(
        default=None,
        description="What is recorded of the studies that leave through the gateway and with "
        "tickets; by default nothing is.",
    )
    login: LoginSection | None = Field(
        default=None,
        description="The OpenID Connect provider with whose accounts people and programs log in; "
        "by default there is none.",
    )
    alerts: AlertsSection | None = Field(
        default=None, description="Mail about failed tasks; by default none is sent."
    )

    @field_validator("time_zone")
    @classmethod
    def _check_time_zone(cls, name: str) -> str:
        if name not in available_timezones():
            raise ValueError("not a time zone; give a name such as Europe/Prague")
        return name


def read_file(file: Path) -> SiteFile:
    """Read and check a site file.

    Parameters
    ----------
    file
        The YAML file.

    Raises
    ------
    ConfigError
        The file cannot be read, or is wrong. The message names file and setting, and quotes no
        value, because one that stands in a wrong place may be a secret.
    """
    try:
        raw: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
        return SiteFile.model_validate(raw)
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: not YAML: it is not text in UTF-8") from None
    except yaml.MarkedYAMLError as error:
        mark, problem = error.problem_mark, error.problem
        line = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ConfigError(f"{file}: not YAML: {line}{problem}") from None
    except yaml.YAMLError:
        raise ConfigError(f"{file}: not YAML: it has a character that YAML forbids") from None
    except ValidationError as error:
        raise ConfigError(f"{file}: {describe_errors(error)}") from None
