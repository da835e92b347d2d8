"""Airflow pools: one for each source and each zone, so that a slow one holds up nobody else.

A DAG file says that a task asks *the* source or *the* zone of its run; which one that is, the
run's parameters and the site file tell, and `policy` puts the task into that one's pool. A DAG
that knows source or project when it is read names the pool itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SOURCES, ZONES = "pacsgrid_sources", "pacsgrid_zones"
ZONE_SLOTS = 8


def source_pool(source: str) -> str:
    """Return the name of a source's pool."""
    return f"pacsgrid_source_{source}"


def zone_pool(project: str) -> str:
    """Return the name of the pool of a project's home zone."""
    from pacsgrid.config import site_names

    home = site_names().homes.get(project)
    return f"pacsgrid_zone_{home}" if home else ZONES


def pool_of(pool: str, params: Mapping[str, Any]) -> str:
    """Return the pool for a task of a run with these parameters that names `pool`."""
    if pool == SOURCES and params.get("source"):
        return source_pool(str(params["source"]))
    if pool == ZONES and params.get("project"):
        return zone_pool(str(params["project"]))
    return pool


def slots(pool: str) -> int:
    """Return how many tasks a pool of ours lets run at once, as the site file has it."""
    from pacsgrid.config import site_names

    for source, at_once in site_names().at_once.items():
        if pool == source_pool(source):
            return at_once
    return ZONE_SLOTS
