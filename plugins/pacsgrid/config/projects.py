"""What a project asks for, in the zones that it names."""

from __future__ import annotations

from collections.abc import Mapping

from pacsgrid.config.schema import HeldSection, ProjectSection, SiteFile, ZoneSection
from pacsgrid.errors import ConfigError
from pacsgrid.model import ProjectSettings, ReplicationPolicy


def resolve_project(
    where: str, name: str, given: ProjectSection, site: SiteFile
) -> ProjectSettings:
    """Return a project of the site file; raises ConfigError naming a zone or source it lacks."""
    for zone in (given.home_zone, *given.partner_zones):
        if zone not in site.zones:
            raise ConfigError(f"{where}: no zone named {zone!r}")
    for source in given.nightly:
        if source not in site.sources:
            raise ConfigError(f"{where}: no source named {source!r}")
    return ProjectSettings(
        name,
        given.profile,
        given.home_zone,
        tuple(given.partner_zones),
        given.key_file,
        _policy(where, given, site.zones),
        tuple(given.profiles),
        tuple(given.nightly),
        given.nightly_from,
    )


def _policy(
    where: str, project: ProjectSection, zones: Mapping[str, ZoneSection]
) -> ReplicationPolicy:
    given = project.replication
    owing = (project.home_zone, *project.partner_zones)
    for zone in given.zones:
        if zone not in owing:
            raise ConfigError(
                f"{where}.replication.zones: {zone!r} is neither home_zone nor in partner_zones"
            )
    held = {zone: given.zones.get(zone, HeldSection()) for zone in owing}
    return ReplicationPolicy(
        copies={zone: one.copies or zones[zone].copies for zone, one in held.items()},
        resources={zone: one.resource or zones[zone].resource for zone, one in held.items()},
        within_hours=given.within_hours,
        reverify_days=given.reverify_days,
    )
