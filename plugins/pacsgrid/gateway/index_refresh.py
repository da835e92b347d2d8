"""Refresh the index: read again what changed in a zone, and nothing else.

Three catalog queries for each zone and project find the collections in which something changed
since the last refresh. Now and then every study is compared: the manifests' checksums, and the
number of good replicas in each series. That finds what a catalog does not date, such as an object
that was removed. Nobody is shown it meanwhile, since rights are asked for separately.
"""

from __future__ import annotations

import logging
import sqlite3
import time
import zlib
from collections.abc import Collection as Some
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO

from irods.column import Like
from irods.models import Collection, DataObject
from pydicom.errors import InvalidDicomError

from pacsgrid import grid
from pacsgrid.errors import PacsgridError, ZoneUnavailableError
from pacsgrid.gateway.index import Index, StudyCopy
from pacsgrid.gateway.transcode import check_inflated_size
from pacsgrid.grid.catalog import GOOD
from pacsgrid.grid.fetch import StoredObject, stored_below
from pacsgrid.grid.layout import PARTIAL, RESULTS, parse_study_name
from pacsgrid.grid.zone import translated_errors
from pacsgrid.pipeline.attributes import Json, read_attributes, split_by_level
from pacsgrid.pipeline.manifest import MANIFEST, Manifest
from pacsgrid.uids import is_name

log = logging.getLogger(__name__)

_HEAD = 256 << 10
# The clocks of a zone and of this machine may differ by this much, in seconds.
_MARGIN = 120.0


@dataclass(frozen=True)
class _There:
    """A study's copy as the catalog describes it.

    Attributes
    ----------
    manifest
        The checksums of its manifest and of those of its results.
    objects
        Number of good objects by the series' collection below the study's. Where a result lies with
        an earlier version, the number of that comes first.
    results
        Its results that have a manifest: the version that each lies with, and its name.
    """

    manifest: str
    objects: Mapping[str, int]
    results: tuple[tuple[int, str], ...] = ()
    version: int = 1


def refresh(
    index: Index,
    zone: grid.Zone,
    project: str,
    withdrawn: Some[str] = frozenset(),
    interval: float = 0.0,
) -> int:
    """Bring the index up to date with a project in a zone.

    A study whose manifest is missing keeps its entry, because manifests are replaced now and
    then. Its entry is removed when its collection is gone.

    Parameters
    ----------
    index
        The index to change.
    zone
        The zone to read.
    project
        The project's name.
    withdrawn
        Subjects who withdrew; what a zone still holds of them is no longer shown.
    interval
        How old the last comparison of every study may be, in seconds, so that only changes are
        read.

    Returns
    -------
    int
        Number of studies that changed.

    Raises
    ------
    ZoneUnavailableError, ZoneError
        The zone did not answer, or refused; the index is unchanged or partly up to date.
    """
    bit = index.zone_bit(zone.settings.name)
    now = time.time()
    through, reconciled = index.progress(bit, project)
    if now - reconciled >= interval or through > now:
        changed = _compare_all(index, bit, zone, project, withdrawn)
        reconciled = now
    else:
        changed = _compare_changed(index, bit, zone, project, withdrawn, through - _MARGIN)
    index.set_progress(bit, project, now, reconciled)
    return changed


def _compare_all(
    index: Index, bit: int, zone: grid.Zone, project: str, withdrawn: Some[str]
) -> int:
    root = f"/{zone.settings.name}/home/{project}/data"
    there = _there(zone, project, Like(Collection.name, f"{root}/%"))
    return _compare(index, bit, zone, project, withdrawn, there, index.copies(bit, project))


def _compare_changed(
    index: Index, bit: int, zone: grid.Zone, project: str, withdrawn: Some[str], since: float
) -> int:
    """Compare the studies in which something changed, and drop those of withdrawn subjects."""
    changed = 0
    for subject in withdrawn:
        for uid in index.studies_of(bit, project, subject):
            index.drop(bit, project, subject, uid)
            changed += 1
    for subject, uid in sorted(_touched(index, bit, zone, project, since)):
        path = grid.study_collection(zone.settings.name, project, subject, uid)
        there = _there(zone, project, Like(Collection.name, f"{path}%"))
        copy = index.copy_of(bit, project, subject, uid)
        known = {(subject, uid): copy} if copy else {}
        there = {key: now for key, now in there.items() if key == (subject, uid)}
        changed += _compare(index, bit, zone, project, withdrawn, there, known)
    return changed


