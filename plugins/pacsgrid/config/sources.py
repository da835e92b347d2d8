"""How a source is reached, from its section or from a connection alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pacsgrid.config.connected import SECRETS, completed
from pacsgrid.config.schema import SourceSection
from pacsgrid.config.secrets import read_secret
from pacsgrid.connections import KINDS, look_up
from pacsgrid.errors import ConfigError
from pacsgrid.model import SourceSettings


def resolve_source(where: str, name: str, given: SourceSection, state: Path) -> SourceSettings:
    """Return a source of the site file; `state` is where its limits are kept.

    Raises
    ------
    ConfigError
        A secret or the connection is missing, or they do not fit together.
    """
    values = given.model_dump(exclude=SECRETS | {"connection", "fall_back"})
    if given.connection:
        if given.kind not in KINDS:
            raise ConfigError(f"{where}: a source of kind {given.kind} has no connection")
        held = look_up(given.connection, KINDS[given.kind])
        checked = completed(f"{where}: connection {given.connection}", given, held)
        values |= {k: getattr(checked, k) for k in held if k in values}
        values |= {k: held[k] for k in ("password", "token") if k in held}
    values["retrieve"] = values["retrieve"] or ("web" if given.kind == "dicomweb" else "get")
    if given.password_env or given.password_file:
        values["password"] = read_secret(where, given.password_env, given.password_file)
    if given.token_env or given.token_file:
        values["token"] = read_secret(where, given.token_env, given.token_file, "token")
    if values["user"] and "password" not in values:
        raise ConfigError(f"{where}: user without password; set password_env or password_file")
    if given.kind == "dicomweb" and not values["url"]:
        raise ConfigError(f"{where}: url is not set; give the DICOMweb service's root")
    return SourceSettings(name=name, state=state, fall_back=tuple(given.fall_back), **values)


def source_of(name: str, kind: str, held: Mapping[str, Any]) -> SourceSettings:
    """Return a source from a connection alone, without a site file.

    Raises
    ------
    ConfigError
        Something is missing or wrong; names the connection and the setting.
    """
    where = f"connection {name}"
    given = SourceSection.model_construct(kind=kind)
    checked = completed(where, given, held)
    values = checked.model_dump(exclude=SECRETS | {"connection", "fall_back"})
    values |= {k: held[k] for k in ("password", "token") if k in held}
    values["retrieve"] = values["retrieve"] or ("web" if kind == "dicomweb" else "get")
    for setting in ("url",) if kind == "dicomweb" else ("host", "port", "ae_title"):
        if not values[setting]:
            raise ConfigError(f"{where}: {setting} is not set")
    return SourceSettings(name=name, **values)
