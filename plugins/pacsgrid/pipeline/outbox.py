"""The anonymised files of a study that lie in the outbox until the study is verified."""

from __future__ import annotations

from collections.abc import Sequence

from pacsgrid.ledger import InstanceRow
from pacsgrid.model import AnonymisedInstance
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.uids import place


def outbox_instances(
    context: ProjectContext, ref: str, rows: Sequence[InstanceRow]
) -> list[AnonymisedInstance]:
    """Return instances with the path of each in the outbox, whether the file is there or not."""
    room = context.folders(ref).outbox
    return [
        AnonymisedInstance(
            study_uid=row.study_uid,
            series_uid=row.series_uid,
            sop_uid=row.sop_uid,
            subject=row.subject,
            modality=row.modality,
            sop_class_uid="",
            sha256=row.sha256,
            size=row.size,
            path=place(room, row.series_uid, row.sop_uid, suffix=".dcm"),
        )
        for row in rows
    ]
