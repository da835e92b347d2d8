"""Put the documents that lie beside a study's series: its manifest and de-identification report."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from io import BytesIO

from pydicom.errors import InvalidDicomError

from pacsgrid import grid
from pacsgrid.deid import REPORT_NAME
from pacsgrid.errors import PacsgridError
from pacsgrid.ledger import InstanceRecord
from pacsgrid.pipeline.attributes import Json, read_attributes
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.manifest import MANIFEST, Manifest
from pacsgrid.uids import place as below

log = logging.getLogger(__name__)

# Bytes that hold most objects' headers; where they do not, the whole object is read.
_HEAD = 256 << 10


def put_study_documents(
    context: ProjectContext, ref: str, zone: grid.Zone, rows: Sequence[InstanceRecord]
) -> None:
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

    Raises
    ------
    ZoneError, ZoneUnavailableError
        The zone refused, or does not answer.
    """
    collection = grid.collection_of_study(zone, context.project.name, rows)
    report = context.ledger.reports.get(ref)
    if report is not None:
        grid.put_document(zone, f"{collection}/{REPORT_NAME}", report[0])
    profile_hash = context.ledger.studies.profile_hash(ref)
    manifest = Manifest.build(
        rows,
        instance_attributes(context, ref, zone, rows),
        project=context.project.name,
        profile=_profile_name(context, zone, rows, profile_hash),
        profile_hash=profile_hash,
        report_sha256=report[1] if report else None,
    )
    grid.put_document(zone, f"{collection}/{MANIFEST}", manifest.dump())


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
) -> dict[str, Json]:
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
    dict of str to Json
        The attributes by SOP instance UID. An instance that cannot be read is left out.
    """
    wanted = {row.sop_uid: row for row in rows}
    known: dict[str, Json] = {}
    for source in (zone, context.home):
        if len(known) < len(wanted):
            known = _from_manifest(context, source, wanted) | known
    for sop, row in wanted.items():
        path = below(context.folders(ref).outbox, row.series_uid, sop, suffix=".dcm")
        if sop not in known and path.exists():
            known[sop] = read_attributes(path)
    lacking = [row for sop, row in wanted.items() if sop not in known]
    return known | _from_objects(context, lacking)


def _from_manifest(
    context: ProjectContext, zone: grid.Zone, wanted: Mapping[str, InstanceRecord]
) -> dict[str, Json]:
    manifest = _manifest(context, zone, list(wanted.values()))
    if manifest is None:
        return {}
    return {
        one.sop: manifest.attributes(one)
        for one in manifest.instances
        if one.own and one.sop in wanted and one.sha256 == wanted[one.sop].sha256
    }


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
