"""Release a cohort: freeze it as a list that researchers fetch, check and cite."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pacsgrid import grid
from pacsgrid.errors import ConfigError
from pacsgrid.grid.release_tickets import revoke_tickets_below
from pacsgrid.grid.search import Criterion, search
from pacsgrid.ledger import InstanceRecord
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.grants import end_grants, move_grants
from pacsgrid.pipeline.release_documents import ReleaseVersion, release_documents

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

Members = Mapping[str, list[InstanceRecord]]


@dataclass
class CohortSummary:
    """What a cohort holds.

    Attributes
    ----------
    subjects, studies, instances, bytes
        How many there are.
    modalities
        Instances by modality.
    """

    subjects: int = 0
    studies: int = 0
    instances: int = 0
    bytes: int = 0
    modalities: dict[str, int] = field(default_factory=dict)


def select_cohort(
    context: ProjectContext,
    criteria: Sequence[Criterion] = (),
    subjects: Sequence[str] = (),
    study_uids: Sequence[str] = (),
) -> dict[str, list[InstanceRecord]]:
    """Select a cohort: by AVU query in the home zone, from a list, or both.

    Parameters
    ----------
    context
        The project.
    criteria
        AVUs that a study must have.
    subjects
        Pseudonyms of patients; all of their studies are selected.
    study_uids
        Anonymised study UIDs.

    Returns
    -------
    dict
        The instances of each selected study that is verified, by its reference.

    Raises
    ------
    ConfigError
        Nothing says what to select.
    ZoneError, ZoneUnavailableError
        The home zone refused the query, or does not answer.
    """
    wanted = _wanted(context, criteria, subjects, study_uids)
    return context.ledger.instances.verified(context.project.name, wanted, subjects)


def _wanted(
    context: ProjectContext,
    criteria: Sequence[Criterion],
    subjects: Sequence[str],
    study_uids: Sequence[str],
) -> list[str]:
    """Return the UIDs of the studies that criteria and list select."""
    if not (criteria or subjects or study_uids):
        raise ConfigError("a cohort needs criteria, subjects or study UIDs")
    wanted = list(study_uids)
    if criteria:
        root = f"/{context.home.settings.name}/home/{context.project.name}/data"
        depth = root.count("/") + 2
        found = search(context.home, root, criteria)
        wanted += [path.rsplit("/", 1)[1] for path in found if path.count("/") == depth]
    return wanted


def count_cohort(
    context: ProjectContext,
    criteria: Sequence[Criterion] = (),
    subjects: Sequence[str] = (),
    study_uids: Sequence[str] = (),
) -> CohortSummary:
    """Count what a cohort holds, without listing its instances; see `select_cohort`.

    Parameters
    ----------
    context
        The project.
    criteria
        AVUs that a study must have.
    subjects
        Pseudonyms of patients.
    study_uids
        Anonymised study UIDs.

    Returns
    -------
    CohortSummary
        The counts.

    Raises
    ------
    ConfigError
        Nothing says what to select.
    ZoneError, ZoneUnavailableError
        The home zone refused the query, or does not answer.
    """
    wanted = _wanted(context, criteria, subjects, study_uids)
    people, studies, modalities = context.ledger.instances.count_verified(
        context.project.name, wanted, subjects
    )
    counts: Counter[str] = Counter()
    for name, (instances, _) in modalities.items():
        counts[name or "OT"] += instances
    return CohortSummary(
        subjects=people,
        studies=studies,
        instances=sum(counts.values()),
        bytes=sum(size for _, size in modalities.values()),
        modalities=dict(sorted(counts.items())),
    )


def summarise_cohort(members: Members) -> CohortSummary:
    """Count what a cohort holds."""
    rows = [row for one in members.values() for row in one]
    return CohortSummary(
        subjects=len({row.subject for row in rows}),
        studies=len(members),
        instances=len(rows),
        bytes=sum(row.size for row in rows),
        modalities=dict(sorted(Counter(row.modality or "OT" for row in rows).items())),
    )


def release_cohort(
    context: ProjectContext,
    name: str,
    members: Members,
    title: str = "",
    withdrawn: int = 0,
) -> str:
    """Freeze a cohort as the next version of a release.

    If the last version lists the same instances, no new one is made. What a version lists never
    changes.

    Parameters
    ----------
    context
        The project.
    name
        The release's name.
    members
        The instances of each study, by its reference.
    title
        What readers call it; by default the names of project and release.
    withdrawn
        How many studies of the version before were withdrawn since.

    Returns
    -------
    str
        The version's collection in the home zone.

    Raises
    ------
    ConfigError
        The name is not allowed, or the cohort is empty.
    ZoneError, ZoneUnavailableError
        The home zone refused, or does not answer.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r} is no name of a release; use letters, digits, '.', '-', '_'")
    if not members:
        raise ConfigError(f"release {name}: the cohort is empty; look at its preview")
    project, rows = context.project.name, [row for one in members.values() for row in one]
    versions = context.ledger.releases.versions(project, name)
    digest = _digest(rows)
    last = versions[-1] if versions else None
    if last and last.manifest_sha256 == digest and last.retired_at is None:
        number = last.version
    else:
        number = last.version + 1 if last else 1
    version = ReleaseVersion(
        zone=context.home.settings.name,
        project=project,
        name=name,
        version=number,
        title=title or f"{project}: {name}",
        rows=rows,
        withdrawn=withdrawn,
    )
    documents = release_documents(version)
    context.ledger.releases.add(project, name, number, digest, sorted(members))
    grid.ensure_collection(context.home, version.collection)
    for file, text in documents.items():
        grid.put_document(context.home, f"{version.collection}/{file}", text)
    return version.collection


def release_collection(zone: grid.Zone, project: str, name: str, version: int) -> str:
    """Return the collection of a version of a release.

    Parameters
    ----------
    zone
        The project's home zone.
    project
        The project's name.
    name
        The release's name.
    version
        The version's number.

    Returns
    -------
    str
        ``/<zone>/home/<project>/releases/<name>/v<version>``.
    """
    return ReleaseVersion(zone.settings.name, project, name, version, "", ()).collection


def _digest(rows: Sequence[InstanceRecord]) -> str:
    """Return a digest of what a version lists, to tell whether a cohort has changed."""
    lines = sorted(f"{row.study_uid}/{row.series_uid}/{row.sop_uid} {row.sha256}" for row in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def reissue_releases_without(context: ProjectContext, refs: Sequence[str]) -> None:
    """Replace every current version that lists withdrawn studies by one without them.

    Parameters
    ----------
    context
        The project.
    refs
        References of the withdrawn studies.

    Raises
    ------
    ZoneError, ZoneUnavailableError
        The home zone refused, or does not answer.
    """
    project, gone = context.project.name, set(refs)
    for row in context.ledger.releases.versions(project):
        listed = context.ledger.releases.study_refs(project, row.name, row.version)
        if row.retired_at is not None or not gone & set(listed):
            continue
        members = context.ledger.instances.of_verified_studies(listed)
        if members:
            made = release_cohort(context, row.name, members, withdrawn=len(gone & set(listed)))
            move_grants(context, row.name, row.version, int(made.rpartition("/v")[2]))
        else:
            end_grants(context, row.name, row.version)
        collection = release_collection(context.home, project, row.name, row.version)
        revoke_tickets_below(context.home, collection)
        grid.remove_collection(context.home, collection)
        context.ledger.releases.mark_retired(project, row.name, row.version)
