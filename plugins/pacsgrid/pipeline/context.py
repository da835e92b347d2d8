"""What every step needs of one project at one site, opened once per task."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
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
from pacsgrid.pacs import Source, open_source
from pacsgrid.pipeline.consent import ConsentGate
from pacsgrid.pipeline.issued_uids import IssuedUids
from pacsgrid.pipeline.staged_list import LIST
from pacsgrid.pipeline.subjects import SubjectAssigner
from pacsgrid.uids import named

# Below a study's quarantine: files that were held until a steward had the study tried again.
_ASIDE = "tried-again"


@dataclass(frozen=True)
class WorkFolders:
    """The directories that one study passes through, named by its opaque reference.

    Attributes
    ----------
    staging
        The identified files as the source gave them.
    outbox
        The anonymised files, until the study is verified.
    quarantine
        Held files, for a steward.
    """

    staging: Path
    outbox: Path
    quarantine: Path

    def quarantine_file(self, path: Path) -> str:
        """Copy a file into the quarantine, whole or not at all; return its SHA-256 in hex."""
        return copy_to_quarantine(path, self.quarantine)

    def quarantine_staging(self) -> None:
        """Copy all of staging into the quarantine; safe to repeat."""
        if not self.staging.exists():
            return
        self.quarantine.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in self.staging.iterdir():
            if path.name.startswith(LIST):
                continue
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
        # Staging is wiped next, so the links must be on disk.
        sync_directories([self.quarantine, self.quarantine.parent])

    def set_aside(self) -> None:
        """Keep the held files of a study that is tried again: its source may not have them now."""
        if not self.quarantine.is_dir():
            return
        aside = self.quarantine / _ASIDE
        aside.mkdir(exist_ok=True, mode=0o700)
        for path in self.quarantine.glob("*.dcm"):
            os.replace(path, aside / path.name)
        sync_directories([aside, self.quarantine])

    def forget_aside(self) -> None:
        """Remove what was set aside; the study is verified."""
        shutil.rmtree(self.quarantine / _ASIDE, ignore_errors=True)
        with suppress(OSError):  # it holds other files
            self.quarantine.rmdir()

    def wipe(self) -> None:
        """Remove the study's staging and outbox; the quarantine stays."""
        for folder in (self.staging, self.outbox):
            shutil.rmtree(folder, ignore_errors=True)


class ProjectContext:
    """A project's settings, keys, ledger and zones.

    Parameters
    ----------
    site
        The validated site settings.
    project
        The project's name in them.
    actor
        Who acts, for the audit trail.
    profile
        A profile to use instead of the project's default; one that its settings allow.

    Attributes
    ----------
    site, project
        The settings of the site and of the project.
    profile
        The de-identification profile.
    pseudonyms
        Derives the project's pseudonyms from its key.
    ledger
        States, proofs and audit trail, written in the actor's name.
    vault
        Seals and opens what identifies a study.
    subjects
        Finds the patients' pseudonyms where they come from outside.
    consent
        Asks whether patients consent.
    processing
        Held while a study is anonymised: the processor takes one study at a time.

    Raises
    ------
    ConfigError
        The project, its key file or its profile is missing, wrong or not allowed.
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
        for folder in (site.staging, site.outbox, site.quarantine):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.ledger = Ledger(site.ledger_dsn, actor)
        self.subjects = SubjectAssigner(self.project, self.ledger, self.vault, self.pseudonyms)
        self.consent = ConsentGate(self.project, self.ledger, self.vault, self.pseudonyms)
        self._zones: dict[str, Zone] = {}
        self._sources: dict[str, Source] = {}
        self._kept_open: ExitStack | None = None
        self.processing = threading.Lock()

    def zone(self, name: str) -> Zone:
        """Return the client of a zone, with the project's copies and resource; one per context."""
        if name not in self._zones:
            policy, settings = self.project.replication, self.site.zone(name)
            self._zones[name] = Zone(
                settings.replace(
                    copies=policy.copies.get(name, settings.copies),
                    resource=policy.resources.get(name, settings.resource),
                )
            )
        return self._zones[name]

    def source(self, name: str) -> Source:
        """Return a source of the site; one per context, so that it may keep what it knows."""
        if name not in self._sources:
            self._sources[name] = open_source(self.site.source(name))
            if self._kept_open:
                self._kept_open.enter_context(self._sources[name].keep_open())
        return self._sources[name]

    @contextmanager
    def sources_kept_open(self) -> Iterator[None]:
        """Let one association serve all studies of a batch; closed at the end of this context."""
        with ExitStack() as stack:
            for source in self._sources.values():
                stack.enter_context(source.keep_open())
            self._kept_open = stack
            try:
                yield
            finally:
                self._kept_open = None

    @property
    def home(self) -> Zone:
        """The project's home zone."""
        return self.zone(self.project.home_zone)

    @property
    def partners(self) -> list[Zone]:
        """The partner zones, which hold a copy each."""
        return [self.zone(name) for name in self.project.partner_zones]

    def folders(self, ref: str) -> WorkFolders:
        """Return the work folders of a study; raise HeldError if it is not a reference."""
        name, site = named(ref), self.site
        return WorkFolders(site.staging / name, site.outbox / name, site.quarantine / name)

    @cached_property
    def processor(self) -> StudyProcessor:
        """Anonymiser and checker; its worker processes serve one study after another."""
        return StudyProcessor(
            self.pseudonyms,
            self.profile,
            cores=self.site.staging / ".cores",
            register=self.issued_uids,
        )

    @property
    def issued_uids(self) -> IssuedUids:
        """The UIDs that the project issued."""
        return IssuedUids(self.project, self.ledger, self.vault, self.pseudonyms, self.home)

    def stop_workers(self) -> None:
        """Stop the worker processes, and drop what they remember of the last study."""
        if "processor" in self.__dict__:
            self.__dict__.pop("processor").close()

    def close(self) -> None:
        """Stop the workers and close the connections to zones."""
        self.stop_workers()
        self.subjects.close()
        self.consent.close()
        for zone in self._zones.values():
            zone.close()
        self._zones.clear()

    def __enter__(self) -> Self:
        """Return the context itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the workers and close the connections to zones."""
        self.close()
