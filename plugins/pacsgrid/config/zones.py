"""Zones: the iRODS zones that hold the anonymised studies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, ValidationError, model_validator

from pacsgrid.config.base import Section
from pacsgrid.config.secrets import read_secret
from pacsgrid.connections import look_up
from pacsgrid.errors import ConfigError
from pacsgrid.validation import describe_errors


class ZoneSection(Section):
    """One entry of `zones`: an iRODS zone, under its own name in iRODS."""

    connection: str = Field(
        default="",
        description="An Airflow connection (of type `irods`) with address and credentials. What "
        "is set here as well goes before it.",
    )
    host: str = Field(
        default="", description="Host name or IP address of an iRODS server of the zone."
    )
    port: int = Field(default=0, ge=0, le=65535, description="Its TCP port, usually 1247.")
    user: str = Field(default="", description="The account that deposits and verifies.")
    password_env: str = Field(
        default="", description="Environment variable that holds its password."
    )
    password_file: Path | None = Field(default=None, description="File that holds its password.")
    ca_file: Path | None = Field(
        default=None,
        description="Certificates (PEM) of the authorities that the server's certificate must "
        "come from. When it is set, the zone is spoken to over TLS only.",
    )
    resource: str = Field(
        default="demoResc",
        description="The root resource that deposits name. The default is the one that a new "
        "iRODS server has.",
    )
    copies: int = Field(
        default=1,
        ge=1,
        le=16,
        description="How many good replicas of each object there must be under `resource`, unless "
        "a project's `replication` says otherwise.",
    )
    bundle: bool = Field(
        default=False,
        description="Whether small objects are sent as tar files that the server unpacks. It pays "
        "where round trips are long; near by, several connections are as fast.",
    )

    @model_validator(mode="after")
    def _check_address(self) -> ZoneSection:
        if not self.connection and not (self.host and self.port and self.user):
            raise ValueError("give host, port and user, or an Airflow connection")
        return self


class ZoneSettings(ZoneSection):
    """A zone, ready for use: its section, completed with its connection and password."""

    name: str = Field(description="The zone's name in iRODS.")
    password: SecretStr = Field(default=SecretStr(""), description="The account's password.")


def resolve_zone(where: str, name: str, section: ZoneSection) -> ZoneSettings:
    """Return a zone of the site file, with its connection and password looked up.

    Parameters
    ----------
    where
        The section, for error messages.
    name
        The zone's name.
    section
        What the site file says of it.

    Raises
    ------
    ConfigError
        The password or the connection is missing, or the connection lacks a setting.
    """
    found: dict[str, Any] = {}
    where_from = where
    if section.connection:
        found = look_up(section.connection, "irods")
        where_from = f"{where}: connection {section.connection}"
    given = {**found, **section.model_dump(exclude_unset=True)}
    if section.password_env or section.password_file or "password" not in found:
        given["password"] = read_secret(where, section.password_env, section.password_file)
    if missing := [setting for setting in ("host", "port", "user") if not given.get(setting)]:
        raise ConfigError(f"{where_from}: {', '.join(missing)} is not set")
    return _make(where_from, {**given, "name": name})


def zone_from_connection(zone: str, name: str, found: Mapping[str, Any]) -> ZoneSettings:
    """Return a zone from an Airflow connection alone, without a site file.

    Parameters
    ----------
    zone
        The zone's name.
    name
        The connection's name.
    found
        The settings in the connection, see `pacsgrid.connections.settings_of`.

    Raises
    ------
    ConfigError
        A setting is missing or wrong; the message names connection and setting.
    """
    needed = {"zone": zone, **{k: found.get(k) for k in ("host", "port", "user", "password")}}
    if missing := [setting for setting, value in needed.items() if not value]:
        raise ConfigError(f"connection {name}: {', '.join(missing)} is not set")
    return _make(f"connection {name}", {**found, "name": zone})


def _make(where: str, given: Mapping[str, Any]) -> ZoneSettings:
    try:
        return ZoneSettings.model_validate(given)
    except ValidationError as error:
        raise ConfigError(f"{where}: {describe_errors(error)}") from None
