"""Everything that a site file says, resolved."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from pacsgrid.config.connected import later
from pacsgrid.config.names import SITE_ENV
from pacsgrid.config.projects import resolve_project
from pacsgrid.config.schema import SiteFile, read_file
from pacsgrid.config.secrets import read_key
from pacsgrid.config.services import resolve_gateway, resolve_receiver
from pacsgrid.config.sources import resolve_source
from pacsgrid.config.zones import resolve_zone
from pacsgrid.connections import Later
from pacsgrid.errors import ConfigError
from pacsgrid.gateway_settings import GatewaySettings
from pacsgrid.model import ProjectSettings, SourceSettings, ZoneSettings
from pacsgrid.receiver_settings import ReceiverSettings

_T = TypeVar("_T")


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
    site = read_file(file)
    projects = {
        n: resolve_project(f"{file}: projects.{n}", n, p, site) for n, p in site.projects.items()
    }
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
                n: later(s.connection, partial(resolve_source, f"{file}: sources.{n}", n, s, state))
                for n, s in site.sources.items()
            }
        ),
        zones=Later(
            {
                n: later(z.connection, partial(resolve_zone, f"{file}: zones.{n}", n, z))
                for n, z in site.zones.items()
            }
        ),
        projects=projects,
        receiver=resolve_receiver(f"{file}: receiver", site.receiver) if site.receiver else None,
        gateway=resolve_gateway(f"{file}: gateway", site.gateway, site) if site.gateway else None,
    )


def ledger_dsn(path: str | os.PathLike[str] | None = None) -> str:
    """Return where the ledger is, from a site file whose keys need not be there yet.

    Raises ConfigError as `load_site` does.
    """
    name = path or os.environ.get(SITE_ENV)
    if not name:
        raise ConfigError(f"no site file: set the environment variable {SITE_ENV} to its path")
    return _ledger_dsn(Path(name), read_file(Path(name)))


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
    """Return the key files of a site by what they are for, the vault's and the projects'.

    None of them needs to be there. Raises ConfigError when the site file is wrong.
    """
    site = read_file(path)
    projects = {f"project {name}": one.key_file for name, one in site.projects.items()}
    return {"vault": site.vault_key_file, **projects}
