"""When the DAGs run by themselves: in the site's own time zone, daylight saving included."""

from __future__ import annotations

from airflow.sdk import CronTriggerTimetable

from pacsgrid.config import site_names


def at(cron: str) -> CronTriggerTimetable:
    """Return a timetable that follows `cron` by the clock on the site's wall."""
    return CronTriggerTimetable(cron, timezone=site_names().time_zone)
