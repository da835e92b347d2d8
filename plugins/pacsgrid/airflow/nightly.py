"""What the DAG `nightly_sync` calls: asking one source for one project."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from pacsgrid.airflow.tasks import line


def synchronise(source: str, project: str, late_days: int) -> int:
    """Enter what the source has new for the project; returns how many studies have a way to go."""
    with line({"project": project}, "nightly_sync") as opened:
        from pacsgrid.config import site_names
        from pacsgrid.pipeline.sync import sync

        today = datetime.now(ZoneInfo(site_names().time_zone)).date()
        first = opened.project.nightly_from or today
        return len(sync(opened, source, today, first, late_days))
