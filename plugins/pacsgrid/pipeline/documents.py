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
from pacsgrid.pipeline.attributes import Json, attributes_of
from pacsgrid.pipeline.context import Line
from pacsgrid.pipeline.manifest import MANIFEST, Manifest
from pacsgrid.uids import place as below

log = logging.getLogger(__name__)

# Enough of an object to hold its header; where it is not, the whole object is read.
_HEAD = 256 << 10


def put_documents(
    line: Line, ref: str, zone: grid.Zone, collection: str, rows: Sequence[InstanceRow]
) -> None:
    """Put the manifest and the report that it names into a study's collection; again is no harm."""
    report = line.ledger.reports.get(ref)
    if report is not None:
        grid.put_text(zone, f"{collection}/{REPORT_NAME}", report[0])
    manifest = Manifest.of(
        rows,
        _attributes(line, ref, zone, rows),
        project=line.project.name,
        profile=line.profile.name,
        profile_hash=line.profile.hash,
        report_sha256=report[1] if report else None,
    )
    grid.put_text(zone, f"{collection}/{MANIFEST}", manifest.dump())


def _attributes(
    line: Line, ref: str, zone: grid.Zone, rows: Sequence[InstanceRow]
) -> dict[str, Json]:
    """Return each instance's attributes: from the outbox, a manifest, or the object itself."""
    wanted = {row.sop_uid: row for row in rows}
    known: dict[str, Json] = {}
    for place in (zone, line.home):
        if len(known) < len(wanted):
            known = _from_manifest(line, place, wanted) | known
    for sop, row in wanted.items():
        path = below(line.rooms(ref).outbox, row.series_uid, sop, suffix=".dcm")
        if sop not in known and path.exists():
            known[sop] = attributes_of(path)
    lacking = [row for sop, row in wanted.items() if sop not in known]
    return known | _from_objects(line, lacking)


def _from_manifest(
    line: Line, zone: grid.Zone, wanted: Mapping[str, InstanceRow]
) -> dict[str, Json]:
    first = next(iter(wanted.values()))
    name = zone.settings.name
    study = grid.study_collection(name, line.project.name, first.subject, first.study_uid)
    try:
        text = grid.get_text(zone, f"{study}/{MANIFEST}")
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


def _from_objects(line: Line, lacking: Sequence[InstanceRow]) -> dict[str, Json]:
    name = line.home.settings.name

    def read(row: InstanceRow) -> Json:
        path = grid.object_path(name, line.project.name, row)
        for size in (_HEAD, row.size):
            try:
                return attributes_of(BytesIO(grid.get_head(line.home, path, size)))
            except (EOFError, InvalidDicomError):
                continue
        return {}

    try:
        found = line.home.each(read, lacking, grid.CONNECTIONS)
    except PacsgridError as error:
        log.warning("a manifest goes without some attributes until the next night: %s", error)
        return {}
    return {row.sop_uid: own for row, own in zip(lacking, found, strict=True) if own}
