"""Put the documents that lie beside a study's series: its manifest and de-identification report."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC
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

# Beside a result's manifest: who sent what, when, and the software that made it.
PROVENANCE = "result.json"

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
    if rows[0].result:
        grid.put_document(zone, f"{collection}/{PROVENANCE}", _provenance(context, ref, rows))
    manifest = Manifest.build(
        rows,
        _attributes(context, ref, zone, rows),
        project=context.project.name,
        profile=context.profile.name,
        profile_hash=context.profile.hash,
        report_sha256=report[1] if report else None,
    )
    grid.put_document(zone, f"{collection}/{MANIFEST}", manifest.dump())


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


def _attributes(
    context: ProjectContext, ref: str, zone: grid.Zone, rows: Sequence[InstanceRecord]
) -> dict[str, Json]:
    """Return each instance's attributes: from a manifest, the outbox or the object itself."""
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
    study = grid.collection_of_study(zone, context.project.name, list(wanted.values()))
    try:
        text = grid.get_document(zone, f"{study}/{MANIFEST}")
        manifest = Manifest.parse(text) if text else None
    except PacsgridError:
        return {}  # damaged or unreachable: it is written again
    if manifest is None:
        return {}
    return {
        one.sop: manifest.attributes(one)
        for one in manifest.instances
        if one.own and one.sop in wanted and one.sha256 == wanted[one.sop].sha256
    }


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
