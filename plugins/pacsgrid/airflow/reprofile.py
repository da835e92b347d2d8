"""What the DAG `reprofile_studies` calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pacsgrid.airflow.tasks import log, project_context

# How many studies a dry run compares.
_COMPARED = 3


def enter(params: Mapping[str, Any], run: str) -> list[dict[str, str]]:
    """Enter new versions of a project's studies, or compare some with what they would become.

    Parameters
    ----------
    params
        The run's parameters: ``project``, ``studies``, and ``dry_run`` to compare.
    run
        The run's id.

    Returns
    -------
    list of dict of str to str
        The conf of a run of `ingest_studies` for each source; none after a dry run.
    """
    with project_context({"project": params["project"]}, "reprofile_studies") as context:
        from pacsgrid.pipeline.reprofile import enter_new_versions, progress
        from pacsgrid.pipeline.reprofile_preview import describe, preview_new_versions

        log.info("%s", asdict(progress(context)))
        if params.get("dry_run"):
            for found in preview_new_versions(context, _COMPARED):
                for line in describe(found):
                    log.info("%s", line)
            return []
        limit = int(params.get("studies") or 10**9)
        entered = enter_new_versions(context, "reprofile_studies", "", run, limit)
        return [
            {"source": source, "project": params["project"], "ingest": ingest}
            for source, ingest in entered.ingests.items()
        ]
