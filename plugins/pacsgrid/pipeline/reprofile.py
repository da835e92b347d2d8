"""Anonymise deposited studies again under a changed profile, each as a new version of itself.

A new version is a study of its own in the ledger: it is retrieved, anonymised, deposited beside
the version before, and proven like any other study. Only then the version before is given up, and
not while a release lists it.
"""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from pacsgrid import grid
from pacsgrid.deid import load_profile
from pacsgrid.errors import ConfigError, HeldError
from pacsgrid.ledger import IngestKind, InstanceRecord, PendingStudy
from pacsgrid.ledger.codes import REJECTED
from pacsgrid.ledger.versions import ReprofileProgress
from pacsgrid.ledger.worklist import BACKFILL
from pacsgrid.model import StudyState
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.studies import is_reachable
from pacsgrid.pipeline.waves import ingest_id

log = logging.getLogger(__name__)

FEWER = "fewer-instances"
"""Code of a new version that is held because its source gave less than for the one before."""


@dataclass(frozen=True)
class Entered:
    """What was entered to be anonymised again.

    Attributes
    ----------
    studies
        How many studies.
    ingests
        The ingest of each source, by the source's name.
    """

    studies: int = 0
    ingests: dict[str, str] = field(default_factory=dict)


def progress(context: ProjectContext) -> ReprofileProgress:
    """Return how far the project's studies are on their way to the context's profile."""
    return context.ledger.versions.progress(context.project.name, context.profile.hash)


def outdated_studies(context: ProjectContext, limit: int) -> list[tuple[str, str]]:
    """Return reference and source of studies that the source can give again for a new version.

    Of what was pushed, the site has to keep the originals.

    Parameters
    ----------
    context
        The project, with the new profile.
    limit
        How many to return at most.
    """
    known = context.site.sources.items()
    sources = [name for name, one in known if one.kind != "received"]
    receivers = [name for name, one in known if one.kind == "received" and one.originals]
    return context.ledger.versions.outdated(
        context.project.name, context.profile.hash, sources, receivers, limit
    )


def enter_new_versions(
    context: ProjectContext, who: str, reason: str, run: str, limit: int
) -> Entered:
    """Enter new versions of verified studies that have another profile than the project's.

    They are taken by the ingests of their sources, in waves, like a backfill. Called again for the
    same run, it enters what is left.

    Parameters
    ----------
    context
        The project, with its own profile.
    who, reason
        Who asks for it and why, for the audit trail.
    run
        Names the request; another one makes ingests of its own.
    limit
        How many studies to enter at most.

    Returns
    -------
    Entered
        How many studies were entered, and the ingests that take them.

    Raises
    ------
    ConfigError
        No one is named, or the context has another profile than the project's.
    """
    project = context.project
    if not who.strip():
        raise ConfigError(f"{project.name}: a new version needs the name of who asks for it")
    if context.profile.hash != load_profile(project.profile).hash:
        raise ConfigError(f"{project.name}: set the new profile in the project's settings first")
    ledger, ingests, entered = context.ledger, dict[str, str](), 0
    for ref, source in outdated_studies(context, limit):
        identity = context.vault.open(ref, ledger.vault.sealed(ref))
        number = ledger.versions.next_number(ref)
        new = context.pseudonyms.reference(source, f"version {number}: {identity['study_uid']}")
        if source not in ingests:
            name = ingest_id(f"reprofile {project.name} {source} {context.profile.hash} {run}")
            ledger.ingests.begin(name, project.name, source, IngestKind.BACKFILL)
            ingests[source] = name
        count, size = ledger.studies.volume([ref])
        with ledger.database.transaction():
            sealed = context.vault.seal(new, identity)
            if not ledger.versions.add(ref, new, sealed, context.profile.hash):
                continue
            pending = PendingStudy(new, 0, count, size)
            ledger.worklist.assign(ingests[source], BACKFILL, [pending])
            ledger.audit.add_decision(ref, "Reprofile", who, reason, context.profile.name)
        entered += 1
    log.info("%d studies are to be anonymised again", entered)
    return Entered(entered, ingests)


