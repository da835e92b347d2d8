"""What the DAG `nightly_sync` calls: who is due, and asking for one source and project."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

from pacsgrid.airflow.tasks import line, translated


def pairs() -> list[dict[str, str]]:
    """Give each source and project that the site file lets be synchronised."""
    with translated():
        from pacsgrid.config import load_site

        projects = load_site().projects.values()
        return [
            {"source": source, "project": project.name}
            for project in projects
            for source in project.nightly
        ]


def synchronise(pair: Mapping[str, str], late_days: int) -> int:
    """Enter what the source has new for the project; returns how many studies have a way to go."""
    with line(pair, "nightly_sync") as opened:
        from pacsgrid.config import site_names
        from pacsgrid.pipeline.sync import sync

        today = datetime.now(ZoneInfo(site_names().time_zone)).date()
        first = opened.project.nightly_from or today
        return len(sync(opened, pair["source"], today, first, late_days))
