"""What stands beside a study's series in a zone: its manifest and its de-identification report."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pacsgrid import grid
from pacsgrid.deid import REPORT_NAME
from pacsgrid.ledger import InstanceRow
from pacsgrid.pipeline.context import Line


def put_documents(
    line: Line, ref: str, zone: grid.Zone, collection: str, rows: Sequence[InstanceRow]
) -> None:
    """Put the manifest and the report that it names into a study's collection; again is no harm."""
    report = line.ledger.report(ref)
    if report is not None:
        grid.put_text(zone, f"{collection}/{REPORT_NAME}", report[0])
    manifest = _manifest(line, rows, report[1] if report else None)
    grid.put_text(zone, f"{collection}/manifest.json", manifest)


def _manifest(line: Line, rows: Sequence[InstanceRow], report_sha256: str | None) -> bytes:
    manifest = {
        "project": line.project.name,
        "subject": rows[0].subject,
        "study": rows[0].study_uid,
        "profile": line.profile.name,
        "profile_hash": line.profile.hash,
        "report": {"name": REPORT_NAME, "sha256": report_sha256},
        "instances": [
            {"series": r.series_uid, "sop": r.sop_uid, "sha256": r.sha256, "size": r.size}
            for r in sorted(rows, key=lambda r: (r.series_uid, r.sop_uid))
        ],
    }
    return json.dumps(manifest, indent=1).encode()
