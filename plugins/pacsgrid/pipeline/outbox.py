"""The anonymised files of a study, which lie in the outbox until the study is verified."""

from __future__ import annotations

from collections.abc import Sequence

from pacsgrid.ledger import InstanceRecord
from pacsgrid.model import AnonymisedInstance
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.uids import place


def outbox_instances(
    context: ProjectContext, ref: str, rows: Sequence[InstanceRecord]
) -> list[AnonymisedInstance]:
    """Return instances with the path of each in the outbox, whether or not the file exists.

    Parameters
    ----------
    context
        The study's project.
    ref
        The study's reference.
    rows
        The instances.

    Returns
    -------
    list of AnonymisedInstance
        One for each row, in the same order.
    """
    outbox = context.folders(ref).outbox
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
            version=row.version,
            path=place(outbox, row.series_uid, row.sop_uid, suffix=".dcm"),
            result=row.result,
        )
        for row in rows
    ]