def _touched(
    index: Index, bit: int, zone: grid.Zone, project: str, since: float
) -> set[tuple[str, str]]:
    """Return the studies with a collection or object that is newer than `since`."""
    root = f"/{zone.settings.name}/home/{project}/data/"
    below = Like(Collection.name, f"{root}%")
    at = datetime.fromtimestamp(since, UTC)
    found: set[tuple[str, str]] = set()
    for newer in (
        Collection.modify_time >= at,
        DataObject.modify_time >= at,
        DataObject.create_time >= at,
    ):
        for row in zone.rows((Collection.name,), below, newer):
            parts = row[Collection.name].removeprefix(root).split("/")
            if len(parts) == 1:
                found |= {(parts[0], uid) for uid in index.studies_of(bit, project, parts[0])}
            elif is_name(parts[0]) and (study := parse_study_name(parts[1])):
                found.add((parts[0], study[0]))
    return found


def _compare(
    index: Index,
    bit: int,
    zone: grid.Zone,
    project: str,
    withdrawn: Some[str],
    there: Mapping[tuple[str, str], _There],
    known: Mapping[tuple[str, str], StudyCopy],
) -> int:
    """Enter what differs from the index and drop what is gone; return how many studies it was."""
    there = {key: now for key, now in there.items() if key[0] not in withdrawn}
    changed = 0
    for (subject, uid), now in there.items():
        copy = known.get((subject, uid))
        if not now.manifest or (copy and _same(copy, now)):
            continue
        try:
            changed += _enter(index, bit, zone, project, subject, uid, now)
        except PacsgridError as error:
            if isinstance(error, ZoneUnavailableError):
                raise
            log.warning("study %s in zone %s: %s", uid, zone.settings.name, error)
        except sqlite3.OperationalError:
            raise
        except Exception as error:
            # One bad manifest must not keep the other studies out.
            log.error(
                "study %s in zone %s: its manifest cannot be entered: %s",
                uid,
                zone.settings.name,
                type(error).__name__,
            )
    for subject, uid in known.keys() - there.keys():
        path = grid.study_collection(
            zone.settings.name, project, subject, uid, index.version_of(project, subject, uid)
        )
        with translated_errors(zone.settings.name):
            if subject not in withdrawn and zone.session.collections.exists(path):
                continue
        index.drop(bit, project, subject, uid)
        changed += 1
    return changed


def _same(copy: StudyCopy, now: _There) -> bool:
    return copy.manifest == now.manifest and copy.objects == now.objects


def _there(zone: grid.Zone, project: str, below: Like) -> dict[tuple[str, str], _There]:
    root = f"/{zone.settings.name}/home/{project}/data/"
    objects: dict[tuple[str, str], dict[str, int]] = {}
    for row in zone.rows(
        (Collection.name,), below, DataObject.replica_status == GOOD, count=DataObject.id
    ):
        parts = row[Collection.name].removeprefix(root).split("/")
        if len(parts) in (2, 3) or _result_of(parts):
            own = objects.setdefault((parts[0], parts[1]), {})
            if len(parts) in (3, 5) and not parts[-1].endswith(PARTIAL):
                own["/".join(parts[2:])] = int(row[DataObject.id])
    manifests: dict[tuple[str, str], str] = {}
    results: dict[tuple[str, str], dict[str, str]] = {}
    columns = (Collection.name, DataObject.checksum)
    good = DataObject.replica_status == GOOD
    for row in zone.rows(columns, below, DataObject.name == MANIFEST, good):
        parts = row[Collection.name].removeprefix(root).split("/")
        if len(parts) == 2:
            manifests[parts[0], parts[1]] = row[DataObject.checksum] or "none"
        elif len(parts) == 4 and (name := _result_of(parts)):
            named = results.setdefault((parts[0], parts[1]), {})
            named[name] = row[DataObject.checksum] or "none"
    versions: dict[tuple[str, str], list[_Version]] = {}
    for (subject, name), own in objects.items():
        study = parse_study_name(name)
        if study is None or not is_name(subject):  # other collections are not studies
            continue
        place = (subject, name)
        versions.setdefault((subject, study[0]), []).append(
            _Version(study[1], manifests.get(place, ""), own, results.get(place, {}))
        )
    return {key: _join(found) for key, found in versions.items()}


@dataclass(frozen=True)
class _Version:
    """What lies in the collection of one version of a study."""

    number: int
    manifest: str
    objects: Mapping[str, int]
    results: Mapping[str, str]


