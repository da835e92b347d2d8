"""What DAG files need of the site file: names, without addresses and secrets.

Airflow parses DAG files often, so this looks up nothing and keeps what it read until the file
changes.
"""

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
    """The names in a site file.

    Attributes
    ----------
    sources, zones, projects
        Their names, in the file's order.
    profiles
        The profiles that a steward may choose for a run, of all projects.
    time_zone
        IANA name of the time zone that schedules follow.
    homes
        The home zone of each project.
    nightly
        The source and the project of each nightly synchronisation.
    max_associations
        How many associations or retrievals may use each source at once.
    consent
        The projects that ask for consent.
    subjects_from_outside
        Whether a project has subjects that are not derived.
    login_minutes
        How often logins are checked; 0 without a provider.
    mail_to, mail_connection
        The mail addresses to tell of a failed task, and the Airflow connection that sends it.
    """

    sources: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    time_zone: str = "Europe/Prague"
    homes: Mapping[str, str] = field(default_factory=dict)
    nightly: tuple[tuple[str, str], ...] = ()
    max_associations: Mapping[str, int] = field(default_factory=dict)
    consent: tuple[str, ...] = ()
    subjects_from_outside: bool = False
    login_minutes: int = 0
    mail_to: tuple[str, ...] = ()
    mail_connection: str = ""


def site_names() -> SiteNames:
    """Return the names in the site file that ``PACSGRID_SITE`` names; empty when it is not set.

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
        max_associations={name: source.max_associations for name, source in site.sources.items()},
        consent=tuple(name for name, one in site.projects.items() if one.consent.is_asked),
        subjects_from_outside=any(one.subjects.from_outside for one in site.projects.values()),
        login_minutes=site.login.recheck_minutes if site.login else 0,
        mail_to=tuple(site.alerts.mail_to) if site.alerts else (),
        mail_connection=site.alerts.connection if site.alerts else "",
    )