def check_nothing_is_missing(context: ProjectContext, ref: str) -> None:
    """Compare a new version with the one before, as it comes from the anonymiser.

    Parameters
    ----------
    context
        The study's project.
    ref
        The new version's reference.

    Raises
    ------
    HeldError
        ``fewer-instances``: the source gave less than before.
    """
    before = context.ledger.versions.current_of(ref)
    lacking = _lacking(context, before, ref)
    held = {sha256 for _, sha256 in context.ledger.held.of_study(ref)}
    if len(lacking) > len(held):
        raise HeldError(
            FEWER,
            f"the source gave {len(lacking) - len(held)} instances less than for the version "
            f"before, {before}, which stays; restore them at the source and try again",
        )


def _lacking(context: ProjectContext, before: str, ref: str) -> set[str]:
    """Return the SOP UIDs that a version has and another one lacks."""
    if before == ref:
        return set()
    old, new = (
        {row.sop_uid for row in context.ledger.instances.of_study(one)} for one in (before, ref)
    )
    return old - new


def supersede(context: ProjectContext, ref: str) -> int:
    """Let a verified version take the place of those before it; safe to repeat.

    Nothing is superseded while the new version has held files that the one before has as
    instances: a steward decides about them first.

    Parameters
    ----------
    context
        The study's project.
    ref
        The new version's reference. The caller holds its lock.

    Returns
    -------
    int
        How many versions before it are gone from every zone.
    """
    before = context.ledger.versions.before(ref)
    if not before:
        return 0
    rejected = [sha for code, sha in context.ledger.held.of_study(ref) if code == REJECTED]
    if len(_lacking(context, context.ledger.versions.current_of(ref), ref)) > len(rejected):
        log.warning("%s: files of it are held, the version before stays", ref)
        return 0
    return sum(remove_version(context, old) for old in context.ledger.versions.supersede(ref))


def remove_version(context: ProjectContext, ref: str) -> bool:
    """Remove a superseded version from every zone unless a release lists it; safe to repeat.

    From each zone it is removed once the current version is proven there.

    Parameters
    ----------
    context
        The study's project.
    ref
        The superseded version's reference.

    Returns
    -------
    bool
        Whether it is gone from every zone.

    Raises
    ------
    ZoneError, ZoneUnavailableError
        A zone refused, or stopped answering.
    """
    ledger = context.ledger
    with ledger.studies.lock(ref) as ours:
        if not ours or not ledger.versions.give_up(ref):
            return False
        rows, left = ledger.instances.of_study(ref), 0
        current = ledger.versions.current_of(ref)
        for zone in (context.home, *context.partners):
            if rows and not (is_reachable(context, zone) and _is_proven(context, current, zone)):
                left += 1
            elif rows:
                grid.remove_version(zone, context.project.name, rows)
        if left:
            log.info("%s: superseded, still to be removed from %d zones", ref, left)
            return False
        folders = context.folders(ref)
        folders.wipe()
        shutil.rmtree(folders.quarantine, ignore_errors=True)
        ledger.versions.forget(ref)
        log.info("%s: superseded by %s and removed, %d instances", ref, current, len(rows))
        return True


def _is_proven(context: ProjectContext, ref: str, zone: grid.Zone) -> bool:
    """Return whether a zone has every proven replica of a study that the policy asks for."""
    rows: Sequence[InstanceRecord] = context.ledger.instances.of_study(ref)
    good = Counter(
        proof.sop_uid
        for proof in context.ledger.proofs.of_study(ref)
        if proof.good and proof.zone == zone.settings.name
    )
    return bool(rows) and all(good[row.sop_uid] >= zone.settings.copies for row in rows)


def settle_versions(context: ProjectContext) -> int:
    """Finish what was left between a new version's proof and the end of the one before.

    Parameters
    ----------
    context
        The project.

    Returns
    -------
    int
        How many versions were removed.

    Raises
    ------
    ZoneError, ZoneUnavailableError
        A zone refused, or stopped answering.
    """
    project, ledger, removed = context.project.name, context.ledger, 0
    for ref in ledger.versions.unsettled(project):
        with ledger.studies.lock(ref) as ours:
            if ours and ledger.studies.state(ref) is StudyState.VERIFIED:
                removed += supersede(context, ref)
    for ref in (*ledger.versions.kept(project), *ledger.versions.to_remove(project)):
        removed += remove_version(context, ref)
    return removed
