"""The whole site, ready for use: what the site file says, with its secrets looked up."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from pacsgrid.config.audit import AuditSettings
from pacsgrid.config.deferred import DeferredSettings, defer
from pacsgrid.config.gateway import GatewaySettings, resolve_gateway
from pacsgrid.config.login import LoginSettings, resolve_login
from pacsgrid.config.names import SITE_ENV
from pacsgrid.config.projects import ProjectSettings, resolve_project
from pacsgrid.config.receiver import ReceiverSettings, resolve_receiver
from pacsgrid.config.returns import ReturnSection
from pacsgrid.config.schema import SiteFile, read_file
from pacsgrid.config.secrets import read_key
from pacsgrid.config.sources import SourceSettings, resolve_source
from pacsgrid.config.waves import WaveSection
from pacsgrid.config.zones import ZoneSettings, resolve_zone
from pacsgrid.errors import ConfigError

_T = TypeVar("_T")


@dataclass(frozen=True)
class Site:
    """The whole site, ready for use.

    Attributes
    ----------
    staging, quarantine
        Directories with identified files, private to the service account.
    outbox
        Directory for anonymised studies, until their replicas are proven.
    ledger_dsn
        The ledger's libpq connection string.
    vault_key
        The key that encrypts the vault.
    batch_size
        How many studies one Airflow task handles.
    staging_bytes
        How many bytes staging and outbox may hold together on each machine; 0 for no limit.
    wave
        How much one run of ``ingest_studies`` takes.
    time_zone
        IANA name of the site's time zone.
    sources, zones, projects
        Settings by name. Those that name an Airflow connection look it up at first use.
    receiver, gateway
        Settings of the services, where the site runs them.
    audit
        What is recorded of the studies that leave; None for nothing.
    returns
        Archives of the hospital that results go back to, by name.
    login
        The OpenID Connect provider, where the site has one.
    """

    staging: Path
    outbox: Path
    quarantine: Path
    ledger_dsn: str = field(repr=False)
    vault_key: bytes = field(repr=False)
    batch_size: int
    sources: Mapping[str, SourceSettings]
    zones: Mapping[str, ZoneSettings]
    projects: dict[str, ProjectSettings]
    receiver: ReceiverSettings | None = None
    gateway: GatewaySettings | None = None
    audit: AuditSettings | None = None
    returns: Mapping[str, ReturnSection] = field(default_factory=dict)
    staging_bytes: int = 0
    wave: WaveSection = field(default_factory=WaveSection)
    time_zone: str = "Europe/Prague"
    login: LoginSettings | None = None

    def source(self, name: str) -> SourceSettings:
        """Return a source by name; raises ConfigError listing those there are."""
        return _pick(self.sources, "source", name)

    def zone(self, name: str) -> ZoneSettings:
        """Return a zone by name; raises ConfigError listing those there are."""
        return _pick(self.zones, "zone", name)

    def project(self, name: str) -> ProjectSettings:
        """Return a project by name; raises ConfigError listing those there are."""
        return _pick(self.projects, "project", name)


def _pick(table: Mapping[str, _T], kind: str, name: str) -> _T:
    if name not in table:
        known = ", ".join(sorted(table)) or "none"
        raise ConfigError(f"no {kind} named {name!r} in the site file; it has: {known}")
    return table[name]


def load_site(path: str | os.PathLike[str] | None = None) -> Site:
    """Read and check the site file, and look up the secrets that it names.

    Parameters
    ----------
    path
        The YAML file; by default the one that the environment variable ``PACSGRID_SITE`` names.

    Raises
    ------
    ConfigError
        The file or a secret cannot be read, or a setting is wrong. The message names file and
        setting.
    """
    file = _site_path(path)
    site = read_file(file)
    state = site.staging / ".sources"
    return Site(
        staging=site.staging,
        outbox=site.outbox,
        quarantine=site.quarantine,
        ledger_dsn=_ledger_dsn(file, site),
        vault_key=read_key(f"{file}: vault_key_file", site.vault_key_file),
        batch_size=site.batch_size,
        staging_bytes=round(site.staging_gb * 1e9),
        wave=site.wave,
        time_zone=site.time_zone,
        sources=DeferredSettings(
            {
                n: defer(s.connection, partial(resolve_source, f"{file}: sources.{n}", n, s, state))
                for n, s in site.sources.items()
            }
        ),
        zones=DeferredSettings(
            {
                n: defer(z.connection, partial(resolve_zone, f"{file}: zones.{n}", n, z))
                for n, z in site.zones.items()
            }
        ),
        projects={
            n: resolve_project(f"{file}: projects.{n}", n, p, site.zones, site.sources)
            for n, p in site.projects.items()
        },
        receiver=resolve_receiver(f"{file}: receiver", site.receiver) if site.receiver else None,
        gateway=resolve_gateway(f"{file}: gateway", site.gateway, site.zones, site.projects)
        if site.gateway
        else None,
        audit=site.audit,
        returns=site.returns,
        login=_login(file, site),
    )


def _login(file: Path, site: SiteFile) -> LoginSettings | None:
    if site.login is None:
        return None
    if site.gateway is not None and not site.gateway.public_url:
        raise ConfigError(
            f"{file}: gateway.public_url: login needs it, because the provider sends browsers back"
            " to it; set the URL of DICOMweb as browsers reach it"
        )
    accounts = [zone.user for zone in site.zones.values()]
    return resolve_login(f"{file}: login", site.login, site.zones, site.projects, accounts)


def load_login(path: str | os.PathLike[str] | None = None) -> LoginSettings | None:
    """Return the site's login, without reading the site's keys; None if it has none.

    Parameters
    ----------
    path
        The site file, as for `load_site`.

    Raises
    ------
    ConfigError
        As `load_site` raises it.
    """
    file = _site_path(path)
    return _login(file, read_file(file))


def ledger_dsn(path: str | os.PathLike[str] | None = None) -> str:
    """Return the ledger's connection string, without reading the site's keys.

    Parameters
    ----------
    path
        The site file, as for `load_site`. The key files that it names need not exist yet.

    Raises
    ------
    ConfigError
        As `load_site` raises it.
    """
    file = _site_path(path)
    return _ledger_dsn(file, read_file(file))


def audit_years(path: str | os.PathLike[str] | None = None) -> int:
    """Return ``audit.trail_years``, without reading the site's keys; 0 for no limit.

    Parameters
    ----------
    path
        As for `ledger_dsn`, whose errors are raised too.
    """
    audit = read_file(_site_path(path)).audit
    return audit.trail_years if audit else 0


def _site_path(path: str | os.PathLike[str] | None) -> Path:
    name = path or os.environ.get(SITE_ENV)
    if not name:
        raise ConfigError(f"no site file: set the environment variable {SITE_ENV} to its path")
    return Path(name)


def _ledger_dsn(file: Path, site: SiteFile) -> str:
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


def key_files(path: Path) -> dict[str, Path]:
    """Return the key files of a site, which need not exist.

    Parameters
    ----------
    path
        The site file.

    Returns
    -------
    dict of str to Path
        The vault's key file as ``vault``, those of projects as ``project NAME``.

    Raises
    ------
    ConfigError
        The site file is wrong.
    """
    site = read_file(path)
    projects = {f"project {name}": one.key_file for name, one in site.projects.items()}
    return {"vault": site.vault_key_file, **projects}
