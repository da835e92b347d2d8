"""What DAG files need of the site file: names, no address and no secret."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from pacsgrid.config.schema import read_file
from pacsgrid.errors import ConfigError

SITE_ENV = "PACSGRID_SITE"


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
    mail_to, mail_connection
        Whom to tell by mail that a task has failed, and the Airflow connection to send it with.
    """

    sources: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    time_zone: str = "Europe/Prague"
    homes: Mapping[str, str] = field(default_factory=dict)
    nightly: tuple[tuple[str, str], ...] = ()
    at_once: Mapping[str, int] = field(default_factory=dict)
    mail_to: tuple[str, ...] = ()
    mail_connection: str = ""


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
    site = read_file(file)
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
        mail_to=tuple(site.alerts.mail_to) if site.alerts else (),
        mail_connection=site.alerts.connection if site.alerts else "",
    )
