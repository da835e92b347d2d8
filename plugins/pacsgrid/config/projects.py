"""Projects: each has its own pseudonyms, collection and replication policy."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date
from pathlib import Path
from typing import Literal

from pydantic import Field

from pacsgrid.config.base import Section
from pacsgrid.config.registers import ConsentSection, SubjectSection
from pacsgrid.config.releases import ReleaseSection
from pacsgrid.config.series import ContentChecks, SeriesSelection
from pacsgrid.config.zones import ZoneSection
from pacsgrid.errors import ConfigError


class ZoneReplication(Section):
    """One entry of a project's `replication.zones`: what it keeps in that zone."""

    copies: int | None = Field(
        default=None,
        ge=1,
        le=16,
        description="How many good replicas of each object; by default the zone's `copies`.",
    )
    resource: str = Field(
        default="",
        description="The root resource they are kept on; by default the zone's `resource`.",
    )


class ReplicationPolicy(Section):
    """A project's `replication`: the replicas it needs, by when, and how often they are proven."""

    zones: dict[str, ZoneReplication] = Field(
        default={},
        description="What the project keeps in its home zone and its partner zones, where that "
        "differs from the zones' own settings.",
    )
    within_hours: int = Field(
        default=72,
        ge=1,
        description="How long after the first proof in the home zone every zone may take to have "
        "its proven copies, in hours. The default leaves a weekend to a zone that is down.",
    )
    reverify_days: int = Field(
        default=30,
        ge=0,
        le=3650,
        description="How long a proof counts, in days; then the zone reads the replica from "
        "storage again. 0 verifies every replica each night.",
    )

    @property
    def copies(self) -> dict[str, int]:
        """The number of good replicas of every object by zone; the home zone comes first."""
        return {zone: one.copies or 1 for zone, one in self.zones.items()}

    @property
    def resources(self) -> dict[str, str]:
        """The root resource for the replicas by zone, where it is set."""
        return {zone: one.resource for zone, one in self.zones.items() if one.resource}


class ReleaseGate(Section):
    """A project's `release_gate`: how alike the patients of a release must be."""

    smallest_cell: int = Field(
        default=1,
        ge=1,
        le=1000,
        description="How many patients must agree in all quasi-identifiers; studies of smaller "
        "cells are not released unless the steward decides so. Counts below it are hidden from "
        "those who may not release. 1 asks for nothing.",
    )
    quasi_identifiers: tuple[Literal["age", "sex", "body_part", "study_month"], ...] = Field(
        default=("age", "sex", "body_part", "study_month"),
        min_length=1,
        description="What makes a cell.",
    )
    age_bin: int = Field(
        default=10, ge=1, le=50, description="The width of a bin of the age, in years."
    )


class RequestsSection(Section):
    """A project's `requests`: researchers may see which releases there are, and ask for them."""

    smallest_count: int = Field(
        default=5,
        ge=1,
        le=1000,
        description="Smaller counts of subjects and studies are not told to researchers before a "
        "steward has granted access.",
    )


class ProjectSection(Section):
    """One entry of `projects`: one pseudonym space, one collection, one replication policy."""

    profile: str = Field(
        description="The de-identification profile: `basic`, `research`, `strict`, or the path of "
        "a site's own."
    )
    profiles: tuple[str, ...] = Field(
        default=(), description="Profiles that a steward may choose for a run instead of `profile`."
    )
    home_zone: str = Field(description="The zone that studies are deposited in.")
    partner_zones: tuple[str, ...] = Field(
        default=(), description="The zones that hold further copies, the preferred first."
    )
    key_file: Path = Field(
        description="File with the project's secret key: 32 random bytes (at least 16). All "
        "pseudonyms derive from it: keep a backup, and never change it."
    )
    replication: ReplicationPolicy = Field(
        default=ReplicationPolicy(),
        description="Replicas and proofs; by default what the zones say.",
    )
    release: ReleaseSection = Field(
        default=ReleaseSection(),
        description="Licence, creators and DOIs of the project's releases.",
    )
    release_gate: ReleaseGate = Field(
        default=ReleaseGate(), description="What is asked of releases; by default nothing."
    )
    nightly: tuple[str, ...] = Field(
        default=(), description="Sources that are asked every night for new studies."
    )
    nightly_from: date | None = Field(
        default=None, description="The first study date that the nightly synchronisation asks for."
    )
    nightly_days: int = Field(
        default=366,
        ge=1,
        description="How many days that were never asked for are asked for in one night. The late "
        "days come on top.",
    )
    requests: RequestsSection | None = Field(
        default=None,
        description="Everybody with a token of the gateway sees the project's releases, their "
        "names and counts, and may ask for them. By default nobody may.",
    )
    four_eyes: bool = Field(
        default=False,
        description="Whether a second steward must agree before a file is approved or blanked, and "
        "before a rule for later files takes effect.",
    )
    order: Literal["newest", "oldest"] = Field(
        default="newest",
        description="Which studies are taken first, by study date: the `newest` or the `oldest`.",
    )
    subjects: SubjectSection = Field(
        default=SubjectSection(),
        description="Where the patients' pseudonyms come from; by default derived from the key.",
    )
    consent: ConsentSection = Field(
        default=ConsentSection(),
        description="Who is asked whether a patient consents; by default nobody.",
    )
    series: SeriesSelection = Field(
        default=SeriesSelection(), description="Which series of a study are taken; by default all."
    )
    bids_rules: Path | None = Field(
        default=None,
        description="Rules file that gives the series of a release their BIDS names; by default "
        "the rules that come with pacsgrid.",
    )
    checks: ContentChecks = Field(
        default=ContentChecks(),
        description="What is checked of the content of a study's series; by default nothing.",
    )


class ProjectSettings(ProjectSection):
    """A project, ready for use: its `replication` says for each zone what the project needs."""

    name: str = Field(description="Its name in the site file, which its collection has too.")


def resolve_project(
    where: str,
    name: str,
    section: ProjectSection,
    zones: Mapping[str, ZoneSection],
    sources: Collection[str],
) -> ProjectSettings:
    """Return a project of the site file, with what it needs in each of its zones.

    Parameters
    ----------
    where
        The section, for error messages.
    name
        The project's name.
    section
        What the site file says of it.
    zones
        The site's zones by name.
    sources
        The names of the site's sources.

    Raises
    ------
    ConfigError
        The project names a zone or a source that the site file does not have.
    """
    for zone in (section.home_zone, *section.partner_zones):
        if zone not in zones:
            raise ConfigError(f"{where}: no zone named {zone!r}")
    for source in section.nightly:
        if source not in sources:
            raise ConfigError(f"{where}: no source named {source!r}")
    replication = _resolve_replication(where, section, zones)
    given = {key: getattr(section, key) for key in section.model_fields_set}
    return ProjectSettings(**{**given, "name": name, "replication": replication})


def _resolve_replication(
    where: str, project: ProjectSection, zones: Mapping[str, ZoneSection]
) -> ReplicationPolicy:
    given = project.replication
    project_zones = (project.home_zone, *project.partner_zones)
    for zone in given.zones:
        if zone not in project_zones:
            raise ConfigError(
                f"{where}.replication.zones: {zone!r} is neither home_zone nor in partner_zones"
            )
    resolved = {}
    for zone in project_zones:
        one = given.zones.get(zone, ZoneReplication())
        resolved[zone] = ZoneReplication(
            copies=one.copies or zones[zone].copies,
            resource=one.resource or zones[zone].resource,
        )
    return given.replace(zones=resolved)
