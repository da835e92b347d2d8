"""Where things stand in a zone: one project, one collection."""

from __future__ import annotations

from typing import Protocol

from pacsgrid.grid.zone import Zone, translated_errors
from pacsgrid.uids import collection, named


class InstanceInfo(Protocol):
    """What is needed to know of an instance in a zone."""

    @property
    def study_uid(self) -> str: ...
    @property
    def series_uid(self) -> str: ...
    @property
    def sop_uid(self) -> str: ...
    @property
    def subject(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def size(self) -> int: ...


def study_collection(zone: str, project: str, subject: str, study_uid: str) -> str:
    """Return the collection of a study; raises HeldError, see `uids.checked`."""
    return collection(f"/{zone}/home/{project}/data/{named(subject)}", study_uid)


def object_path(zone: str, project: str, instance: InstanceInfo) -> str:
    """Return the data object of an instance; raises HeldError, see `uids.checked`."""
    study = study_collection(zone, project, instance.subject, instance.study_uid)
    return collection(study, instance.series_uid, instance.sop_uid, suffix=".dcm")


def ensure_project(zone: Zone, project: str) -> None:
    """Make the project's data collection when it is not there."""
    ensure_collection(zone, f"/{zone.settings.name}/home/{project}/data")


def ensure_collection(zone: Zone, path: str) -> None:
    """Make a collection and those above it when it is not there."""
    with translated_errors(zone.settings.name):
        if not zone.session.collections.exists(path):
            zone.session.collections.create(path)


def remove_collection(zone: Zone, path: str) -> None:
    """Remove a collection with all that is in it, for good, if it is there."""
    collections = zone.session.collections
    with translated_errors(zone.settings.name):
        if not collections.exists(path):
            return
        there = collections.get(path)
        # A collection right below /<zone>/home is refused unless it is empty.
        for inner in there.subcollections:
            collections.remove(inner.path, recurse=True, force=True)
        for one in there.data_objects:
            zone.session.data_objects.unlink(one.path, force=True)
        collections.remove(path, recurse=True, force=True)
