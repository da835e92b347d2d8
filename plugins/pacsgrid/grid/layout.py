"""Collections and data objects of a project in a zone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from pacsgrid.grid.zone import Zone, translated_errors
from pacsgrid.uids import collection, is_uid, named

# Suffix of what is not complete yet: collections and objects that no reader looks for.
PARTIAL = ".part"
# No UID has a letter, so a later version is never taken for another study.
_STUDY = re.compile(r"([0-9.]+?)(?:\.v([2-9]|[1-9][0-9]{1,5}))?", re.ASCII)
# Below a study's collection, one collection for each result that came back.
RESULTS = "results"


class InstanceInfo(Protocol):
    """What identifies a deposited instance, and what its bytes must be."""

    @property
    def study_uid(self) -> str:
        """StudyInstanceUID."""

    @property
    def series_uid(self) -> str:
        """SeriesInstanceUID."""

    @property
    def sop_uid(self) -> str:
        """SOPInstanceUID."""

    @property
    def subject(self) -> str:
        """The patient's pseudonym."""

    @property
    def version(self) -> int:
        """Which version of its study it belongs to, counted from 1."""

    @property
    def sha256(self) -> str:
        """SHA-256 of the anonymised file, in hex."""

    @property
    def size(self) -> int:
        """Bytes of the anonymised file."""

    @property
    def result(self) -> str:
        """The name of the result that it belongs to; empty for what was anonymised here."""


def study_collection(
    zone: str, project: str, subject: str, study_uid: str, version: int = 1
) -> str:
    """Return the path of a study's collection.

    Parameters
    ----------
    zone
        The zone's name.
    project
        The project's name.
    subject
        The patient's pseudonym.
    study_uid
        The anonymised StudyInstanceUID.
    version
        The study's version.

    Returns
    -------
    str
        ``/<zone>/home/<project>/data/<subject>/<study UID>``, and ``.v2`` and so on after it for
        later versions.

    Raises
    ------
    HeldError
        ``not-uid``: the subject or UID cannot be part of a path.
    """
    root = f"/{zone}/home/{project}/data/{named(subject)}"
    return collection(root, study_uid, suffix=version_suffix(version))


def version_suffix(version: int) -> str:
    """Return what follows the study UID in the name of a version's collection."""
    return f".v{version}" if version > 1 else ""


def parse_study_name(name: str) -> tuple[str, int] | None:
    """Return study UID and version of the name of a study's collection; None for any other."""
    found = _STUDY.fullmatch(name)
    if found is None or not is_uid(found[1]):
        return None
    return found[1], int(found[2] or 1)


def collection_of_study(zone: Zone, project: str, instances: Sequence[InstanceInfo]) -> str:
    """Return the path of the collection of the study that some instances belong to.

    Parameters
    ----------
    zone
        The zone.
    project
        The project's name.
    instances
        Instances of one study, at least one.

    Returns
    -------
    str
        ``/<zone>/home/<project>/data/<subject>/<study UID>``, and for a result
        ``results/<name>`` below it.

    Raises
    ------
    HeldError
        ``not-uid``: the subject, the UID or the result's name cannot be part of a path.
    """
    return _collection(zone.settings.name, project, instances[0])


def _collection(zone: str, project: str, one: InstanceInfo) -> str:
    study = study_collection(zone, project, one.subject, one.study_uid, one.version)
    return place_of_result(study, one.result)


def place_of_result(study: str, result: str) -> str:
    """Return the path of a result's collection; the study's own where there is no result.

    Parameters
    ----------
    study
        The path of the study's collection.
    result
        The result's name; empty for what was anonymised here.

    Raises
    ------
    HeldError
        ``not-uid``: the name cannot be part of a path.
    """
    return f"{study}/{RESULTS}/{named(result)}" if result else study


def object_path(zone: str, project: str, instance: InstanceInfo) -> str:
    """Return the path of an instance's data object.

    Parameters
    ----------
    zone
        The zone's name.
    project
        The project's name.
    instance
        The instance.

    Returns
    -------
    str
        ``<study's collection>/<series UID>/<SOP UID>.dcm``; a result's is below ``results/<name>``.

    Raises
    ------
    HeldError
        ``not-uid``: the subject or a UID cannot be part of a path.
    """
    place = _collection(zone, project, instance)
    return collection(place, instance.series_uid, instance.sop_uid, suffix=".dcm")


def ensure_project(zone: Zone, project: str) -> None:
    """Create a project's data collection unless it exists.

    Parameters
    ----------
    zone
        The zone.
    project
        The project's name.

    Raises
    ------
    ZoneError, ZoneUnavailableError
        The zone refused, or does not answer.
    """
    ensure_collection(zone, f"/{zone.settings.name}/home/{project}/data")


def ensure_collection(zone: Zone, path: str) -> None:
    """Create a collection, and those above it, unless it exists.

    Parameters
    ----------
    zone
        The zone.
    path
        The collection.

    Raises
    ------
    ZoneError, ZoneUnavailableError
        The zone refused, or does not answer.
    """
    with translated_errors(zone.settings.name):
        if not zone.session.collections.exists(path):
            zone.session.collections.create(path)
