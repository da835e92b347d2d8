"""Put the documents that lie beside a study's series: its manifest and de-identification report."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC
from io import BytesIO

from pydicom.errors import InvalidDicomError

from pacsgrid import grid
from pacsgrid.deid import REPORT_NAME
from pacsgrid.errors import PacsgridError
from pacsgrid.ledger import InstanceRecord
from pacsgrid.pipeline.attributes import Json, read_attributes
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.manifest import ATTRIBUTES_VERSION, MANIFEST, Manifest
from pacsgrid.uids import place as below

log = logging.getLogger(__name__)

# Beside a result's manifest: who sent what, when, and the software that made it.
PROVENANCE = "result.json"

# Bytes that hold most objects' headers; where they do not, the whole object is read.
_HEAD = 256 << 10


def study_manifest(
    context: ProjectContext, ref: str, zone: grid.Zone, rows: Sequence[InstanceRecord]
) -> Manifest:
    """Return a study's manifest, from what the zones and the outbox hold.

    Parameters
    ----------
    context
        The study's project.
    ref
        The study's reference.
    zone
        The zone that the manifest is for.
    rows
        The instances that it lists.

    Returns
    -------
    Manifest
        The manifest.

    Raises
    ------
    ZoneUnavailableError
        The zone does not answer.
    """
    report = context.ledger.reports.get(ref)
    profile_hash = context.ledger.studies.profile_hash(ref)
    known, version = instance_attributes(context, ref, zone, rows)
    return Manifest.build(
        rows,
        known,
        project=context.project.name,
        profile=_profile_name(context, zone, rows, profile_hash),
        profile_hash=profile_hash,
        report_sha256=report[1] if report else None,
        attributes_version=version,
    )


def put_study_documents(
    context: ProjectContext,
    ref: str,
    zone: grid.Zone,
    rows: Sequence[InstanceRecord],
    manifest: Manifest | None = None,
) -> Manifest:
    """Put a study's manifest and report into its collection; what is equal is not put again.

    Parameters
    ----------
    context
        The study's project.
    ref
        The study's reference.
    zone
        The zone that receives them.
    rows
        The instances that the zone holds.
    manifest
        Their manifest; by default that of `study_manifest`.

    Returns
    -------
    Manifest
        The manifest.

    Raises
    ------
    ZoneError, ZoneUnavailableError
        The zone refused, or does not answer.
    """
    collection = grid.collection_of_study(zone, context.project.name, rows)
    report = context.ledger.reports.get(ref)
    if report is not None:
        grid.put_document(zone, f"{collection}/{REPORT_NAME}", report[0])
    if rows[0].result:
        grid.put_document(zone, f"{collection}/{PROVENANCE}", _provenance(context, ref, rows))
    manifest = manifest or study_manifest(context, ref, zone, rows)
    grid.put_document(zone, f"{collection}/{MANIFEST}", manifest.dump())
    return manifest


def _provenance(context: ProjectContext, ref: str, rows: Sequence[InstanceRecord]) -> bytes:
    """Return who sent the objects of a result, when, and the software that made them."""
    wanted = {row.sop_uid for row in rows}
    items = [
        {
            "sop": item.sop_uid,
            "sop_class": item.sop_class,
            "sent_by": item.who,
            "sent_at": item.at.astimezone(UTC).isoformat(timespec="seconds"),
            "software": item.software,
        }
        for item in context.ledger.results.items(ref)
        if item.sop_uid in wanted
    ]
    body = {"result": rows[0].result, "study": rows[0].study_uid, "objects": items}
    return json.dumps(body, ensure_ascii=False, indent=1).encode()


def searchable(
    context: ProjectContext, manifest: Manifest, rows: Sequence[InstanceRecord]
) -> Manifest:
    """Return a manifest with the attributes that earlier versions of it did not read.

    They are read from one instance of each series, since others have the same, and are added to
    the series. The stored manifest is not changed.

    Parameters
    ----------
    context
        The study's project.
    manifest
        The study's manifest.
    rows
        The study's instances in the home zone.

    Returns
    -------
    Manifest
        The same manifest, if it is of the present version.
    """
    if manifest.attributes_version >= ATTRIBUTES_VERSION:
        return manifest
    samples = {row.series_uid: row for row in rows}
    known = _from_objects(context, list(samples.values()))
    series = {
        uid: {**known.get(row.sop_uid, {}), **manifest.series.get(uid, {})}
        for uid, row in samples.items()
    }
    return replace(manifest, series=series)


def _profile_name(
    context: ProjectContext, zone: grid.Zone, rows: Sequence[InstanceRecord], profile_hash: str
) -> str:
    """Return the name of the profile that a study has, which may no longer be the project's."""
    if profile_hash == context.profile.hash:
        return context.profile.name
    for source in (zone, context.home):
        manifest = _manifest(context, source, rows)
        if manifest is not None and manifest.profile_hash == profile_hash:
            return manifest.profile
    return ""


