"""Reserve the DOI of a version, and link it with that of the version before."""

from __future__ import annotations

from pacsgrid.pipeline import doi
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.release_documents import ReleaseVersion, describe
from pacsgrid.pipeline.release_metadata import datacite, related


def reserve_doi(context: ProjectContext, version: ReleaseVersion) -> str:
    """Reserve the DOI of a version at the service that the project names.

    The DOI of the version before, if it has one, is told which version follows it.

    Parameters
    ----------
    context
        The project.
    version
        The version.

    Returns
    -------
    str
        The DOI; empty when the project names no service.

    Raises
    ------
    ConfigError
        The service refuses the account, the prefix or the metadata, or the connection is missing.
    RetryableError
        The service does not answer.
    """
    wanted = context.project.release.doi
    if wanted is None:
        return ""
    service = doi.service(wanted.connection)
    name = doi.doi_of(wanted.prefix, version.zone, version.project, version.name, version.version)
    service.reserve(name, datacite(describe(version)))
    if version.earlier and version.earlier.doi:
        service.link(version.earlier.doi, related(name, "IsPreviousVersionOf"))
    return name
