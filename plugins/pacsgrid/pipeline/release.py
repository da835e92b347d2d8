"""Release a cohort: freeze it as a list that researchers fetch, check and cite."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence

from pacsgrid import grid
from pacsgrid.errors import ConfigError
from pacsgrid.grid.release_tickets import revoke_tickets_below
from pacsgrid.ledger import InstanceRecord
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.release_documents import ReleaseVersion, release_documents

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

Members = Mapping[str, list[InstanceRecord]]


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
    listed = {(ref, row.series_uid) for ref, one in members.items() for row in one}
    left_out = context.ledger.instances.series_of(list(members)) - listed
    apart = {ref for ref, _ in left_out}
    version = ReleaseVersion(
        zone=context.home.settings.name,
        project=project,
        name=name,
        version=number,
        title=title or f"{project}: {name}",
        rows=rows,
        withdrawn=withdrawn,
        apart=frozenset(one[0].study_uid for ref, one in members.items() if ref in apart),
    )
    documents = release_documents(version)
    context.ledger.releases.add(project, name, number, digest, sorted(members), left_out)
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
        apart = context.ledger.releases.series_left_out(project, row.name, row.version)
        members = {
            ref: [one for one in rows if (ref, one.series_uid) not in apart]
            for ref, rows in context.ledger.instances.of_verified_studies(listed).items()
        }
        if members:
            release_cohort(context, row.name, members, withdrawn=len(gone & set(listed)))
        collection = release_collection(context.home, project, row.name, row.version)
        revoke_tickets_below(context.home, collection)
        grid.remove_collection(context.home, collection)
        context.ledger.releases.mark_retired(project, row.name, row.version)