def _join(versions: Sequence[_Version]) -> _There:
    """Return a study's newest version that is whole, with the results of all of its versions.

    A result stays where it was first kept. It refers to UIDs, which every version has.
    """
    # A version's manifest is the last of it to come.
    newest = max(versions, key=lambda one: (bool(one.manifest), one.number))
    objects, results = dict(newest.objects), dict[tuple[int, str], str]()
    for one in versions:
        results |= {(one.number, name): sha for name, sha in one.results.items()}
        if one is not newest:
            objects |= {
                f"{one.number}:{place}": count
                for place, count in one.objects.items()
                if place.startswith(f"{RESULTS}/")
            }
    checksums = [newest.manifest]
    checksums += [f"{number}:{name}={results[number, name]}" for number, name in sorted(results)]
    whole = " ".join(checksums) if newest.manifest else ""
    return _There(whole, objects, tuple(sorted(results)), newest.number)


def _result_of(parts: Sequence[str]) -> str:
    """Return the name of the result that a collection is or belongs to; empty if it is none."""
    found = len(parts) in (4, 5) and parts[2] == RESULTS and is_name(parts[3])
    return parts[3] if found else ""


def _enter(
    index: Index, bit: int, zone: grid.Zone, project: str, subject: str, uid: str, now: _There
) -> int:
    path = grid.study_collection(zone.settings.name, project, subject, uid, now.version)
    text = grid.get_document(zone, f"{path}/{MANIFEST}")
    if text is None:
        return 0
    manifest = Manifest.parse(text)
    names = (manifest.project, manifest.subject, manifest.study, manifest.version)
    if names != (project, subject, uid, now.version):
        log.error("study %s in zone %s has the manifest of another study", uid, zone.settings.name)
        return 0
    good = _stored(zone, path, path)
    for version, name in now.results:
        place = grid.study_collection(zone.settings.name, project, subject, uid, version)
        manifest = _with_result(zone, place, manifest, name)
        if version != now.version:
            good |= _stored(zone, place, f"{place}/{RESULTS}/{name}")
    manifest, own = _with_headers(zone, manifest, good)
    index.put(bit, manifest, own, good, StudyCopy(now.manifest, now.objects))
    return 1


def _stored(zone: grid.Zone, study: str, path: str) -> dict[str, StoredObject]:
    """Return the good objects below a path by their `ManifestEntry.path`."""
    return {
        stored.path.removeprefix(f"{study}/").removesuffix(".dcm"): stored
        for stored in stored_below(zone, path)
        if stored.path.endswith(".dcm")
    }


def _with_result(zone: grid.Zone, path: str, manifest: Manifest, name: str) -> Manifest:
    """Return a study's manifest with a result's instances; as it is if they cannot be read."""
    try:
        text = grid.get_document(zone, f"{path}/{RESULTS}/{name}/{MANIFEST}")
        result = Manifest.parse(text) if text else None
    except ZoneUnavailableError:
        raise
    except PacsgridError as error:
        log.warning("result %s in zone %s: %s", name, zone.settings.name, error)
        return manifest
    if result is None:
        return manifest
    mine = (manifest.project, manifest.subject, manifest.study)
    images = {one.series for one in manifest.instances}
    if (result.project, result.subject, result.study) != mine or images & {
        one.series for one in result.instances
    }:
        log.error("result %s in zone %s has the manifest of another", name, zone.settings.name)
        return manifest
    return manifest.with_result(result, name)


def _with_headers(
    zone: grid.Zone, manifest: Manifest, good: Mapping[str, StoredObject]
) -> tuple[Manifest, dict[str, Json]]:
    """Read the headers of objects whose attributes the manifest lacks."""
    bare = {entry.sop: entry for entry in manifest.instances if not entry.own}
    present = [entry for entry in bare.values() if entry.path in good]
    if not present:
        return manifest, {}

    def read(sop: str) -> Json:
        stored = good[bare[sop].path]
        for size in (_HEAD, stored.size):
            try:
                file = BytesIO(grid.get_head(zone, stored.path, size))
                check_inflated_size(file)
                return read_attributes(file)
            except (EOFError, InvalidDicomError, zlib.error):
                continue
            except PacsgridError as error:
                if isinstance(error, ZoneUnavailableError):
                    raise
                break
        log.warning("the header of %s in zone %s cannot be read", sop, zone.settings.name)
        return {}

    sops = [entry.sop for entry in present]
    known = dict(zip(sops, zone.run_parallel(read, sops, grid.CONNECTIONS), strict=True))
    study, series, own = split_by_level({entry.sop: entry.series for entry in present}, known)
    return (
        Manifest(
            manifest.project,
            manifest.subject,
            manifest.study,
            manifest.profile,
            manifest.profile_hash,
            manifest.report_sha256,
            study | manifest.shared,
            {
                uid: series.get(uid, {}) | dict(manifest.series.get(uid, {}))
                for uid in series.keys() | manifest.series.keys()
            },
            manifest.instances,
            manifest.version,
        ),
        own,
    )
