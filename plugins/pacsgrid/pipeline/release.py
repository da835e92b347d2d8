"""Release a cohort: freeze it as a list that researchers fetch, check and cite."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from pacsgrid import grid
from pacsgrid.errors import ConfigError, PacsgridError
from pacsgrid.grid.layout import version_suffix
from pacsgrid.grid.release_tickets import revoke_tickets_below
from pacsgrid.ledger import InstanceRecord
from pacsgrid.ledger.releases import ReleaseRecord
from pacsgrid.pipeline.attributes import Json
from pacsgrid.pipeline.cohorts import Members
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.grants import end_grants, move_grants
from pacsgrid.pipeline.release_documents import ReleaseVersion, release_documents
from pacsgrid.pipeline.release_doi import reserve_doi
from pacsgrid.pipeline.release_metadata import EarlierVersion
from pacsgrid.pipeline.study_documents import instance_attributes

log = logging.getLogger(__name__)
# Studies whose attributes are held in memory while the tables are written.
_AT_ONCE = 32
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


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
        What readers call it; by default what the version before is called, or the names of
        project and release.
    withdrawn
        How many studies of the version before were withdrawn since.

    Returns
    -------
    str
        The version's collection in the home zone.

    Raises
    ------
    ConfigError
        The name is not allowed, the cohort is empty, or the service that reserves DOIs refuses.
    RetryableError
        The service that reserves DOIs does not answer.
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
    before = [one for one in versions if one.version < number]
    known = last if last and last.version == number else None
    listed = {(ref, row.series_uid) for ref, one in members.items() for row in one}
    left_out = context.ledger.instances.series_of(list(members)) - listed
    apart = {ref for ref, _ in left_out} | context.ledger.results.studies_with(list(members))
    version = ReleaseVersion(
        zone=context.home.settings.name,
        project=project,
        name=name,
        version=number,
        title=title or _title(known, *reversed(before)) or f"{project}: {name}",
        rows=rows,
        withdrawn=withdrawn,
        apart=frozenset(_study_name(one[0]) for ref, one in members.items() if ref in apart),
        terms=context.project.release,
        doi=known.doi if known else "",
        earlier=EarlierVersion(before[-1].version, before[-1].doi) if before else None,
    )
    if not version.doi:
        version = replace(version, doi=_reserved(context, version))
    context.ledger.releases.add(project, name, number, digest, sorted(members), left_out)
    record = context.ledger.releases.describe(project, name, number, version.title, version.doi)
    version = replace(version, released=record.made_at.date())
    _put_version(context, version, members)
    return version.collection


def _title(*versions: ReleaseRecord | None) -> str:
    return next((one.title for one in versions if one and one.title), "")


def _reserved(context: ProjectContext, version: ReleaseVersion) -> str:
    """Reserve the version's DOI; a version without withdrawn patients does not wait for it."""
    try:
        return reserve_doi(context, version)
    except PacsgridError as error:
        if not version.withdrawn:
            raise
        log.warning(
            "release %s, version %s, has no DOI; release the same cohort again to reserve it: %s",
            version.name,
            version.version,
            error,
        )
        return ""


def _put_version(context: ProjectContext, version: ReleaseVersion, members: Members) -> None:
    """Put the tables and documents of a version; what is equal is not put again."""
    from pacsgrid.pipeline.release_tables import write_tables

    home = context.home
    grid.ensure_collection(home, version.collection)
    with TemporaryDirectory(prefix="pacsgrid-release-") as folder:
        tables = write_tables(Path(folder), version.home, _attributes(context, members))
        for table in tables:
            grid.put_document_file(home, f"{version.collection}/{table.name}", table.path)
        for file, text in release_documents(version, tables).items():
            grid.put_document(home, f"{version.collection}/{file}", text)


def _attributes(
    context: ProjectContext, members: Members
) -> Iterator[tuple[Sequence[InstanceRecord], Mapping[str, Json]]]:
    """Yield the instances of each study with the attributes in its manifest."""

    def read(ref: str) -> tuple[Sequence[InstanceRecord], Mapping[str, Json]]:
        rows = members[ref]
        return rows, instance_attributes(context, ref, context.home, rows)[0]

    for refs in _batches(members, _AT_ONCE):
        yield from context.home.run_parallel(read, refs, grid.CONNECTIONS)


def _batches(items: Iterable[str], size: int) -> Iterator[list[str]]:
    left = iter(items)
    while batch := list(islice(left, size)):
        yield batch


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
    lines = sorted(f"{_member(row)} {row.sha256}" for row in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _study_name(row: InstanceRecord) -> str:
    return f"{row.study_uid}{version_suffix(row.version)}"


def _member(row: InstanceRecord) -> str:
    return f"{_study_name(row)}/{row.series_uid}/{row.sop_uid}"


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
            made = release_cohort(context, row.name, members, withdrawn=len(gone & set(listed)))
            move_grants(context, row.name, row.version, int(made.rpartition("/v")[2]))
        else:
            end_grants(context, row.name, row.version)
        collection = release_collection(context.home, project, row.name, row.version)
        revoke_tickets_below(context.home, collection)
        grid.remove_collection(context.home, collection)
        context.ledger.releases.mark_retired(project, row.name, row.version)
