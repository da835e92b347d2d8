"""Site settings: one YAML file, validated when it is read; credentials stay outside it.

A password is named, not written: ``password_env``, ``password_file``, or the Airflow
``connection`` that holds it together with the address.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal, TypeVar
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

from pacsgrid.connections import KINDS, Later, look_up
from pacsgrid.errors import ConfigError
from pacsgrid.gateway_settings import GatewaySettings, Served, Token
from pacsgrid.model import ProjectSettings, ReplicationPolicy, SourceSettings, ZoneSettings
from pacsgrid.receiver_settings import ReceiverSettings

SITE_ENV = "PACSGRID_SITE"
_T = TypeVar("_T")
_Model = TypeVar("_Model", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Source(_Strict):
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


class _Zone(_Strict):
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
    def _reachable(self) -> _Zone:
        if not self.connection and not (self.host and self.port and self.user):
            raise ValueError("give host, port and user, or an Airflow connection")
        return self


class _Held(_Strict):
    copies: int | None = Field(default=None, ge=1, le=16)
    resource: str = ""


class _Replication(_Strict):
    zones: dict[str, _Held] = {}
    within_hours: int = Field(default=72, ge=1)
    reverify_days: int = Field(default=30, ge=1, le=3650)


class _Project(_Strict):
    profile: str
    profiles: list[str] = []
    home_zone: str
    partner_zones: list[str] = []
    key_file: Path
    replication: _Replication = _Replication()
    nightly: list[str] = []
    nightly_from: date | None = None


class _Site(_Strict):
    staging: Path
    outbox: Path
    quarantine: Path
    ledger_dsn_env: str = "PACSGRID_LEDGER_DSN"
    ledger_dsn_file: Path | None = None
    vault_key_file: Path
    batch_size: int = Field(8, ge=1, le=1000)
    sources: dict[str, _Source]
    zones: dict[str, _Zone]
    projects: dict[str, _Project]
    time_zone: str = "Europe/Prague"
    receiver: ReceiverSettings | None = None
    gateway: GatewaySettings | None = None

    @field_validator("time_zone")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in available_timezones():
            raise ValueError("not a time zone; give a name such as Europe/Prague")
        return name


@dataclass(frozen=True)
class Site:
    """Everything a site's YAML says, with its secrets resolved.

    ``staging`` and ``quarantine`` hold identified files and are private to the service account.
    """

    staging: Path
    outbox: Path
    quarantine: Path
    ledger_dsn: str
    vault_key: bytes
    batch_size: int
    sources: Mapping[str, SourceSettings]
    zones: Mapping[str, ZoneSettings]
    projects: dict[str, ProjectSettings]
    receiver: ReceiverSettings | None = None
    gateway: GatewaySettings | None = None

    def source(self, name: str) -> SourceSettings:
        """Return the named source; raises ConfigError listing those there are."""
        return _pick(self.sources, "source", name)

    def zone(self, name: str) -> ZoneSettings:
        """Return the named zone; raises ConfigError listing those there are."""
        return _pick(self.zones, "zone", name)

    def project(self, name: str) -> ProjectSettings:
        """Return the named project; raises ConfigError listing those there are."""
        return _pick(self.projects, "project", name)


def _pick(table: Mapping[str, _T], kind: str, name: str) -> _T:
    if name not in table:
        known = ", ".join(sorted(table)) or "none"
        raise ConfigError(f"no {kind} named {name!r} in the site file; it has: {known}")
    return table[name]


def _secret(where: str, env: str, file: Path | None, what: str = "password") -> str:
    if file is not None:
        return read_key(where, file).decode().strip()
    if env and env in os.environ:
        return os.environ[env]
    raise ConfigError(
        f"{where}: no {what}; set {what}_file, or {what}_env to a variable that is set"
    )


_SECRETS = {"password_env", "password_file", "token_env", "token_file"}


def _source(where: str, name: str, given: _Source, state: Path) -> SourceSettings:
    values = given.model_dump(exclude=_SECRETS | {"connection", "fall_back"})
    if given.connection:
        if given.kind not in KINDS:
            raise ConfigError(f"{where}: a source of kind {given.kind} has no connection")
        held = look_up(given.connection, KINDS[given.kind])
        checked = _checked(f"{where}: connection {given.connection}", given, held)
        values |= {k: getattr(checked, k) for k in held if k in values}
        values |= {k: held[k] for k in ("password", "token") if k in held}
    values["retrieve"] = values["retrieve"] or ("web" if given.kind == "dicomweb" else "get")
    if given.password_env or given.password_file:
        values["password"] = _secret(where, given.password_env, given.password_file)
    if given.token_env or given.token_file:
        values["token"] = _secret(where, given.token_env, given.token_file, "token")
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
    given = _Source.model_construct(kind=kind)
    checked = _checked(where, given, held)
    values = checked.model_dump(exclude=_SECRETS | {"connection", "fall_back"})
    values |= {k: held[k] for k in ("password", "token") if k in held}
    values["retrieve"] = values["retrieve"] or ("web" if kind == "dicomweb" else "get")
    for setting in ("url",) if kind == "dicomweb" else ("host", "port", "ae_title"):
        if not values[setting]:
            raise ConfigError(f"{where}: {setting} is not set")
    return SourceSettings(name=name, **values)


def zone_of(zone: str, name: str, held: Mapping[str, Any]) -> ZoneSettings:
    """Return a zone from a connection alone; raises ConfigError naming what is missing."""
    needed = {"zone": zone, **{k: held.get(k) for k in ("host", "port", "user", "password")}}
    if missing := [setting for setting, value in needed.items() if not value]:
        raise ConfigError(f"connection {name}: {', '.join(missing)} is not set")
    return ZoneSettings(zone, held["host"], held["port"], held["user"], held["password"])


def _zone(where: str, name: str, given: _Zone) -> ZoneSettings:
    held = {}
    if given.connection:
        held = look_up(given.connection, "irods")
    checked = _checked(f"{where}: connection {given.connection}", given, held)
    if given.password_env or given.password_file or "password" not in held:
        held["password"] = _secret(where, given.password_env, given.password_file)
    return ZoneSettings(
        name=name,
        host=checked.host,
        port=checked.port,
        user=checked.user,
        password=held["password"],
        resource=given.resource,
        copies=given.copies,
        bundle=given.bundle,
        ca_file=given.ca_file,
    )


def _checked(where: str, given: _Model, held: Mapping[str, Any]) -> _Model:
    """Complete settings with those of a connection; what the file says itself goes before."""
    fields = {k: v for k, v in held.items() if k in type(given).model_fields}
    try:
        return type(given).model_validate({**fields, **given.model_dump(exclude_unset=True)})
    except ValidationError as error:
        raise ConfigError(f"{where}: {_wrong(error)}") from None


def _later(connection: str, make: Callable[[], _T]) -> _T | Callable[[], _T]:
    return make if connection else make()


def _receiver(where: str, given: ReceiverSettings) -> ReceiverSettings:
    if not given.airflow_url:
        return given
    password = _secret(where, given.password_env, given.password_file)
    return given.model_copy(update={"airflow_password": password})


def _ledger_dsn(file: Path, site: _Site) -> str:
    if site.ledger_dsn_file is None and site.ledger_dsn_env not in os.environ:
        raise ConfigError(
            f"{file}: where is the ledger? Set ledger_dsn_file to a file with its libpq connection "
            f"string, or the variable {site.ledger_dsn_env} (ledger_dsn_env)"
        )
    if site.ledger_dsn_file is None:
        return os.environ[site.ledger_dsn_env]
    dsn = read_key(f"{file}: ledger_dsn_file", site.ledger_dsn_file).decode().strip()
    if not dsn:
        raise ConfigError(f"{file}: ledger_dsn_file: {site.ledger_dsn_file} is empty")
    return dsn


def _gateway(where: str, given: GatewaySettings, site: _Site) -> GatewaySettings:
    """Resolve the tokens' files, and which projects are served where none is named."""

    def served(one: Served) -> Served:
        if one.zone not in site.zones:
            raise ConfigError(f"{where}.serve: no zone named {one.zone!r}")
        here = (n for n, p in site.projects.items() if one.zone in (p.home_zone, *p.partner_zones))
        names = one.projects or tuple(here)
        if not names:
            raise ConfigError(f"{where}.serve: name the projects of zone {one.zone!r}")
        return Served(zone=one.zone, projects=names)

    def resolved(one: Token) -> Token:
        if one.token_file is None:
            return one
        token = read_key(f"{where}.tokens.{one.name}", one.token_file).strip()
        if not token:
            raise ConfigError(f"{where}.tokens.{one.name}: {one.token_file} is empty")
        return one.model_copy(update={"sha256": hashlib.sha256(token).hexdigest()})

    return given.model_copy(
        update={
            "serve": tuple(served(one) for one in given.serve),
            "tokens": tuple(resolved(one) for one in given.tokens),
        }
    )