def instance_attributes(
    context: ProjectContext, ref: str, zone: grid.Zone, rows: Sequence[InstanceRecord]
) -> tuple[dict[str, Json], int]:
    """Return each instance's attributes: from a manifest, the outbox or the object itself.

    Parameters
    ----------
    context
        The study's project.
    ref
        The study's reference.
    zone
        The zone whose manifest is read first.
    rows
        The instances of the study.

    Returns
    -------
    tuple
        The attributes by SOP instance UID, without instances that cannot be read, and the lowest
        version of a manifest that they came from.
    """
    wanted = {row.sop_uid: row for row in rows}
    known: dict[str, Json] = {}
    version = ATTRIBUTES_VERSION
    for sop, row in wanted.items():
        path = below(context.folders(ref).outbox, row.series_uid, sop, suffix=".dcm")
        if path.exists():
            known[sop] = read_attributes(path)
    for source in (zone, context.home):
        if len(known) < len(wanted):
            found, older = _from_manifest(context, source, wanted)
            if found.keys() - known.keys():
                version = min(version, older)
            known = found | known
    lacking = [row for sop, row in wanted.items() if sop not in known]
    return known | _from_objects(context, lacking), version


def _from_manifest(
    context: ProjectContext, zone: grid.Zone, wanted: Mapping[str, InstanceRecord]
) -> tuple[dict[str, Json], int]:
    manifest = _manifest(context, zone, list(wanted.values()))
    if manifest is None:
        return {}, ATTRIBUTES_VERSION
    found = {
        one.sop: manifest.attributes(one)
        for one in manifest.instances
        if one.own and one.sop in wanted and one.sha256 == wanted[one.sop].sha256
    }
    return found, manifest.attributes_version


def _manifest(
    context: ProjectContext, zone: grid.Zone, rows: Sequence[InstanceRecord]
) -> Manifest | None:
    """Return a study's manifest in a zone; None if it is missing, damaged or out of reach."""
    study = grid.collection_of_study(zone, context.project.name, rows)
    try:
        text = grid.get_document(zone, f"{study}/{MANIFEST}")
        return Manifest.parse(text) if text else None
    except PacsgridError:
        return None


def _from_objects(context: ProjectContext, lacking: Sequence[InstanceRecord]) -> dict[str, Json]:
    name = context.home.settings.name

    def read(row: InstanceRecord) -> Json:
        path = grid.object_path(name, context.project.name, row)
        for size in (_HEAD, row.size):
            try:
                return read_attributes(BytesIO(grid.get_head(context.home, path, size)))
            except (EOFError, InvalidDicomError):
                continue
        return {}

    try:
        found = context.home.run_parallel(read, lacking, grid.CONNECTIONS)
    except PacsgridError as error:
        log.warning("a manifest lacks some attributes until the next maintenance: %s", error)
        return {}
    return {row.sop_uid: own for row, own in zip(lacking, found, strict=True) if own}
