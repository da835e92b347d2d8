"""How a zone is reached, from its section or from a connection alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pacsgrid.config.connected import completed
from pacsgrid.config.schema import ZoneSection
from pacsgrid.config.secrets import read_secret
from pacsgrid.connections import look_up
from pacsgrid.errors import ConfigError
from pacsgrid.model import ZoneSettings


def resolve_zone(where: str, name: str, given: ZoneSection) -> ZoneSettings:
    """Return a zone of the site file; raises ConfigError when it lacks secret or connection."""
    held = {}
    if given.connection:
        held = look_up(given.connection, "irods")
    checked = completed(f"{where}: connection {given.connection}", given, held)
    if given.password_env or given.password_file or "password" not in held:
        held["password"] = read_secret(where, given.password_env, given.password_file)
    return ZoneSettings(
        name=name,
        host=checked.host,
        port=checked.port,
        user=checked.user,
        password=held["password"],
        resource=given.resource,
        copies=given.copies,
        bundle=given.bundle,
        ca_file=checked.ca_file,
    )


def zone_of(zone: str, name: str, held: Mapping[str, Any]) -> ZoneSettings:
    """Return a zone from a connection alone; raises ConfigError naming what is missing."""
    needed = {"zone": zone, **{k: held.get(k) for k in ("host", "port", "user", "password")}}
    if missing := [setting for setting, value in needed.items() if not value]:
        raise ConfigError(f"connection {name}: {', '.join(missing)} is not set")
    return ZoneSettings(
        zone,
        held["host"],
        held["port"],
        held["user"],
        held["password"],
        ca_file=Path(held["ca_file"]) if "ca_file" in held else None,
    )
