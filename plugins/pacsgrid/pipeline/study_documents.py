"""What stands beside a study's series in a zone: its manifest and its de-identification report."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from io import BytesIO

from pydicom.errors import InvalidDicomError

from pacsgrid import grid
from pacsgrid.deid import REPORT_NAME
from pacsgrid.errors import PacsgridError
from pacsgrid.ledger import InstanceRow
from pacsgrid.pipeline.attributes import Json, read_attributes
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.manifest import MANIFEST, Manifest
from pacsgrid.uids import place as below

log = logging.getLogger(__name__)

# Enough of an object to hold its header; where it is not, the whole object is read.
_HEAD = 256 << 10


def put_study_documents(
    context: ProjectContext, ref: str, zone: grid.Zone, collection: str, rows: Sequence[InstanceRow]
) -> None:
    """Put the manifest and the report that it names into a study's collection; again is no harm."""
    report = context.ledger.reports.get(ref)
    if report is not None:
        grid.put_document(zone, f"{collection}/{REPORT_NAME}", report[0])
    manifest = Manifest.of(
        rows,
        _attributes(context, ref, zone, rows),
        project=context.project.name,
        profile=context.profile.name,
        profile_hash=context.profile.hash,
        report_sha256=report[1] if report else None,
    )
    grid.put_document(zone, f"{collection}/{MANIFEST}", manifest.dump())


def _attributes(
    context: ProjectContext, ref: str, zone: grid.Zone, rows: Sequence[InstanceRow]
) -> dict[str, Json]:
    """Return each instance's attributes: from the outbox, a manifest, or the object itself."""
    wanted = {row.sop_uid: row for row in rows}
    known: dict[str, Json] = {}
    for place in (zone, context.home):
        if len(known) < len(wanted):
            known = _from_manifest(context, place, wanted) | known
    for sop, row in wanted.items():
        path = below(context.folders(ref).outbox, row.series_uid, sop, suffix=".dcm")
        if sop not in known and path.exists():
            known[sop] = read_attributes(path)
    lacking = [row for sop, row in wanted.items() if sop not in known]
    return known | _from_objects(context, lacking)


def _from_manifest(
    context: ProjectContext, zone: grid.Zone, wanted: Mapping[str, InstanceRow]
) -> dict[str, Json]:
    first = next(iter(wanted.values()))
    name = zone.settings.name
    study = grid.study_collection(name, context.project.name, first.subject, first.study_uid)
    try:
        text = grid.get_document(zone, f"{study}/{MANIFEST}")
        manifest = Manifest.parse(text) if text else None
    except PacsgridError:
        return {}  # damaged or out of reach: it is written anew
    if manifest is None:
        return {}
    return {
        one.sop: manifest.attributes(one)
        for one in manifest.instances
        if one.own and one.sop in wanted and one.sha256 == wanted[one.sop].sha256
    }


def _from_objects(context: ProjectContext, lacking: Sequence[InstanceRow]) -> dict[str, Json]:
    name = context.home.settings.name

    def read(row: InstanceRow) -> Json:
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
        log.warning("a manifest goes without some attributes until the next night: %s", error)
        return {}
    return {row.sop_uid: own for row, own in zip(lacking, found, strict=True) if own}
