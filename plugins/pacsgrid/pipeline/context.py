"""What every step needs of one project at one site, opened once per task."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from pacsgrid.config import ProjectSettings, Site, read_key
from pacsgrid.deid import Profile, Pseudonyms, StudyProcessor, load_profile
from pacsgrid.deid.quarantine import copy_to_quarantine
from pacsgrid.disk import open_private, sync_directories
from pacsgrid.errors import ConfigError
from pacsgrid.grid import Zone
from pacsgrid.ledger import Ledger, Vault
from pacsgrid.uids import named


@dataclass(frozen=True)
class WorkFolders:
    """The directories one study passes through, all named by its opaque reference."""

    staging: Path
    outbox: Path
    quarantine: Path

    def quarantine_file(self, path: Path) -> str:
        """Copy a file into the quarantine, whole or not at all; returns its SHA-256 in hex."""
        return copy_to_quarantine(path, self.quarantine)

    def copy_to_quarantine(self) -> None:
        """Have the quarantine hold all of staging too; again is no harm."""
        if not self.staging.exists():
            return
        self.quarantine.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in self.staging.iterdir():
            target = self.quarantine / path.name
            if target.exists() and target.samefile(path):
                continue
            partial = self.quarantine / f"{path.name}.part"
            partial.unlink(missing_ok=True)
            try:
                os.link(path, partial)
            except OSError:  # on another file system
                with path.open("rb") as source, open_private(partial, "wb") as copy:
                    shutil.copyfileobj(source, copy, 1 << 20)
                    copy.flush()
                    os.fsync(copy.fileno())
            os.replace(partial, target)
        # Staging is wiped next.
        sync_directories([self.quarantine, self.quarantine.parent])

    def wipe(self) -> None:
        """Remove what staging and outbox hold of the study; the quarantine stays."""
        for room in (self.staging, self.outbox):
            shutil.rmtree(room, ignore_errors=True)


class ProjectContext:
    """One project's line from source to verified replicas.

    Parameters
    ----------
    site
        The validated site settings.
    project
        A project's name in them.
    actor
        Who acts, for the audit trail.
    profile
        Instead of the project's own; one of those that its settings allow.

    Raises
    ------
    ConfigError
        The project, its key file or its profile is missing or wrong, or not allowed.
    """

    def __init__(
        self, site: Site, project: str, actor: str = "pipeline", profile: str = ""
    ) -> None:
        self.site = site
        self.project: ProjectSettings = site.project(project)
        allowed = (self.project.profile, *self.project.profiles)
        if profile and profile not in allowed:
            raise ConfigError(
                f"project {project} does not allow profile {profile!r}; it allows: "
                + ", ".join(allowed)
            )
        self.profile: Profile = load_profile(profile or self.project.profile)
        key = read_key(f"projects.{project}.key_file", self.project.key_file)
        self.pseudonyms = Pseudonyms(key, project)
        self.vault = Vault(site.vault_key)
        for room in (site.staging, site.outbox, site.quarantine):
            room.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.ledger = Ledger(site.ledger_dsn, actor)
        self._zones: dict[str, Zone] = {}

    def zone(self, name: str) -> Zone:
        """Return the client of a zone, one per line."""
        if name not in self._zones:
            policy, settings = self.project.replication, self.site.zone(name)
            self._zones[name] = Zone(
                settings.replace(
                    copies=policy.copies.get(name, settings.copies),
                    resource=policy.resources.get(name, settings.resource),
                )
            )
        return self._zones[name]

    @property
    def home(self) -> Zone:
        """The project's home zone."""
        return self.zone(self.project.home_zone)

    @property
    def partners(self) -> list[Zone]:
        """The zones that hold a copy each."""
        return [self.zone(name) for name in self.project.partner_zones]

    def folders(self, ref: str) -> WorkFolders:
        """Return the directories of one study; raises HeldError, see `uids.named`."""
        name, site = named(ref), self.site
        return WorkFolders(site.staging / name, site.outbox / name, site.quarantine / name)

    @cached_property
    def processor(self) -> StudyProcessor:
        """Anonymiser and checker; its processes serve one study after another."""
        return StudyProcessor(self.pseudonyms, self.profile)

    def stop_workers(self) -> None:
        """End the worker processes, and forget what they know of the last study."""
        if "processor" in self.__dict__:
            self.__dict__.pop("processor").close()

    def close(self) -> None:
        """Close every connection this line opened."""
        self.stop_workers()
        for zone in self._zones.values():
            zone.close()
        self._zones.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
