"""The releases that a researcher may read or ask for, with the counts they may know."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from irods.column import In, Like
from irods.models import Collection, DataAccess, DataObject

from pacsgrid.config import ProjectSettings
from pacsgrid.gateway.core import Gateway
from pacsgrid.gateway.read_access import READ, principals
from pacsgrid.grid import Zone
from pacsgrid.grid.release_script import NAME as SCRIPT
from pacsgrid.ledger import Grant, GrantState, Ledger, ReleaseOverview
from pacsgrid.ledger.release_overview import ReleaseEntry

_VERSION = re.compile(r"/([^/]+)/v(\d{1,9})$")
_MANIFEST = "manifest.json"
# Studies of a release that are listed, each with a link to the viewer.
_MOST_STUDIES = 500

Version = tuple[str, str, int]


@dataclass(frozen=True)
class ReadableRelease:
    """A version of a release that the researcher may read now.

    Attributes
    ----------
    path
        Its collection in the home zone.
    until
        When the researcher's grant ends; None for one who reads the project anyway.
    grant
        The id of that grant; empty for none.
    lines
        What to paste to fetch it, by the tool's name.
    """

    project: str
    name: str
    version: int
    made_at: datetime
    subjects: int
    studies: int
    instances: int
    size: int
    path: str
    until: datetime | None
    grant: str
    lines: dict[str, str]


@dataclass(frozen=True)
class OfferedRelease:
    """A version of a release that the researcher may ask for; None for a count that is hidden."""

    project: str
    name: str
    version: int
    made_at: datetime
    subjects: int | None
    studies: int | None
    instances: int | None
    size: int | None
    smallest: int


@dataclass(frozen=True)
class Releases:
    """What a researcher may read, and what they may ask for."""

    now: datetime
    readable: list[ReadableRelease]
    offered: list[OfferedRelease]


def served_projects(gateway: Gateway) -> dict[str, ProjectSettings]:
    """Return the site's projects whose home zone the gateway serves."""
    served = {
        (one.settings.name, name) for one in gateway.zone_pool.served for name in one.projects
    }
    projects = gateway.site.projects
    return {n: p for n, p in projects.items() if (p.home_zone, n) in served}


def releases_for(gateway: Gateway, user: str) -> Releases:
    """Return what a researcher may read and ask for.

    Parameters
    ----------
    gateway
        The gateway.
    user
        The researcher's iRODS user, ``name#zone``.

    Returns
    -------
    Releases
        The newest first.

    Raises
    ------
    ZoneUnavailableError
        The home zone of a project does not answer.
    RetryableError
        The ledger does not answer.
    """
    now, projects = gateway.now(), served_projects(gateway)
    may_read = {
        (name, *version)
        for name, project in projects.items()
        for version in _readable(gateway, project, user, now)
    }
    overview = ReleaseOverview(gateway.site.ledger_dsn, list(projects))
    current = [one for one in overview.releases() if one.retired_at is None]
    grants = {
        (one.project, one.release, one.version): one
        for one in Ledger(gateway.site.ledger_dsn).grants.of_researcher(user)
        if one.state_at(now) is GrantState.GRANTED
    }
    readable, offered = [], []
    for one in current:
        project, key = projects[one.project], (one.project, one.name, one.version)
        if key in may_read:
            readable.append(_readable_release(project, one, grants.get(key)))
        elif project.requests is not None:
            offered.append(_offered(one, project.requests.smallest_count))
    return Releases(now, readable, offered)


def studies_of(gateway: Gateway, user: str, version: Version) -> list[str] | None:
    """Return the study UIDs of a version, 500 at most; None if the researcher may not read it.

    Parameters
    ----------
    gateway
        The gateway.
    user
        The researcher's iRODS user, ``name#zone``.
    version
        Project, name and number.
    """
    project = served_projects(gateway).get(version[0])
    if project is None or version[1:] not in _readable(gateway, project, user, gateway.now()):
        return None
    ledger = Ledger(gateway.site.ledger_dsn)
    refs = ledger.releases.study_refs(*version)[:_MOST_STUDIES]
    # A result that the version lists has its study's UID.
    return sorted({study for _, _, study in ledger.studies.pseudonyms(refs) if study})


def _readable(
    gateway: Gateway, project: ProjectSettings, user: str, now: datetime
) -> set[tuple[str, int]]:
    """Return the versions whose manifest a user may read, as name and number."""
    zone = gateway.zone_pool.zone(project.home_zone)
    return gateway.zone_pool.run(
        zone, partial(_manifests, project=project.name, user=user, now=now)
    )


def _manifests(zone: Zone, project: str, user: str, now: datetime) -> set[tuple[str, int]]:
    ids = principals(zone, user, now)
    if not ids:
        return set()
    rows = zone.rows(
        (Collection.name,),
        Like(Collection.name, f"/{zone.settings.name}/home/{project}/releases/%"),
        DataObject.name == _MANIFEST,
        In(DataAccess.user_id, ids),
        DataAccess.type >= READ,
    )
    found = (_VERSION.search(row[Collection.name]) for row in rows)
    return {(one[1], int(one[2])) for one in found if one is not None}


def _readable_release(
    project: ProjectSettings, one: ReleaseEntry, grant: Grant | None
) -> ReadableRelease:
    path = f"/{project.home_zone}/home/{one.project}/releases/{one.name}/v{one.version}"
    return ReadableRelease(
        one.project,
        one.name,
        one.version,
        one.made_at,
        one.subjects,
        one.studies,
        one.instances,
        one.size,
        path,
        grant.until if grant else None,
        grant.id if grant else "",
        fetch_lines(path),
    )


def fetch_lines(path: str) -> dict[str, str]:
    """Return what to paste to fetch a version of a release, by the tool's name.

    Parameters
    ----------
    path
        The version's collection; its names have no character that a shell or Python reads.
    """
    target = "-".join(path.rsplit("/", 2)[1:])
    return {
        "pacsgrid": f"pacsgrid fetch {path} {target}",
        "iCommands": f"iget -f {path}/{SCRIPT} && sh {SCRIPT}",
        "python": "from pathlib import Path\n\n"
        "from pacsgrid.grid.fetch import fetch_release\n"
        "from pacsgrid.grid.user import UserZone\n\n"
        "with UserZone() as zone:\n"
        f'    report = fetch_release(zone, "{path}", Path("{target}"))\n'
        "assert not report.bad",
    }


def _offered(one: ReleaseEntry, smallest: int) -> OfferedRelease:
    """Hide small counts; with few subjects every count, since others would tell as much."""
    few = one.subjects < smallest
    subjects, studies = (None if few or n < smallest else n for n in (one.subjects, one.studies))
    return OfferedRelease(
        one.project,
        one.name,
        one.version,
        one.made_at,
        subjects,
        studies,
        None if few else one.instances,
        None if few else one.size,
        smallest,
    )
