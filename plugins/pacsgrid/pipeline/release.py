"""Release: a cohort frozen as a list that researchers fetch, check and cite."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from pacsgrid import grid
from pacsgrid.errors import ConfigError
from pacsgrid.grid.release_tickets import revoke_tickets_below
from pacsgrid.grid.search import Criterion, search
from pacsgrid.ledger import InstanceRow
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.release_documents import Documents, release_documents

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass
class CohortSummary:
    """What a cohort would hold: counts, bytes, instances by modality."""

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
) -> dict[str, list[InstanceRow]]:
    """Return a cohort's instances by study: by AVU query in the home zone, or from a list.

    Only verified studies are in it. Raises ConfigError when nothing selects anything.
    """
    if not (criteria or subjects or study_uids):
        raise ConfigError("a cohort needs criteria, subjects or study UIDs")
    wanted = list(study_uids)
    if criteria:
        root = f"/{context.home.settings.name}/home/{context.project.name}/data"
        depth = root.count("/") + 2
        found = search(context.home, root, criteria)
        wanted += [path.rsplit("/", 1)[1] for path in found if path.count("/") == depth]
    return context.ledger.instances.verified(context.project.name, wanted, subjects)


def summarise_cohort(members: dict[str, list[InstanceRow]]) -> CohortSummary:
    """Count a cohort."""
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
    members: dict[str, list[InstanceRow]],
    title: str = "",
    withdrawn: int = 0,
) -> str:
    """Freeze a cohort as the next version of a release; returns its collection in the home zone.

    The same cohort again is the version that stands. What a version lists is never changed.

    Parameters
    ----------
    withdrawn
        How many studies the version before listed that were withdrawn since.

    Raises
    ------
    ConfigError
        The name is not one, or the cohort is empty.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r} is no name of a release; use letters, digits, '.', '-', '_'")
    if not members:
        raise ConfigError(f"release {name}: the cohort is empty; look at its preview")
    project, rows = context.project.name, [row for one in members.values() for row in one]
    standing = context.ledger.releases.versions(project, name)
    digest = _digest(rows)
    last = standing[-1] if standing else None
    if last and last.manifest_sha256 == digest and last.retired_at is None:
        version = last.version
    else:
        version = last.version + 1 if last else 1
    made = release_documents(
        context.home.settings.name, project, name, version, title, rows, withdrawn
    )
    context.ledger.releases.add(project, name, version, digest, sorted(members))
    _put(context, name, version, made)
    return release_collection(context.home, project, name, version)


def release_collection(zone: grid.Zone, project: str, name: str, version: int) -> str:
    """Return the collection of a version."""
    return f"/{zone.settings.name}/home/{project}/releases/{name}/v{version}"


def _put(context: ProjectContext, name: str, version: int, made: Documents) -> None:
    place = release_collection(context.home, context.project.name, name, version)
    grid.ensure_collection(context.home, place)
    for file, text in made.items():
        grid.put_document(context.home, f"{place}/{file}", text)


def _digest(rows: Sequence[InstanceRow]) -> str:
    lines = sorted(f"{row.study_uid}/{row.series_uid}/{row.sop_uid} {row.sha256}" for row in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def reissue_releases_without(context: ProjectContext, refs: Sequence[str]) -> None:
    """Replace every standing version that lists withdrawn studies by one without them."""
    project, gone = context.project.name, set(refs)
    for row in context.ledger.releases.versions(project):
        listed = context.ledger.releases.study_refs(project, row.name, row.version)
        if row.retired_at is not None or not gone & set(listed):
            continue
        everything = context.ledger.instances.verified(project, None)
        members = {ref: everything[ref] for ref in listed if ref in everything}
        if members:
            release_cohort(context, row.name, members, withdrawn=len(gone & set(listed)))
        place = release_collection(context.home, project, row.name, row.version)
        revoke_tickets_below(context.home, place)
        grid.remove_collection(context.home, place)
        context.ledger.releases.mark_retired(project, row.name, row.version)