def read_key(where: str, path: Path) -> bytes:
    """Return the bytes of a key file; raises ConfigError naming the setting and the file."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{where}: cannot read {path}: {error.strerror}") from None


def _policy(where: str, project: _Project, zones: Mapping[str, _Zone]) -> ReplicationPolicy:
    given = project.replication
    owing = (project.home_zone, *project.partner_zones)
    for zone in given.zones:
        if zone not in owing:
            raise ConfigError(
                f"{where}.replication.zones: {zone!r} is neither home_zone nor in partner_zones"
            )
    held = {zone: given.zones.get(zone, _Held()) for zone in owing}
    return ReplicationPolicy(
        copies={zone: one.copies or zones[zone].copies for zone, one in held.items()},
        resources={zone: one.resource or zones[zone].resource for zone, one in held.items()},
        within_hours=given.within_hours,
        reverify_days=given.reverify_days,
    )


@dataclass(frozen=True)
class SiteNames:
    """What DAG files need of the site file: names, no address and no secret.

    Attributes
    ----------
    homes
        The home zone of each project.
    nightly
        The source and the project of each nightly synchronisation.
    at_once
        How many associations each source allows at once.
    time_zone
        IANA's name of the time zone that schedules follow.
    """

    sources: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    time_zone: str = "Europe/Prague"
    homes: Mapping[str, str] = field(default_factory=dict)
    nightly: tuple[tuple[str, str], ...] = ()
    at_once: Mapping[str, int] = field(default_factory=dict)


def _read(file: Path) -> _Site:
    try:
        raw: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
        return _Site.model_validate(raw)
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: not YAML: {error}") from None
    except ValidationError as error:
        raise ConfigError(f"{file}: {_wrong(error)}") from None


def _wrong(error: ValidationError) -> str:
    # Neither the input nor pydantic's own text: both may quote a secret.
    return "; ".join(
        f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}"
        for e in error.errors(include_input=False)
    )


def site_names() -> SiteNames:
    """Return the names in the site file without touching a secret; none when no file is set.

    Raises
    ------
    ConfigError
        The file cannot be read or is wrong.
    """
    name = os.environ.get(SITE_ENV)
    if not name:
        return SiteNames()
    try:
        changed = os.stat(name)
    except OSError as error:
        raise ConfigError(f"{name}: {error.strerror}") from None
    return _names(Path(name), (changed.st_mtime_ns, changed.st_size, changed.st_ino))


@lru_cache(maxsize=4)
def _names(file: Path, changed: tuple[int, ...]) -> SiteNames:
    site = _read(file)
    profiles = {p for project in site.projects.values() for p in project.profiles}
    return SiteNames(
        sources=tuple(site.sources),
        zones=tuple(site.zones),
        projects=tuple(site.projects),
        profiles=tuple(sorted(profiles)),
        time_zone=site.time_zone,
        homes={name: project.home_zone for name, project in site.projects.items()},
        nightly=tuple(
            (source, name) for name, project in site.projects.items() for source in project.nightly
        ),
        at_once={name: source.max_associations for name, source in site.sources.items()},
    )


def key_files(path: Path) -> dict[str, Path]:
    """Return the key files of a site by what they are for, the vault's and the projects'.

    None of them needs to be there. Raises ConfigError when the site file is wrong.
    """
    site = _read(path)
    projects = {f"project {name}": one.key_file for name, one in site.projects.items()}
    return {"vault": site.vault_key_file, **projects}


def load_site(path: str | os.PathLike[str] | None = None) -> Site:
    """Read and validate the site file.

    Parameters
    ----------
    path
        The YAML file; by default the one that the environment's ``PACSGRID_SITE`` names.

    Raises
    ------
    ConfigError
        Naming the file, the setting and what is wrong with it.
    """
    name = path or os.environ.get(SITE_ENV)
    if not name:
        raise ConfigError(f"no site file: set the environment variable {SITE_ENV} to its path")
    file = Path(name)
    site = _read(file)
    for project_name, project in site.projects.items():
        for zone in (project.home_zone, *project.partner_zones):
            if zone not in site.zones:
                raise ConfigError(f"{file}: projects.{project_name}: no zone named {zone!r}")
        for source in project.nightly:
            if source not in site.sources:
                raise ConfigError(f"{file}: projects.{project_name}: no source named {source!r}")
    state = site.staging / ".sources"
    return Site(
        staging=site.staging,
        outbox=site.outbox,
        quarantine=site.quarantine,
        ledger_dsn=_ledger_dsn(file, site),
        vault_key=read_key(f"{file}: vault_key_file", site.vault_key_file),
        batch_size=site.batch_size,
        sources=Later(
            {
                n: _later(s.connection, partial(_source, f"{file}: sources.{n}", n, s, state))
                for n, s in site.sources.items()
            }
        ),
        zones=Later(
            {
                n: _later(z.connection, partial(_zone, f"{file}: zones.{n}", n, z))
                for n, z in site.zones.items()
            }
        ),
        projects={
            n: ProjectSettings(
                n,
                p.profile,
                p.home_zone,
                tuple(p.partner_zones),
                p.key_file,
                _policy(f"{file}: projects.{n}", p, site.zones),
                tuple(p.profiles),
                tuple(p.nightly),
                p.nightly_from,
            )
            for n, p in site.projects.items()
        },
        receiver=_receiver(f"{file}: receiver", site.receiver) if site.receiver else None,
        gateway=_gateway(f"{file}: gateway", site.gateway, site) if site.gateway else None,
    )
